//! Owns what is read back from pods' cgroups: who has one, and what it uses.

use std::path::Path;

use super::{Cgroups, tree};
use crate::spec::Qos;

impl Cgroups {
    /// The UIDs of all pods that have a cgroup.
    pub fn known(&self) -> Vec<String> {
        let mut known: Vec<String> = Qos::ALL.into_iter().flat_map(|qos| self.of_tier(qos)).collect();
        known.sort();
        known.dedup();
        known
    }

    /// The UIDs of the pods of a class that have a cgroup, some more than once.
    pub(super) fn of_tier(&self, qos: Qos) -> Vec<String> {
        let tier = self.inner.names.tier(qos);
        let mut known = Vec::new();
        for folder in self.inner.hierarchy.folders(&self.inner.names.path(&tier)) {
            let names = tree::children(&folder);
            let names = names.iter().filter_map(|path| path.file_name()?.to_str());
            known.extend(names.filter_map(|name| self.inner.names.uid(&tier, name)));
        }
        known
    }

    /// Bytes of memory that a pod uses and the kernel cannot simply drop: its working set.
    pub fn memory(&self, uid: &str) -> Option<u64> {
        self.read("memory", uid, |folder| self.working_set(folder))
    }

    /// Bytes of memory that all pods together may use, and use.
    pub fn memory_of_all(&self) -> Option<(u64, u64)> {
        let limit = u64::try_from(self.inner.all.memory?).ok()?;
        let path = self.inner.names.path(&self.inner.names.tier(Qos::Guaranteed));
        Some((limit, self.working_set(&self.inner.hierarchy.folder("memory", &path)?)?))
    }

    fn working_set(&self, folder: &Path) -> Option<u64> {
        let (total, dropped) = if self.inner.hierarchy.is_unified() { V2 } else { V1 };
        Some(number(folder, total)?.saturating_sub(field(&text(folder, "memory.stat")?, dropped)))
    }

    /// How many processes and threads a pod has.
    pub fn tasks(&self, uid: &str) -> Option<u64> {
        self.read("pids", uid, |folder| number(folder, "pids.current"))
    }

    fn read<T>(&self, controller: &str, uid: &str, read: impl Fn(&Path) -> Option<T>) -> Option<T> {
        Qos::ALL.iter().find_map(|qos| {
            let path = self.inner.names.path(&self.inner.names.pod(*qos, uid));
            read(&self.inner.hierarchy.folder(controller, &path)?)
        })
    }
}

const V2: (&str, &str) = ("memory.current", "inactive_file");
const V1: (&str, &str) = ("memory.usage_in_bytes", "total_inactive_file");

fn text(folder: &Path, name: &str) -> Option<String> {
    std::fs::read_to_string(folder.join(name)).ok()
}

fn number(folder: &Path, name: &str) -> Option<u64> {
    text(folder, name)?.trim().parse().ok()
}

/// A field of `memory.stat`; 0 when it is not there.
fn field(stat: &str, name: &str) -> u64 {
    let fields = stat.lines().filter_map(|line| line.split_once(' '));
    let value = fields.into_iter().find(|(key, _)| *key == name).map(|(_, value)| value);
    value.and_then(|value| value.trim().parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let stat = "inactive_file 100\ntotal_inactive_file 300\n";
        assert_eq!(field(stat, "inactive_file"), 100);
        assert_eq!(field(stat, "total_inactive_file"), 300);
        assert_eq!(field(stat, "file"), 0);
    }
}
