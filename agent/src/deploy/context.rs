//! Owns what every long step gets besides the host: where to report progress and how to be told
//! to stop.

use std::rc::Rc;

use gio::Cancellable;

use crate::model::{Phase, Progress};

/// Where progress goes, and the means to stop.
#[derive(Clone)]
pub struct Context {
    report: Rc<dyn Fn(Progress)>,
    cancellable: Cancellable,
}

impl Context {
    /// Progress goes to `report`; `cancellable` stops what runs.
    pub fn new(report: Rc<dyn Fn(Progress)>, cancellable: Cancellable) -> Self {
        Self { report, cancellable }
    }

    /// Says that a step of unknown length begins.
    pub fn begin(&self, phase: Phase) {
        self.report(Progress { phase, ..Progress::default() });
    }

    /// Says how far a step is.
    pub fn report(&self, progress: Progress) {
        (self.report)(progress);
    }

    /// What libostree's calls take.
    pub fn cancellable(&self) -> Option<&Cancellable> {
        Some(&self.cancellable)
    }
}
