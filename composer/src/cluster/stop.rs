//! Owns being asked to stop: Ctrl-C and its like set a flag, and what is under way ends in order. A second one ends
//! the program at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

/// How often a sleeper looks.
const LOOK: Duration = Duration::from_millis(50);
/// The exit code of a program that Ctrl-C ended.
pub const INTERRUPTED: u8 = 130;

/// Whether this program was asked to stop.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

/// The work was left because somebody asked for it.
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
pub struct Interrupted;

impl Stop {
    /// From here on signals only set the flag.
    pub fn on_signals() -> Result<Self> {
        let stop = Self::default();
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            // In this order: the second signal finds the flag that the first one set.
            flag::register_conditional_shutdown(signal, i32::from(INTERRUPTED), stop.0.clone())
                .and_then(|_| flag::register(signal, stop.0.clone()))
                .context("cannot listen for signals")?;
        }
        Ok(stop)
    }

    /// Whether it was asked for.
    pub fn requested(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    /// Fails when it was asked for.
    pub fn check(&self) -> Result<(), Interrupted> {
        if self.requested() { Err(Interrupted) } else { Ok(()) }
    }

    /// Sleeps, and fails as soon as it is asked for.
    pub fn sleep(&self, time: Duration) -> Result<(), Interrupted> {
        let start = Instant::now();
        while start.elapsed() < time {
            self.check()?;
            thread::sleep(LOOK.min(time.saturating_sub(start.elapsed())));
        }
        self.check()
    }
}
