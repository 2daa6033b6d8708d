//! Owns bringing the kernel's arguments, those of its consoles among them, to what a host is told.

use anyhow::anyhow;
use keelson_common::provision::{Console, KernelArguments};

use super::report::Outcome;
use crate::cli::follow::follow;
use crate::cli::print;
use crate::cli::session::Session;
use crate::deploy::kargs;

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

    /// The parts that the host is told of, and what each changes.
    fn parts(&self, next: &[String]) -> Vec<(&'static str, Changes)> {
        let arguments = self.arguments.map(|arguments| ("kernel-arguments", of_arguments(arguments, next)));
        let console = self.console.map(|console| ("console", of_console(console, next)));
        arguments.into_iter().chain(console).collect()
    }
}

/// What is not there yet, and what is there still.
#[derive(Debug, Default, PartialEq, Eq)]
struct Changes {
    append: Vec<String>,
    delete: Vec<String>,
}

impl Changes {
    fn outcome(&self, next: &[String]) -> Outcome {
        if self.append.is_empty() && self.delete.is_empty() {
            return Outcome::Unchanged(next.join(" "));
        }
        let told = self.append.iter().map(|argument| format!("+{argument}"));
        let told: Vec<String> = told.chain(self.delete.iter().map(|argument| format!("-{argument}"))).collect();
        Outcome::Applied(format!("{} from the next boot on", told.join(" ")))
    }
}

/// Has arguments there, and others not, from the next boot on: all in one go, and a part for each key.
pub async fn apply(
    wanted: &Wanted<'_>,
    session: anyhow::Result<&Session>,
    dry: bool,
) -> Vec<(&'static str, anyhow::Result<Outcome>)> {
    match change(wanted, session, dry).await {
        Ok(parts) => parts.into_iter().map(|(part, outcome)| (part, Ok(outcome))).collect(),
        Err(error) => {
            let parts = wanted.parts(&[]).into_iter();
            parts.map(|(part, _)| (part, Err(anyhow!("{error:#}")))).collect()
        }
    }
}

async fn change(
    wanted: &Wanted<'_>,
    session: anyhow::Result<&Session>,
    dry: bool,
) -> anyhow::Result<Vec<(&'static str, Outcome)>> {
    let session = session?;
    let status = session.status().await?;
    let next = status.next_boot().map(|deployment| deployment.kargs.clone()).unwrap_or_default();
    let parts = wanted.parts(&next);
    let outcomes = parts.iter().map(|(part, changes)| (*part, changes.outcome(&next))).collect();
    let mut all = Changes::default();
    for (_, changes) in parts {
        all.append.extend(changes.append);
        all.delete.extend(changes.delete);
    }
    if !dry && all != Changes::default() {
        let start = session.keeld.edit_kargs(&all.delete, &[], &all.append, false);
        print::done(follow(session, start).await?)?;
    }
    Ok(outcomes)
}

/// Whether KEY or KEY=VALUE means an argument.
fn means(argument: &str, there: &str) -> bool {
    there == argument || kargs::key(there) == argument
}

fn is_there(argument: &str, next: &[String]) -> bool {
    next.iter().any(|there| means(argument, there))
}

/// What is to be there is not taken away, so that a key which is deleted and appended has another value, and keeps it.
fn of_arguments(arguments: &KernelArguments, next: &[String]) -> Changes {
    let unwanted = |there: &&String| {
        !arguments.append.contains(there) && arguments.delete.iter().any(|argument| means(argument, there))
    };
    Changes {
        append: arguments.append.iter().filter(|argument| !next.contains(argument)).cloned().collect(),
        delete: next.iter().filter(unwanted).cloned().collect(),
    }
}

fn of_console(console: &Console, next: &[String]) -> Changes {
    let Changes { mut append, mut delete } = Changes::default();
    let there: Vec<&String> = next.iter().filter(|argument| argument.starts_with(CONSOLE)).collect();
    let devices: Vec<String> = console.devices.iter().map(|device| format!("{CONSOLE}{device}")).collect();
    // Their order counts, so that they are all made anew.
    if !devices.is_empty() && !there.iter().copied().eq(&devices) {
        delete.extend(there.into_iter().cloned());
        append.extend(devices);
    }
    match (console.login, is_there(NO_LOGIN, next)) {
        (Some(false), false) => append.push(NO_LOGIN.to_owned()),
        (Some(true), true) => delete.push(NO_LOGIN.to_owned()),
        _ => {}
    }
    Changes { append, delete }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::request::KargsEdit;

    fn list(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn only_what_differs_is_changed() {
        let arguments = KernelArguments { append: list("quiet a=2"), delete: list("b c=1 d") };
        let changes = |next: &str| of_arguments(&arguments, &list(next));
        assert_eq!(changes("quiet a=1 b=7 c=2"), Changes { append: list("a=2"), delete: list("b=7") });
        assert_eq!(changes("a=2 quiet"), Changes::default());
    }

    #[test]
    fn a_value_is_changed_once() {
        let arguments = KernelArguments { append: list("loglevel=4 splash"), delete: list("loglevel splash quiet") };
        let before = list("quiet loglevel=7 loglevel=3 splash");
        let Changes { append, delete } = of_arguments(&arguments, &before);
        let edit = KargsEdit { append, delete, ..KargsEdit::default() };
        let next = kargs::edit(&before, &edit).unwrap();
        assert_eq!(next, list("splash loglevel=4"));
        assert_eq!(of_arguments(&arguments, &next), Changes::default());
    }

    #[test]
    fn each_key_is_a_part_of_its_own() {
        let arguments = KernelArguments { append: list("quiet"), delete: Vec::new() };
        let console = Console { devices: list("tty0"), login: None };
        let wanted = Wanted { arguments: Some(&arguments), console: Some(&console) };
        let next = list("console=tty0");
        let parts = wanted.parts(&next);
        let outcomes: Vec<_> = parts.iter().map(|(part, changes)| (*part, changes.outcome(&next))).collect();
        let applied = Outcome::Applied("+quiet from the next boot on".into());
        let unchanged = Outcome::Unchanged("console=tty0".into());
        assert_eq!(outcomes, [("kernel-arguments", applied), ("console", unchanged)]);
    }

    #[test]
    fn consoles_are_what_is_told_in_their_order() {
        let console = Console { devices: list("tty0 ttyS0,115200n8"), login: Some(false) };
        let changes = of_console(&console, &list("console=ttyS0 quiet"));
        assert_eq!(changes.append, list("console=tty0 console=ttyS0,115200n8 systemd.getty_auto=no"));
        assert_eq!(changes.delete, list("console=ttyS0"));
        let done = list("quiet console=tty0 console=ttyS0,115200n8 systemd.getty_auto=no");
        assert_eq!(of_console(&console, &done), Changes::default());
        let again = Console { devices: Vec::new(), login: Some(true) };
        let login = Changes { append: Vec::new(), delete: list("systemd.getty_auto=no") };
        assert_eq!(of_console(&again, &done), login);
        assert_eq!(of_console(&again, &list("console=hvc0")), Changes::default());
    }
}
