//! Owns what commands print: lines for a person, or one JSON document a line for keelctl.
//!
//! ```text
//! {"step": "verified", "message": "..."}
//! {"done": {"message": "..."}}                 or
//! {"error": {"kind": "token", "message": "..."}}
//! ```

use std::io::Write;
use std::process::ExitCode;

use serde_json::{Value, json};

use crate::config::ConfigError;
use crate::join::{JoinError, whole};
use crate::leave::drain::Event;
use crate::leave::remove::RemoveError;
use crate::options::SayArgs;
use crate::reboot::lock::LockError;

/// Prints.
#[derive(Debug, Clone, Copy)]
pub struct Say {
    json: bool,
}

impl Say {
    /// As the command line says.
    pub fn new(args: SayArgs) -> Self {
        Self { json: args.json }
    }

    /// Something was done.
    pub fn step(self, word: &str, message: &str) {
        self.print(&json!({ "step": word, "message": message }), message);
    }

    /// Everything was done.
    pub fn done(self, message: &str) -> ExitCode {
        self.print(&json!({ "done": { "message": message } }), message);
        ExitCode::SUCCESS
    }

    /// It was not.
    pub fn failed(self, failure: &Failure) -> ExitCode {
        if self.json {
            self.print(&json!({ "error": { "kind": failure.kind, "message": failure.message } }), "");
        } else {
            eprintln!("keeld-node: {}", failure.message);
        }
        ExitCode::FAILURE
    }

    fn print(self, document: &Value, text: &str) {
        let mut out = std::io::stdout().lock();
        // Who does not listen any more does not need it.
        let _ = if self.json { writeln!(out, "{document}") } else { writeln!(out, "{text}") };
        let _ = out.flush();
    }
}

/// Why a command failed.
#[derive(Debug)]
pub struct Failure {
    /// What it is about, in one word.
    pub kind: &'static str,
    /// It and what caused it.
    pub message: String,
}

impl Failure {
    /// A failure.
    pub fn new(kind: &'static str, message: String) -> Self {
        Self { kind, message }
    }

    /// Of the configuration.
    pub fn config(error: ConfigError) -> Self {
        Self::new("config", whole(&error))
    }

    /// Of a join.
    pub fn join(error: &JoinError) -> Self {
        Self::new(error.kind().word(), error.whole())
    }

    /// Of the reboot lock.
    pub fn lock(error: LockError) -> Self {
        let kind = match error {
            LockError::Held(_) | LockError::Contended => "held",
            LockError::GivenUp { .. } => "given-up",
            LockError::Rights(_) => "rights",
            LockError::Api { .. } => "api",
        };
        Self::new(kind, error.to_string())
    }

    /// Of a removal.
    pub fn remove(error: RemoveError) -> Self {
        Self::new("files", whole(&error))
    }
}

/// An event's name, for programs.
pub fn word(event: &Event) -> &'static str {
    match event {
        Event::Cordoned => "cordoned",
        Event::Evicted(_) => "evicted",
        Event::Blocked { .. } => "blocked",
        Event::Gone(_) => "gone",
    }
}
