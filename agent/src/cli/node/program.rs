//! Owns running a command of `keeld-node` and following what it says.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, anyhow, bail};
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use super::progress::Progress;

/// One line of what it says.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Line {
    message: String,
    done: Option<Done>,
    error: Option<Failure>,
}

#[derive(Debug, Deserialize)]
struct Done {
    message: String,
}

/// Why it failed.
#[derive(Debug, Clone, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// What it is about, in one word: `token`, `network`, `config`.
    pub kind: String,
    /// A sentence with what to do.
    pub message: String,
}

/// Runs `keeld-node --config CONFIG WORDS --json`; gives what it says at its end.
pub async fn run(program: &Path, config: &Path, words: &[String], progress: &Progress) -> anyhow::Result<String> {
    let mut command = Command::new(program);
    command.arg("--config").arg(config).args(words).arg("--json");
    // What it logs is for the journal of its daemon; here it says all that matters.
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    let mut child = command.spawn().with_context(|| format!("cannot run {}", program.display()))?;
    let out = child.stdout.take().context("the program has no output")?;
    let mut lines = BufReader::new(out).lines();
    let mut ended = None;
    while let Some(line) = lines.next_line().await.context("cannot read what the program says")? {
        let line: Line = serde_json::from_str(&line).unwrap_or_default();
        match (line.done, line.error) {
            (Some(done), _) => ended = Some(Ok(done.message)),
            (None, Some(failure)) => ended = Some(Err(failure)),
            (None, None) => progress.line(&line.message),
        }
    }
    let status = child.wait().await.context("cannot wait for the program")?;
    match ended {
        Some(Ok(message)) if status.success() => Ok(message),
        Some(Err(failure)) => Err(anyhow!(clean(failure, config))),
        _ => bail!("{} ended without a word ({status}); is it the one that came with keelctl?", program.display()),
    }
}

/// Without the place in a file that the user has not written: what is wrong is one of their words.
fn clean(failure: Failure, config: &Path) -> Failure {
    if failure.kind != "config" {
        return failure;
    }
    let prefix = format!("{}:", config.display());
    let line = |line: &str| {
        let rest = line.strip_prefix(&prefix).and_then(|rest| rest.splitn(3, ':').nth(2));
        rest.map_or_else(|| line.to_owned(), |rest| rest.trim_start().to_owned())
    };
    Failure { message: failure.message.lines().map(line).collect::<Vec<_>>().join("\n"), ..failure }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_in_a_file_of_ours_are_not_shown() {
        let failure = |kind: &str| Failure {
            kind: kind.into(),
            message: "/etc/n.new:3:9: `x` is no taint: it has none\n/etc/n.new:1:1: more".into(),
        };
        assert_eq!(clean(failure("config"), Path::new("/etc/n.new")).message, "`x` is no taint: it has none\nmore");
        assert!(clean(failure("token"), Path::new("/etc/n.new")).message.contains("/etc/n.new"));
    }
}
