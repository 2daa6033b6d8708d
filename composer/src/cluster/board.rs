//! Owns showing how machines come along: on a terminal a line for each that stays in its place, elsewhere a line for
//! each change.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// The machines and what each is at.
pub struct Board {
    lines: Mutex<Vec<Line>>,
    width: usize,
    start: Instant,
    left: AtomicBool,
}

struct Line {
    name: String,
    said: String,
    bar: Option<ProgressBar>,
}

impl Board {
    /// A board of machines about which nothing is known yet, on standard error.
    pub fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let names: Vec<&str> = names.into_iter().collect();
        let width = names.iter().map(|name| name.len()).max().unwrap_or_default();
        let all = MultiProgress::new();
        let lines = names.iter().map(|&name| {
            let bar = terminal.then(|| bar(&all, name, width));
            Line { name: name.to_owned(), said: String::new(), bar }
        });
        Self { lines: Mutex::new(lines.collect()), width, start: Instant::now(), left: AtomicBool::new(false) }
    }

    /// Says what a machine is at, where that is news.
    pub fn set(&self, name: &str, text: &str) {
        self.say(name, text, false);
    }

    /// Says what came of a machine: its line no longer moves.
    pub fn finish(&self, name: &str, text: &str) {
        self.say(name, text, true);
    }

    fn say(&self, name: &str, text: &str, last: bool) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(line) = lines.iter_mut().find(|line| line.name == name) else { return };
        let text = one_line(text);
        let news = line.said != text;
        match &line.bar {
            Some(bar) if last => bar.finish_with_message(text.clone()),
            Some(bar) if news => bar.set_message(text.clone()),
            None if news => {
                eprintln!("{:>5} s  {name:width$}  {text}", self.start.elapsed().as_secs(), width = self.width);
            }
            _ => {}
        }
        line.said = text;
    }

    /// Ends the lines and leaves what they say.
    pub fn leave(&self) {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let bars: Vec<&ProgressBar> = lines.iter().filter_map(|line| line.bar.as_ref()).collect();
        if !bars.is_empty() && !self.left.swap(true, Ordering::SeqCst) {
            bars.iter().filter(|bar| !bar.is_finished()).for_each(|bar| bar.abandon());
            // The last one leaves the cursor behind it.
            eprintln!();
        }
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        self.leave();
    }
}

fn bar(all: &MultiProgress, name: &str, width: usize) -> ProgressBar {
    let bar = all.add(ProgressBar::new_spinner());
    if let Ok(style) = ProgressStyle::with_template("{prefix} {spinner} {elapsed:>4} {wide_msg}") {
        bar.set_style(style);
    }
    bar.set_prefix(format!("{name:width$}"));
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

/// Text without line ends, and not longer than a wide screen.
fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").chars().take(160).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_fit_a_line() {
        assert_eq!(one_line("a\n  b "), "a b");
        assert_eq!(one_line(&"x".repeat(500)).len(), 160);
    }
}
