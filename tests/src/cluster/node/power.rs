//! Owns a machine's power: what there is of it before any program runs, and what a cut leaves.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Result;
use keelson_common::command::CommandExt;

use super::{NodeRig, containerd, make_cgroup};
use crate::containers::Process;
use crate::containers::folder::cgroup;
use crate::containers::leaks::end_all;

/// Makes what a host has in memory, and the folders below `folder` that a node's programs need.
pub fn boot(folder: &Path) -> Result<()> {
    for part in ["cni", "containerd", "root", "run"] {
        fs::create_dir_all(folder.join(part))?;
    }
    // Volumes of a container that mounts on its own account are seen by others only below such.
    let root = folder.join("root");
    Command::new("mount").arg("--bind").args([&root, &root]).run()?;
    Command::new("mount").arg("--make-rshared").arg(&root).run()?;
    make_cgroup(&cgroup(folder))
}

impl NodeRig {
    /// Ends all that runs on the machine at once and takes away what a host has in memory only, as a cut
    /// of its power does.
    pub fn cut_power(&mut self) -> Result<()> {
        for (_, _, process) in &mut self.programs {
            process.kill()?;
        }
        self.containerd.kill()?;
        end_all(&self.folder, &self.cgroup());
        for part in ["run", "containerd/state"] {
            fs::remove_dir_all(self.folder.join(part))?;
        }
        let links = self.namespace.ip(&["-brief", "link", "show"])?;
        let names = links.lines().filter_map(|link| link.split([' ', '@']).next());
        for name in names.filter(|name| !["lo", "eth0"].contains(name)) {
            self.namespace.ip(&["link", "delete", name])?;
        }
        Ok(self.namespace.command("nft").args(["flush", "ruleset"]).run()?)
    }

    /// Starts the programs that ran before a cut.
    pub fn power_on(&mut self) -> Result<()> {
        boot(&self.folder)?;
        self.containerd = containerd::start(&self.folder, &self.namespace)?;
        for number in 0..self.programs.len() {
            let (name, make, _) = self.programs[number];
            let process = Process::start(&mut make(self)?, &self.folder.join(format!("{name}.log")))?;
            self.programs[number].2 = process;
        }
        Ok(())
    }
}
