//! Owns showing how a verb goes: a line for each step and, on a terminal, what is waited for.

use std::io::{IsTerminal, Write, stderr};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// Shows steps, on standard error.
pub struct Progress {
    bar: Option<ProgressBar>,
    quiet: bool,
    logs: bool,
}

impl Progress {
    /// Shows nothing when `quiet`.
    pub fn new(quiet: bool) -> Self {
        let bar = (!quiet && stderr().is_terminal()).then(|| {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed}") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        Self { bar, quiet, logs: false }
    }

    /// Logs steps, of a daemon.
    pub fn logged() -> Self {
        Self { bar: None, quiet: true, logs: true }
    }

    /// Something was done.
    pub fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None if self.logs => tracing::info!("{text}"),
            None if self.quiet => {}
            // A terminal that is gone is no reason to end.
            None => drop(writeln!(stderr(), "{text}")),
        }
    }

    /// Something is waited for; only a terminal is told.
    pub fn waits(&self, text: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(text.to_owned());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
