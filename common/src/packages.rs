//! Owns the package list of a commit and the difference between two lists, in Debian's own order
//! of versions.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;

use debversion::Version;
use serde::{Deserialize, Serialize};

/// One installed Debian package.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Package {
    /// Its name, `libc6`.
    pub name: String,
    /// Its full Debian version with epoch and revision, `2.41-12+deb13u5`.
    pub version: String,
    /// Its architecture, `amd64` or `all`.
    pub architecture: String,
}

/// A package present on both sides with another version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The package's name.
    pub name: String,
    /// The version on the old side.
    pub from: String,
    /// The version on the new side.
    pub to: String,
}

/// What differs between two package lists; each list is sorted by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageDiff {
    /// Packages only the new side has.
    pub added: Vec<Package>,
    /// Packages only the old side has.
    pub removed: Vec<Package>,
    /// Packages whose version is higher on the new side.
    pub upgraded: Vec<Change>,
    /// Packages whose version is lower on the new side.
    pub downgraded: Vec<Change>,
}

impl PackageDiff {
    /// Compares two package lists.
    pub fn between(old: &[Package], new: &[Package]) -> Self {
        let by_name = |list: &[Package]| -> BTreeMap<String, Package> {
            list.iter().map(|package| (package.name.clone(), package.clone())).collect()
        };
        let (old, new) = (by_name(old), by_name(new));
        let mut diff = Self::default();
        for (name, package) in &new {
            match old.get(name) {
                None => diff.added.push(package.clone()),
                Some(before) => diff.compare(before, package),
            }
        }
        diff.removed = old.into_values().filter(|package| !new.contains_key(&package.name)).collect();
        diff
    }

    fn compare(&mut self, before: &Package, after: &Package) {
        let change = || Change { name: after.name.clone(), from: before.version.clone(), to: after.version.clone() };
        match compare_versions(&before.version, &after.version) {
            Ordering::Less => self.upgraded.push(change()),
            Ordering::Greater => self.downgraded.push(change()),
            Ordering::Equal => {}
        }
    }

    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.upgraded.is_empty() && self.downgraded.is_empty()
    }
}

impl fmt::Display for PackageDiff {
    /// One section a kind of change, one line a package.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = |package: &Package| format!("{} {}", package.name, package.version);
        let step = |change: &Change| format!("{} {} -> {}", change.name, change.from, change.to);
        section(f, "Upgraded", self.upgraded.iter().map(step))?;
        section(f, "Downgraded", self.downgraded.iter().map(step))?;
        section(f, "Removed", self.removed.iter().map(whole))?;
        section(f, "Added", self.added.iter().map(whole))
    }
}

fn section(f: &mut fmt::Formatter<'_>, title: &str, lines: impl ExactSizeIterator<Item = String>) -> fmt::Result {
    if lines.len() > 0 {
        writeln!(f, "{title}:")?;
    }
    for line in lines {
        writeln!(f, "  {line}")?;
    }
    Ok(())
}

/// Debian's order of versions; text that is no Debian version falls back to byte order.
pub fn compare_versions(a: &str, b: &str) -> Ordering {
    match (a.parse::<Version>(), b.parse::<Version>()) {
        (Ok(a), Ok(b)) => a.cmp(&b),
        _ => a.cmp(b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, version: &str) -> Package {
        Package { name: name.into(), version: version.into(), architecture: "amd64".into() }
    }

    #[test]
    fn sorts_changes_by_debian_order() {
        let old = [package("a", "1.0~rc1-1"), package("b", "1:1.0"), package("c", "1"), package("e", "1")];
        let new = [package("a", "1.0-1"), package("b", "2.0"), package("d", "1"), package("e", "1")];
        let diff = PackageDiff::between(&old, &new);
        assert_eq!(diff.upgraded, [Change { name: "a".into(), from: "1.0~rc1-1".into(), to: "1.0-1".into() }]);
        assert_eq!(diff.downgraded[0].name, "b");
        assert_eq!(diff.added, [package("d", "1")]);
        assert_eq!(diff.removed, [package("c", "1")]);
    }

    #[test]
    fn prints_nothing_for_equal_lists() {
        let list = [package("a", "1")];
        let diff = PackageDiff::between(&list, &list);
        assert!(diff.is_empty());
        assert_eq!(diff.to_string(), "");
    }
}
