//! Owns the search for what pods leave behind on a node.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::NodeRig;
use crate::containers::eventually;
use crate::containers::leaks::{Found, addresses, cgroups, mounts, processes};

impl NodeRig {
    /// What is left of pods, once nothing goes by itself any more; nothing, where there are none.
    pub fn left(&self) -> Vec<String> {
        let mut left = Vec::new();
        eventually(Duration::from_secs(30), || {
            left = self.found();
            left.is_empty()
        });
        left
    }

    fn found(&self) -> Vec<String> {
        let (folder, root) = (self.folder(), self.root());
        let processes = processes(folder, &self.cgroup()).into_iter().filter(Found::of_container);
        let mut left: Vec<String> = processes.map(|found| found.to_string()).collect();
        left.extend(
            mounts(folder).iter().filter(|path| **path != root).map(|path| format!("mount {}", path.display())),
        );
        let of_pod = |path: &Path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            name.starts_with("pod") || name.len() == 64
        };
        left.extend(
            cgroups(&self.cgroup()).iter().filter(|path| of_pod(path)).map(|path| format!("cgroup {}", path.display())),
        );
        let links = self.namespace().ip(&["-brief", "link", "show", "type", "veth"]).unwrap_or_default();
        left.extend(links.lines().filter(|link| !link.starts_with("eth0@")).map(|link| format!("link {link}")));
        for words in [["containers", "list", "--quiet"], ["tasks", "list", "--quiet"]] {
            let listed = self.ctr(&words).unwrap_or_else(|error| format!("? {error:#}"));
            left.extend(listed.lines().map(|line| format!("{} {line}", words[0])));
        }
        let snapshots = self.ctr(&["snapshots", "list"]).unwrap_or_else(|error| format!("\n? {error:#}"));
        let in_use = snapshots.lines().skip(1).filter(|line| !line.trim_end().ends_with("Committed"));
        left.extend(in_use.map(|line| format!("snapshot {line}")));
        let folders = ["root/pods", "logs/pods"].map(|part| fs::read_dir(folder.join(part)));
        let folders = folders.into_iter().flatten().flatten().flatten();
        left.extend(folders.map(|entry| format!("folder {}", entry.path().display())));
        for part in ["root", "run"] {
            addresses(&folder.join(part), 4, &mut left);
        }
        left
    }
}
