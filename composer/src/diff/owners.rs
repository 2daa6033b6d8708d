//! Owns which package a file of a commit belongs to, by dpkg's lists: pure over their text.

use std::collections::HashMap;

use deb822_fast::Deb822;
use keelson_common::packages::Package;

/// Folders that are links into `/usr` on a merged-usr system, where dpkg's lists may still name
/// the old place.
const MERGED: [&str; 6] = ["bin", "sbin", "lib", "lib32", "lib64", "libx32"];

/// Packages by the paths of their files, as a commit has them.
#[derive(Debug, Clone, Default)]
pub struct Owners {
    packages: Vec<String>,
    by_path: HashMap<String, usize>,
}

impl Owners {
    /// Adds the files of one package; `list` is the content of its `info/PACKAGE.list`.
    pub fn add(&mut self, package: &str, list: &str) {
        let index = self.packages.len();
        self.packages.push(package.to_owned());
        for path in list.lines() {
            self.by_path.insert(in_commit(path), index);
        }
    }

    /// Follows dpkg's `diversions`: three lines each, where a file was, where it is now, and the
    /// package that moved it there.
    pub fn divert(&mut self, diversions: &str) {
        let lines: Vec<&str> = diversions.lines().collect();
        for diversion in lines.chunks_exact(3) {
            if let Some(owner) = self.by_path.get(&in_commit(diversion[0])).copied() {
                self.by_path.insert(in_commit(diversion[1]), owner);
            }
        }
    }

    /// The package of a path without a `/` at the end.
    pub fn owner(&self, path: &str) -> Option<&str> {
        self.by_path.get(path).and_then(|index| self.packages.get(*index)).map(String::as_str)
    }
}

/// Where a path that dpkg knows is in a commit: `/etc` is `/usr/etc`, merged folders are in
/// `/usr`, and the kernel is beside its modules.
fn in_commit(path: &str) -> String {
    let rest = path.trim_start_matches('/');
    let (top, below) = rest.split_once('/').unwrap_or((rest, ""));
    if top == "etc" || MERGED.contains(&top) {
        return format!("/usr/{rest}");
    }
    for (prefix, name) in [("vmlinuz-", "vmlinuz"), ("config-", "config"), ("System.map-", "System.map")] {
        if top == "boot"
            && let Some(version) = below.strip_prefix(prefix)
        {
            return format!("/usr/lib/modules/{version}/{name}");
        }
    }
    path.to_owned()
}

/// `libc6` of `libc6:amd64.list`; nothing for files that are no lists.
pub fn package_of_list(file: &str) -> Option<&str> {
    let stem = file.strip_suffix(".list")?;
    Some(stem.split(':').next().unwrap_or(stem))
}

/// The installed packages in dpkg's `status`, sorted by name; a malformed one has none.
pub fn installed(status: &str) -> Vec<Package> {
    let Ok(document) = status.parse::<Deb822>() else { return Vec::new() };
    let package = |stanza: &deb822_fast::Paragraph| {
        let field = |name: &str| stanza.get(name).map(|value| value.trim().to_owned());
        let installed = field("Status")?.ends_with(" installed");
        let package =
            Package { name: field("Package")?, version: field("Version")?, architecture: field("Architecture")? };
        installed.then_some(package)
    };
    let mut packages: Vec<Package> = document.iter().filter_map(package).collect();
    packages.sort_unstable();
    packages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_the_commit() {
        let mut owners = Owners::default();
        owners.add("dash", "/.\n/bin\n/bin/sh\n/usr/share/doc/dash\n");
        owners.add("motd", "/etc\n/etc/motd\n");
        owners.add("linux", "/boot/vmlinuz-6.12-amd64\n/lib/modules/6.12-amd64/x.ko\n");
        assert_eq!(owners.owner("/usr/bin/sh"), Some("dash"));
        assert_eq!(owners.owner("/usr/etc/motd"), Some("motd"));
        assert_eq!(owners.owner("/usr/lib/modules/6.12-amd64/vmlinuz"), Some("linux"));
        assert_eq!(owners.owner("/usr/lib/modules/6.12-amd64/x.ko"), Some("linux"));
        assert_eq!(owners.owner("/bin/sh"), None);
    }

    #[test]
    fn diverted_files_keep_their_owner() {
        let mut owners = Owners::default();
        owners.add("vim", "/usr/bin/vi\n");
        owners.divert("/usr/bin/vi\n/usr/bin/vi.distrib\nother\n");
        assert_eq!(owners.owner("/usr/bin/vi.distrib"), Some("vim"));
    }

    #[test]
    fn lists_name_packages() {
        assert_eq!(package_of_list("libc6:amd64.list"), Some("libc6"));
        assert_eq!(package_of_list("bash.list"), Some("bash"));
        assert_eq!(package_of_list("bash.md5sums"), None);
    }

    #[test]
    fn only_installed_packages_count() {
        let status = "Package: b\nStatus: install ok installed\nVersion: 1\nArchitecture: all\n\n\
                      Package: c\nStatus: deinstall ok config-files\nVersion: 1\nArchitecture: all\n\n\
                      Package: a\nStatus: install ok installed\nVersion: 2-1\nArchitecture: amd64\n";
        let names: Vec<String> = installed(status).into_iter().map(|package| package.name).collect();
        assert_eq!(names, ["a", "b"]);
    }
}
