//! Owns file operations inside a root folder: paths are relative to the root, folders are read in
//! sorted order, files are replaced and never written in place (they may be hard links into the
//! content store), and every error names the action and the path.

use std::collections::VecDeque;
use std::fs::{self, Metadata, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::error::LayoutError;

/// Symbolic links followed before a path is given up.
const MAX_LINKS: usize = 40;

/// A root folder.
#[derive(Debug, Clone, Copy)]
pub struct Root<'a>(pub &'a Path);

/// Turns an I/O result into one that says what was done to what.
pub fn context<T>(action: &'static str, path: &Path, result: io::Result<T>) -> Result<T, LayoutError> {
    result.map_err(|source| LayoutError::Io { action, path: path.to_owned(), source })
}

impl Root<'_> {
    /// The full path of `relative` (which has no leading `/`).
    pub fn join(&self, relative: &str) -> PathBuf {
        if relative.is_empty() { self.0.to_owned() } else { self.0.join(relative) }
    }

    /// What is at a path, not following a symbolic link; `None` when nothing is.
    pub fn stat(&self, relative: &str) -> Result<Option<Metadata>, LayoutError> {
        let path = self.join(relative);
        match fs::symlink_metadata(&path) {
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
            other => context("look at", &path, other).map(Some),
        }
    }

    /// Whether a folder is at the path itself (a link to one is not).
    pub fn is_dir(&self, relative: &str) -> Result<bool, LayoutError> {
        Ok(self.stat(relative)?.is_some_and(|found| found.is_dir()))
    }

    /// Names in a folder, sorted; none when there is no such folder. Names that are not UTF-8 are an error.
    pub fn list(&self, relative: &str) -> Result<Vec<String>, LayoutError> {
        if !self.is_dir(relative)? {
            return Ok(Vec::new());
        }
        let path = self.join(relative);
        let mut names = Vec::new();
        for entry in context("list", &path, fs::read_dir(&path))? {
            let name = context("list", &path, entry)?.file_name();
            let name = name.into_string().map_err(|name| LayoutError::Io {
                action: "use the name of",
                path: path.join(name),
                source: io::Error::new(ErrorKind::InvalidData, "it is not UTF-8"),
            })?;
            names.push(name);
        }
        names.sort_unstable();
        Ok(names)
    }

    /// A file's text, `None` when there is none.
    pub fn read(&self, relative: &str) -> Result<Option<String>, LayoutError> {
        let path = self.join(relative);
        match fs::read_to_string(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            other => context("read", &path, other).map(Some),
        }
    }

    /// Replaces a file; missing folders above it are made.
    pub fn write(&self, relative: &str, content: impl AsRef<[u8]>, mode: u32) -> Result<(), LayoutError> {
        self.make_parent(relative)?;
        self.remove(relative)?;
        let path = self.join(relative);
        context("write", &path, fs::write(&path, content))?;
        context("set the mode of", &path, fs::set_permissions(&path, Permissions::from_mode(mode)))
    }

    /// Replaces a file's content and keeps its mode and owner.
    pub fn rewrite(&self, relative: &str, content: impl AsRef<[u8]>) -> Result<(), LayoutError> {
        let Some(before) = self.stat(relative)? else { return self.write(relative, content, 0o644) };
        self.write(relative, content, before.mode() & 0o7777)?;
        self.chown(relative, before.uid(), before.gid())
    }

    /// Sets a path's owner, not following a link, where it differs; the mode stays.
    pub fn chown(&self, relative: &str, uid: u32, gid: u32) -> Result<(), LayoutError> {
        let path = self.join(relative);
        let before = context("look at", &path, fs::symlink_metadata(&path))?;
        if before.uid() == uid && before.gid() == gid {
            return Ok(());
        }
        context("set the owner of", &path, std::os::unix::fs::lchown(&path, Some(uid), Some(gid)))?;
        if before.is_symlink() {
            return Ok(());
        }
        let mode = Permissions::from_mode(before.mode() & 0o7777);
        context("set the mode of", &path, fs::set_permissions(&path, mode))
    }

    /// Makes a folder, and those above it, with mode 0755 where they are missing.
    pub fn make_dir(&self, relative: &str) -> Result<(), LayoutError> {
        let path = self.join(relative);
        context("make the folder", &path, fs::DirBuilder::new().recursive(true).mode(0o755).create(&path))
    }

    fn make_parent(&self, relative: &str) -> Result<(), LayoutError> {
        match relative.rsplit_once('/') {
            Some((parent, _)) => self.make_dir(parent),
            None => Ok(()),
        }
    }

    /// Removes a file, link or folder with all it holds; nothing to remove is fine.
    pub fn remove(&self, relative: &str) -> Result<(), LayoutError> {
        let path = self.join(relative);
        match self.stat(relative)? {
            None => Ok(()),
            Some(found) if found.is_dir() => context("remove", &path, fs::remove_dir_all(&path)),
            Some(_) => context("remove", &path, fs::remove_file(&path)),
        }
    }

    /// Removes all that a folder holds.
    pub fn clear(&self, relative: &str) -> Result<(), LayoutError> {
        for name in self.list(relative)? {
            self.remove(&format!("{relative}/{name}"))?;
        }
        Ok(())
    }

    /// Moves `from` to `to`, replacing a file that is there; missing folders above `to` are made.
    pub fn rename(&self, from: &str, to: &str) -> Result<(), LayoutError> {
        self.make_parent(to)?;
        let path = self.join(from);
        context("move", &path, fs::rename(&path, self.join(to)))
    }

    /// Replaces what is at a path by a symbolic link.
    pub fn link(&self, relative: &str, target: &str) -> Result<(), LayoutError> {
        self.make_parent(relative)?;
        self.remove(relative)?;
        let path = self.join(relative);
        context("make the link", &path, symlink(target, &path))
    }

    /// As [`Root::resolve`], following the last part too, for a folder.
    pub fn resolve_folder(&self, absolute: &str) -> Result<String, LayoutError> {
        let inside = self.resolve(&format!("{absolute}/_"))?;
        Ok(inside.strip_suffix('_').unwrap_or(&inside).trim_end_matches('/').to_owned())
    }

    /// Follows the links among the folders above an absolute path of the root, as a process whose
    /// root it is would, and gives the path relative to the root. The last part is not followed.
    pub fn resolve(&self, absolute: &str) -> Result<String, LayoutError> {
        let unresolvable = || LayoutError::Unresolvable { path: absolute.to_owned() };
        let mut todo: VecDeque<String> = parts(absolute).collect();
        let (mut done, mut links) = (Vec::<String>::new(), 0);
        while let Some(part) = todo.pop_front() {
            if part == ".." {
                done.pop();
                continue;
            }
            done.push(part);
            let Some(found) = self.stat(&done.join("/"))? else { continue };
            if todo.is_empty() || found.is_dir() {
                continue;
            }
            links += 1;
            if !found.is_symlink() || links > MAX_LINKS {
                return Err(unresolvable());
            }
            let path = self.join(&done.join("/"));
            let target = context("read the link", &path, fs::read_link(&path))?;
            let target = target.to_str().ok_or_else(unresolvable)?;
            done.pop();
            if target.starts_with('/') {
                done.clear();
            }
            parts(target).rev().for_each(|part| todo.push_front(part));
        }
        Ok(done.join("/"))
    }
}

