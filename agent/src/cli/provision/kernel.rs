//! Owns bringing the kernel's arguments, those of its consoles among them, to what a host is told.

use keelson_common::provision::{Console, KernelArguments};

use super::report::Outcome;
use crate::cli::follow::follow;
use crate::cli::print;
use crate::cli::session::Session;

/// Where the kernel speaks; the last is where everybody else does.
const CONSOLE: &str = "console=";
/// Has systemd offer no login on any console.
const NO_LOGIN: &str = "systemd.getty_auto=no";

/// What the host is told.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wanted<'a> {
    /// Arguments.
    pub arguments: Option<&'a KernelArguments>,
    /// Consoles, which are arguments.
    pub console: Option<&'a Console>,
}

impl Wanted<'_> {
    /// Whether it is told nothing.
    pub fn is_nothing(&self) -> bool {
        self.arguments.is_none() && self.console.is_none()
    }

    /// What it is called.
    pub fn part(&self) -> &'static str {
        if self.arguments.is_none() { "console" } else { "kernel-arguments" }
    }
}

/// Has arguments there, and others not, from the next boot on.
pub async fn apply(wanted: &Wanted<'_>, session: &Session, dry: bool) -> anyhow::Result<Outcome> {
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
fn changes(wanted: &Wanted<'_>, next: &[String]) -> (Vec<String>, Vec<String>) {
    let is_there = |argument: &str| {
        next.iter().any(|there| there == argument || there.split_once('=').is_some_and(|(key, _)| key == argument))
    };
    let (mut append, mut delete) = (Vec::new(), Vec::new());
    if let Some(arguments) = wanted.arguments {
        append.extend(arguments.append.iter().filter(|argument| !next.contains(argument)).cloned());
        delete.extend(arguments.delete.iter().filter(|argument| is_there(argument)).cloned());
    }
    let Some(console) = wanted.console else { return (append, delete) };
    let there: Vec<&String> = next.iter().filter(|argument| argument.starts_with(CONSOLE)).collect();
    let devices: Vec<String> = console.devices.iter().map(|device| format!("{CONSOLE}{device}")).collect();
    // Their order counts, so that they are all made anew.
    if !devices.is_empty() && !there.iter().copied().eq(&devices) {
        delete.extend(there.into_iter().cloned());
        append.extend(devices);
    }
    match (console.login, is_there(NO_LOGIN)) {
        (Some(false), false) => append.push(NO_LOGIN.to_owned()),
        (Some(true), true) => delete.push(NO_LOGIN.to_owned()),
        _ => {}
    }
    (append, delete)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn only_what_differs_is_changed() {
        let arguments = KernelArguments { append: list("quiet a=2"), delete: list("b c=1 d") };
        let wanted = Wanted { arguments: Some(&arguments), console: None };
        assert_eq!(changes(&wanted, &list("quiet a=1 b=7 c=2")), (list("a=2"), list("b")));
        assert_eq!(changes(&wanted, &list("a=2 quiet")), (Vec::new(), Vec::new()));
    }

    #[test]
    fn consoles_are_what_is_told_in_their_order() {
        let console = Console { devices: list("tty0 ttyS0,115200n8"), login: Some(false) };
        let wanted = Wanted { arguments: None, console: Some(&console) };
        let (append, delete) = changes(&wanted, &list("console=ttyS0 quiet"));
        assert_eq!(append, list("console=tty0 console=ttyS0,115200n8 systemd.getty_auto=no"));
        assert_eq!(delete, list("console=ttyS0"));
        let done = list("quiet console=tty0 console=ttyS0,115200n8 systemd.getty_auto=no");
        assert_eq!(changes(&wanted, &done), (Vec::new(), Vec::new()));
        let again = Console { devices: Vec::new(), login: Some(true) };
        let wanted = Wanted { arguments: None, console: Some(&again) };
        assert_eq!(changes(&wanted, &done), (Vec::new(), list("systemd.getty_auto=no")));
        assert_eq!(changes(&wanted, &list("console=hvc0")), (Vec::new(), Vec::new()));
    }
}
