//! Owns what goes to standard output, and how an error ends keelctl.

use std::io::{self, Write};
use std::process::ExitCode;

use serde::Serialize;

use crate::model::transaction::Failure;
use crate::model::{Outcome, Transaction};

/// A transaction that failed, to be printed by [`failed`].
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.message)]
pub struct Refused(pub Failure);

/// Prints a line; a reader that went away ends keelctl quietly.
pub fn line(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    if !text.ends_with('\n') {
        out.write_all(b"\n")?;
    }
    Ok(())
}

/// Prints one JSON document.
pub fn document(value: &impl Serialize) -> anyhow::Result<()> {
    line(&serde_json::to_string_pretty(value)?)
}

/// Prints what came of a transaction.
pub fn outcome(transaction: Transaction, json: bool) -> anyhow::Result<()> {
    let outcome = done(transaction)?;
    if json { document(&outcome) } else { line(&outcome.message) }
}

/// The outcome of a transaction, or why there is none.
pub fn done(transaction: Transaction) -> anyhow::Result<Outcome> {
    match transaction.error {
        Some(failure) => Err(Refused(failure).into()),
        None => Ok(transaction.outcome.unwrap_or_default()),
    }
}

/// Says why keelctl failed: on standard error, and with `--json` as the one document.
pub fn failed(error: &anyhow::Error, json: bool) -> ExitCode {
    if error
        .chain()
        .any(|cause| cause.downcast_ref::<io::Error>().is_some_and(|cause| cause.kind() == io::ErrorKind::BrokenPipe))
    {
        return ExitCode::FAILURE;
    }
    if json {
        let failure = match error.downcast_ref::<Refused>() {
            Some(Refused(failure)) => failure.clone(),
            None => Failure { kind: "failed".into(), message: format!("{error:#}") },
        };
        // Nothing is left to be done where even this cannot be printed.
        let _ = document(&serde_json::json!({ "error": failure }));
    }
    // Nor where the terminal is gone.
    let _ = writeln!(io::stderr(), "keelctl: {error:#}");
    ExitCode::FAILURE
}
