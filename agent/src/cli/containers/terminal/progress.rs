//! Owns showing how a pull, push or load goes: a line for each layer, in place on a terminal.

use std::collections::HashMap;
use std::io::{self, IsTerminal, Write};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Deserialize;

/// What the daemon says on its way.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Progress {
    status: Option<String>,
    stream: Option<String>,
    id: Option<String>,
    error: Option<String>,
    #[serde(rename = "errorDetail")]
    detail: Option<Detail>,
    #[serde(rename = "progressDetail")]
    progress: Option<Amount>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Detail {
    message: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Amount {
    current: Option<i64>,
    total: Option<i64>,
}

/// Where to show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Show {
    /// Nowhere.
    Nothing,
    /// On standard output.
    Out,
    /// On standard error.
    Err,
}

impl Show {
    /// On standard error, unless `quiet`.
    pub fn stderr(quiet: bool) -> Self {
        if quiet { Self::Nothing } else { Self::Err }
    }
}

/// Shows it.
#[derive(Debug)]
pub struct Display {
    show: Show,
    bars: Option<MultiProgress>,
    layers: HashMap<String, ProgressBar>,
}

impl Display {
    /// Where `show` says, with bars where that is a terminal.
    pub fn new(show: Show) -> Self {
        let (terminal, target) = match show {
            Show::Nothing => (false, ProgressDrawTarget::hidden()),
            Show::Out => (io::stdout().is_terminal(), ProgressDrawTarget::stdout()),
            Show::Err => (io::stderr().is_terminal(), ProgressDrawTarget::stderr()),
        };
        let bars = terminal.then(|| MultiProgress::with_draw_target(target));
        Self { show, bars, layers: HashMap::new() }
    }

    /// Shows one step; one that says it failed is an error.
    pub fn show(&mut self, progress: Progress) -> anyhow::Result<()> {
        if let Some(error) = progress.detail.and_then(|detail| detail.message).or(progress.error) {
            anyhow::bail!("Error response from daemon: {error}");
        }
        let amount = progress.progress.unwrap_or_default();
        let text = match (&progress.stream, &progress.status) {
            (Some(stream), _) => stream.trim_end(),
            (None, Some(status)) => status.trim_end(),
            (None, None) => return Ok(()),
        };
        match (&progress.id, &self.bars) {
            (Some(id), Some(bars)) => {
                let bar = self.layers.entry(id.clone()).or_insert_with(|| bars.add(layer(id)));
                draw(bar, text, &amount);
                Ok(())
            }
            (id, Some(bars)) => Ok(bars.println(line(id.as_deref(), text))?),
            (id, None) if amount.current.is_none_or(|current| current == 0) => self.print(&line(id.as_deref(), text)),
            // Only the steps, and not every hundredth of them, where nothing can be drawn.
            (_, None) => Ok(()),
        }
    }

    fn print(&self, line: &str) -> anyhow::Result<()> {
        match self.show {
            Show::Nothing => {}
            Show::Out => writeln!(io::stdout(), "{line}")?,
            Show::Err => writeln!(io::stderr(), "{line}")?,
        }
        Ok(())
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        for bar in self.layers.values() {
            bar.abandon();
        }
    }
}

fn line(id: Option<&str>, text: &str) -> String {
    id.map_or_else(|| text.to_owned(), |id| format!("{id}: {text}"))
}

fn layer(id: &str) -> ProgressBar {
    ProgressBar::no_length().with_prefix(id.to_owned())
}

fn draw(bar: &ProgressBar, text: &str, amount: &Amount) {
    let total = amount.total.and_then(|total| u64::try_from(total).ok()).filter(|total| *total > 0);
    let current = amount.current.and_then(|current| u64::try_from(current).ok()).filter(|current| *current > 0);
    let template = match (current, total) {
        (Some(_), Some(_)) => "{prefix}: {msg} [{bar:40}] {decimal_bytes}/{decimal_total_bytes}",
        (Some(_), None) => "{prefix}: {msg} {decimal_bytes}",
        (None, _) => "{prefix}: {msg}",
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
    if let Some(total) = total {
        bar.set_length(total);
    }
    bar.set_position(current.unwrap_or_default());
    bar.set_message(text.to_owned());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_errors() {
        let progress: Progress =
            serde_json::from_str(r#"{"errorDetail":{"message":"manifest unknown"},"error":"manifest unknown"}"#)
                .unwrap();
        let error = Display::new(Show::Nothing).show(progress).unwrap_err();
        assert_eq!(error.to_string(), "Error response from daemon: manifest unknown");
        assert_eq!(line(Some("0123"), "Pull complete"), "0123: Pull complete");
    }
}
