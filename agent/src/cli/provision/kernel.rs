//! Owns bringing the kernel's arguments to what a host is told.

use keelson_common::provision::KernelArguments;

use super::report::Outcome;
use crate::cli::follow::follow;
use crate::cli::print;
use crate::cli::session::Session;

/// Has arguments there, and others not, from the next boot on.
pub async fn apply(wanted: &KernelArguments, session: &Session, dry: bool) -> anyhow::Result<Outcome> {
    let status = session.status().await?;
    let next = status.next_boot().map(|deployment| deployment.kargs.clone()).unwrap_or_default();
    let (append, delete) = changes(wanted, &next);
    if append.is_empty() && delete.is_empty() {
        return Ok(Outcome::Unchanged(next.join(" ")));
    }
    let mut told: Vec<String> = append.iter().map(|argument| format!("+{argument}")).collect();
    told.extend(delete.iter().map(|argument| format!("-{argument}")));
    if !dry {
        let start = session.keeld.edit_kargs(&delete, &[], &append, false);
        print::done(follow(session, start).await?)?;
    }
    Ok(Outcome::Applied(format!("{} from the next boot on", told.join(" "))))
}

/// What is not there yet, and what is there still.
fn changes(wanted: &KernelArguments, next: &[String]) -> (Vec<String>, Vec<String>) {
    let is_there = |argument: &str| {
        next.iter().any(|there| there == argument || there.split_once('=').is_some_and(|(key, _)| key == argument))
    };
    let append = wanted.append.iter().filter(|argument| !next.contains(argument));
    let delete = wanted.delete.iter().filter(|argument| is_there(argument));
    (append.cloned().collect(), delete.cloned().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_changed() {
        let list = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let wanted = KernelArguments { append: list("quiet a=2"), delete: list("b c=1 d") };
        assert_eq!(changes(&wanted, &list("quiet a=1 b=7 c=2")), (list("a=2"), list("b")));
        assert_eq!(changes(&wanted, &list("a=2 quiet")), (Vec::new(), Vec::new()));
    }
}
