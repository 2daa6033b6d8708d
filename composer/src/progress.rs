//! Owns progress bars: on a terminal only, on standard error, and silent everywhere else.

use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A step under way; when dropped its line goes and its time is told to who asked for more (`-v`).
pub struct Step {
    bar: ProgressBar,
    title: &'static str,
    start: Instant,
}

impl Drop for Step {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
        tracing::info!("{}: {:.1} s", self.title, self.start.elapsed().as_secs_f64());
    }
}

/// The steps of making a disk, a line each.
#[derive(Default)]
pub struct DiskSteps(Mutex<Option<Step>>);

impl keelson_image::Progress for DiskSteps {
    fn step(&self, step: keelson_image::Step) {
        // The former step's line goes before the next one comes.
        let mut line = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        line.take();
        *line = Some(Progress::on_terminal().step(step.title()));
    }
}

/// Makes progress bars, or bars that show nothing.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    visible: bool,
}

impl Progress {
    /// Bars when standard error is a terminal.
    pub fn on_terminal() -> Self {
        Self { visible: std::io::stderr().is_terminal() }
    }

    /// A bar over `total` bytes.
    pub fn bytes(&self, title: &'static str, total: u64) -> ProgressBar {
        self.bar(title, total, "{msg:22} {bar:32} {bytes}/{total_bytes} {eta}")
    }

    /// A bar over `total` things.
    pub fn count(&self, title: &'static str, total: u64) -> ProgressBar {
        self.bar(title, total, "{msg:22} {bar:32} {pos}/{len}")
    }

    /// A line for a step whose length is not known, with the time it has taken.
    pub fn step(&self, title: &'static str) -> Step {
        let bar = self.bar(title, 0, "{msg:22} {spinner} {elapsed}");
        if self.visible {
            bar.enable_steady_tick(Duration::from_millis(120));
        }
        Step { bar, title, start: Instant::now() }
    }

    fn bar(&self, title: &'static str, total: u64, template: &str) -> ProgressBar {
        let target = if self.visible { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(total), target);
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.with_message(title)
    }
}
