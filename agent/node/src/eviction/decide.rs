//! Owns when the node is short of something: thresholds, and how long it says so. Pure.

use std::time::Duration;

use tokio::time::Instant;

use super::{Pressure, Thresholds};

/// How long a shortage is told of after it ended, so that the scheduler does not fill the node at once.
const TRANSITION: Duration = Duration::from_secs(300);

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Signal {
    /// Memory of the host.
    Memory,
    /// Memory of what all pods together may use.
    PodsMemory,
    /// Room where volumes and logs are.
    NodeFs,
    /// Inodes there.
    NodeInodes,
    /// Room where images and containers are.
    ImageFs,
    /// Inodes there.
    ImageInodes,
    /// Processes and threads.
    Pids,
}

/// What pods are ended for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Resource {
    /// Memory.
    Memory,
    /// Room on a disk.
    Disk,
    /// Inodes on a disk.
    Inodes,
    /// Processes and threads.
    Pids,
}

impl Resource {
    /// Its name, as the API has it where it has one.
    pub fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Disk => "ephemeral-storage",
            Self::Inodes => "inodes",
            Self::Pids => "pids",
        }
    }

    /// Whether it is counted, not measured in bytes.
    pub fn is_counted(self) -> bool {
        matches!(self, Self::Inodes | Self::Pids)
    }
}

impl Signal {
    /// What it is about.
    pub fn resource(self) -> Resource {
        match self {
            Self::Memory | Self::PodsMemory => Resource::Memory,
            Self::NodeFs | Self::ImageFs => Resource::Disk,
            Self::NodeInodes | Self::ImageInodes => Resource::Inodes,
            Self::Pids => Resource::Pids,
        }
    }

    /// What settings call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Memory | Self::PodsMemory => "memory.available",
            Self::NodeFs => "nodefs.available",
            Self::NodeInodes => "nodefs.inodesFree",
            Self::ImageFs => "imagefs.available",
            Self::ImageInodes => "imagefs.inodesFree",
            Self::Pids => "pid.available",
        }
    }
}

/// What is left of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Observation {
    /// Of what.
    pub signal: Signal,
    /// So much is left.
    pub available: u64,
    /// Of so much.
    pub capacity: u64,
}

/// A threshold that is met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Met {
    /// Of what is too little left.
    pub signal: Signal,
    /// So much should be.
    pub threshold: u64,
    /// So much is.
    pub available: u64,
}

/// The thresholds that are met, memory first: nothing kills as fast.
pub fn met(observed: &[Observation], thresholds: &Thresholds) -> Vec<Met> {
    let met = observed.iter().filter_map(|&Observation { signal, available, capacity }| {
        let threshold = thresholds.of(signal, capacity)?;
        // What has no size is not there: a file system without a fixed number of inodes.
        (capacity > 0 && available < threshold).then_some(Met { signal, threshold, available })
    });
    let mut met: Vec<_> = met.collect();
    met.sort_by_key(|met| met.signal.resource() != Resource::Memory);
    met
}

/// When the node was last short of what.
#[derive(Debug, Default)]
pub struct Turns {
    memory: Option<Instant>,
    disk: Option<Instant>,
    pid: Option<Instant>,
}

impl Turns {
    /// What the node says it is short of now.
    pub fn turn(&mut self, met: &[Met], now: Instant) -> Pressure {
        for met in met {
            *match met.signal.resource() {
                Resource::Memory => &mut self.memory,
                Resource::Disk | Resource::Inodes => &mut self.disk,
                Resource::Pids => &mut self.pid,
            } = Some(now);
        }
        let lately = |last: Option<Instant>| last.is_some_and(|last| now.duration_since(last) < TRANSITION);
        Pressure { memory: lately(self.memory), disk: lately(self.disk), pid: lately(self.pid) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eviction::threshold::tests::{DEFAULTS, thresholds};

    fn seen(signal: Signal, available: u64, capacity: u64) -> Observation {
        Observation { signal, available, capacity }
    }

    #[test]
    fn thresholds_are_the_kubelets() {
        let enough = [
            seen(Signal::Memory, 100 << 20, 1 << 30),
            seen(Signal::NodeFs, 10, 100),
            seen(Signal::NodeInodes, 5, 100),
            seen(Signal::ImageFs, 15, 100),
            seen(Signal::Pids, 50, 1000),
            seen(Signal::ImageInodes, 0, 0),
        ];
        let defaults = thresholds(&DEFAULTS);
        assert_eq!(met(&enough, &defaults), []);
        let little = [
            seen(Signal::ImageFs, 14, 100),
            seen(Signal::NodeFs, 9, 100),
            seen(Signal::PodsMemory, (100 << 20) - 1, 1 << 30),
        ];
        let met = met(&little, &defaults);
        assert_eq!(met[0].signal, Signal::PodsMemory);
        assert_eq!(met[1], Met { signal: Signal::ImageFs, threshold: 15, available: 14 });
        assert_eq!(met.len(), 3);
    }

    #[test]
    fn other_thresholds_are_as_somebody_wants_them() {
        let wanted = thresholds(&[("memory.available", "2Gi"), ("imagefs.available", "1%")]);
        let seen = [seen(Signal::Memory, 1 << 30, 4 << 30), seen(Signal::ImageFs, 1, 100), seen(Signal::Pids, 0, 100)];
        assert_eq!(
            met(&seen, &wanted),
            [Met { signal: Signal::Memory, threshold: 2 << 30, available: 1 << 30 }],
            "nobody is evicted for what has no threshold"
        );
    }

    #[test]
    fn a_shortage_is_told_of_for_a_while_after_it_ended() {
        let mut turns = Turns::default();
        let start = Instant::now();
        let short = [Met { signal: Signal::NodeInodes, threshold: 5, available: 4 }];
        assert_eq!(turns.turn(&[], start), Pressure::default());
        assert!(turns.turn(&short, start).disk);
        let later = start + TRANSITION - Duration::from_secs(1);
        assert_eq!(turns.turn(&[], later), Pressure { disk: true, ..Pressure::default() });
        assert_eq!(turns.turn(&[], start + TRANSITION), Pressure::default());
    }
}
