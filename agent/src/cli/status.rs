//! `keelctl status`.

use std::fmt::Write;

use crate::health::record::Record;
use crate::model::{Deployment, HostStatus, Role, Signature, SignatureState};

use super::print;
use super::session::Session;

/// Show what runs, what is staged and what there is to go back to
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Shows every deployment in boot order: its index, what it is to this boot, version, commit, the ref \
        it follows, who signed it, whether it is pinned; what keeld is doing, if anything; and which version was given up \
        for the one that runs, and why. Needs no privilege.",
    after_help = "Examples:\n  keelctl status\n  keelctl status --json | jq -r .booted.version"
)]
pub struct Args {}

/// The folder of what outlives a reboot.
const STATE: &str = "/var/lib/keelson";

/// Runs the verb.
pub async fn run(_args: Args, session: &Session) -> anyhow::Result<()> {
    let mut status = session.status().await?;
    // Who may not read it learns the rest all the same.
    let record = Record::read(STATE.as_ref()).unwrap_or_default();
    let booted = status.booted.as_ref().map(|booted| booted.checksum.clone()).unwrap_or_default();
    status.given_up = record.given_up_for(&booted).cloned().collect();
    if session.json { print::document(&status) } else { print::line(&text(&status)) }
}

fn text(status: &HostStatus) -> String {
    let mut out = String::new();
    if let Some(transaction) = &status.transaction {
        let (noun, uid, started) = (transaction.request.noun(), transaction.uid, &transaction.started);
        let progress = &transaction.progress;
        let share = match progress.total {
            0 => String::new(),
            total => format!(" {} %", progress.done.min(total) * 100 / total),
        };
        let _ = writeln!(out, "Running: {noun}, {}{share} (uid {uid}, since {started})\n", progress.phase.word());
    }
    if status.deployments.is_empty() {
        out.push_str("Nothing is deployed.\n");
    }
    let blocks: Vec<String> = status.deployments.iter().map(deployment).collect();
    out.push_str(&blocks.join("\n"));
    if status.reboot_pending()
        && let Some(next) = status.next_boot()
    {
        let _ = write!(out, "\nThe next boot starts {}.", next.label());
    }
    for given_up in &status.given_up {
        let _ = write!(out, "\n{}", given_up.sentence());
    }
    out
}

fn deployment(deployment: &Deployment) -> String {
    let mark = if deployment.role == Role::Booted { "*" } else { " " };
    let pinned = if deployment.pinned { ", pinned" } else { "" };
    let mut out = format!("{mark} {} {} ({}{pinned})\n", deployment.index, deployment.label(), deployment.role.word());
    let mut row = |name: &str, value: &str| {
        let _ = writeln!(out, "    {name:<10} {value}");
    };
    row("Commit", &deployment.checksum);
    row("Ref", deployment.refspec.as_deref().unwrap_or("none"));
    row("Time", &deployment.timestamp);
    row("Signature", &signature(&deployment.signature));
    out
}

/// A signature in one line.
pub fn signature(signature: &Signature) -> String {
    let keys: Vec<String> = signature
        .keys
        .iter()
        .map(|key| match (&key.user, &key.problem) {
            (Some(user), None) => format!("key {} ({user})", key.fingerprint),
            (None, None) => format!("key {}", key.fingerprint),
            (_, Some(problem)) => format!("key {} ({problem})", key.fingerprint),
        })
        .collect();
    let word = match signature.state {
        SignatureState::Trusted => "trusted",
        SignatureState::Untrusted => "not trusted",
        SignatureState::Unsigned => "none",
        SignatureState::Unknown => "cannot be checked",
    };
    if keys.is_empty() { word.to_owned() } else { format!("{word}: {}", keys.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::status::SigningKey;

    #[test]
    fn shows_what_matters() {
        let booted = Deployment {
            index: 0,
            role: Role::Booted,
            version: Some("1.0".into()),
            checksum: "abc".into(),
            refspec: Some("keelson:keelson/host".into()),
            timestamp: "2026-01-01T00:00:00Z".into(),
            signature: Signature {
                state: SignatureState::Trusted,
                keys: vec![SigningKey {
                    fingerprint: "AA".into(),
                    user: Some("Me".into()),
                    valid: true,
                    problem: None,
                }],
            },
            pinned: true,
            kargs: vec![],
        };
        let text = text(&HostStatus::new("keelson".into(), vec![booted]));
        assert!(text.starts_with("* 0 1.0 (booted, pinned)\n"), "{text}");
        assert!(text.contains("Signature  trusted: key AA (Me)"), "{text}");
        assert!(!text.contains("next boot"), "{text}");
    }

    #[test]
    fn an_empty_sysroot_says_so() {
        assert_eq!(text(&HostStatus::default()), "Nothing is deployed.\n");
    }
}
