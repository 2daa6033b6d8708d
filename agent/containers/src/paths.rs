//! Owns where everything of a container lies.
//!
//! ```text
//! ROOT/c/ID/        container.json, state.json, hosts, hostname, resolv.conf, output of the container
//! ROOT/volumes/NAME/{_data,volume.json}
//! RUN/c/ID/         FIFOs and what else a boot forgets
//! RUN/netns/ID      its network namespace
//! ```

use std::path::{Path, PathBuf};

/// The folders of this daemon.
#[derive(Debug, Clone)]
pub struct Paths {
    root: PathBuf,
    run: PathBuf,
}

impl Paths {
    /// Below `root` what is kept, below `run` what a boot forgets.
    pub fn new(root: &Path, run: &Path) -> Self {
        Self { root: root.to_owned(), run: run.to_owned() }
    }

    /// What is kept.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What a boot forgets.
    pub fn run(&self) -> &Path {
        &self.run
    }

    /// The folder of every container.
    pub fn containers(&self) -> PathBuf {
        self.root.join("c")
    }

    /// What is kept of one container.
    pub fn container(&self, id: &str) -> PathBuf {
        self.containers().join(id)
    }

    /// What a boot forgets of one container: its FIFOs.
    pub fn runtime(&self, id: &str) -> PathBuf {
        self.run.join("c").join(id)
    }

    /// The shared memory of one container, when others may have it as well.
    pub fn shm(&self, id: &str) -> PathBuf {
        self.runtime(id).join("shm")
    }

    /// The network namespace of one container.
    pub fn netns(&self, id: &str) -> PathBuf {
        self.run.join("netns").join(id)
    }

    /// The folder of the named volumes.
    pub fn volumes(&self) -> PathBuf {
        self.root.join("volumes")
    }
}