fn parts(path: &str) -> impl DoubleEndedIterator<Item = String> + '_ {
    path.split('/').filter(|part| !part.is_empty() && *part != ".").map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolves_links_inside_the_root() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root(dir.path());
        root.make_dir("usr/lib").unwrap();
        root.link("lib", "usr/lib").unwrap();
        root.link("abs", "/usr/../../usr").unwrap();
        root.link("loop", "loop").unwrap();
        root.link("usr/lib/last", "/etc/passwd").unwrap();
        assert_eq!(root.resolve("/lib/x").unwrap(), "usr/lib/x");
        assert_eq!(root.resolve("/abs/lib/last").unwrap(), "usr/lib/last");
        assert_eq!(root.resolve_folder("/abs/../lib").unwrap(), "usr/lib");
        assert_eq!(root.resolve_folder("/").unwrap(), "");
        assert_eq!(root.resolve("/../new/file").unwrap(), "new/file");
        assert!(matches!(root.resolve("/loop/x"), Err(LayoutError::Unresolvable { .. })));
    }

    #[test]
    fn replacing_a_file_leaves_its_other_names_alone() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root(dir.path());
        root.write("store", "old", 0o600).unwrap();
        fs::hard_link(root.join("store"), root.join("file")).unwrap();
        root.rewrite("file", "new").unwrap();
        assert_eq!(root.read("store").unwrap().as_deref(), Some("old"));
        assert_eq!(root.stat("file").unwrap().unwrap().mode() & 0o777, 0o600);
    }
}
