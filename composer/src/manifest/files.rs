//! Owns what a `[[file]]` brings into the root: the one walk that the copying, the checks and the
//! manifest's digest share.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::FileCopy;
use super::error::ManifestError;

/// One thing a [`FileCopy`] makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where it goes in the root, absolute, `/etc/motd`.
    pub target: String,
    /// Permission bits; 0755 for folders, 0777 for links.
    pub mode: u32,
    /// What it is.
    pub kind: EntryKind,
}

/// What an [`Entry`] is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    /// A folder.
    Dir,
    /// A file with the content of this one of the build machine.
    File(PathBuf),
    /// A file with this content.
    Text(String),
    /// A symbolic link to this.
    Link(PathBuf),
}

impl FileCopy {
    /// Everything this copies, folders before what is in them, names in byte order. The target
    /// folder itself is not among it: it is made when it is not there, and left as it is otherwise.
    pub fn entries(&self) -> Result<Vec<Entry>, ManifestError> {
        let mut entries = Vec::new();
        match (&self.content, &self.source) {
            (Some(text), _) => entries.push(Entry {
                target: self.target.clone(),
                mode: self.mode.unwrap_or(0o644),
                kind: EntryKind::Text(text.clone()),
            }),
            (None, Some(source)) if source.is_dir() => walk(source, &self.target, self.mode, &mut entries)?,
            (None, Some(source)) => entries.push(entry(source, self.target.clone(), self.mode)?),
            (None, None) => {}
        }
        Ok(entries)
    }
}

fn walk(dir: &Path, target: &str, mode: Option<u32>, entries: &mut Vec<Entry>) -> Result<(), ManifestError> {
    let read = |source| ManifestError::Read { path: dir.to_owned(), source };
    let mut names = fs::read_dir(dir)
        .map_err(read)?
        .map(|item| item.map(|item| item.file_name()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(read)?;
    names.sort_unstable();
    for name in names {
        let (path, target) = (dir.join(&name), format!("{}/{}", target.trim_end_matches('/'), name.to_string_lossy()));
        let entry = entry(&path, target.clone(), mode)?;
        let is_dir = entry.kind == EntryKind::Dir;
        entries.push(entry);
        if is_dir {
            walk(&path, &target, mode, entries)?;
        }
    }
    Ok(())
}

fn entry(path: &Path, target: String, mode: Option<u32>) -> Result<Entry, ManifestError> {
    let read = |source| ManifestError::Read { path: path.to_owned(), source };
    let metadata = fs::symlink_metadata(path).map_err(read)?;
    let kind = metadata.file_type();
    if kind.is_symlink() {
        return Ok(Entry { target, mode: 0o777, kind: EntryKind::Link(fs::read_link(path).map_err(read)?) });
    }
    if kind.is_dir() {
        return Ok(Entry { target, mode: 0o755, kind: EntryKind::Dir });
    }
    if !kind.is_file() {
        return Err(ManifestError::Special { path: path.to_owned() });
    }
    let executable = metadata.permissions().mode() & 0o111 != 0;
    let mode = mode.unwrap_or(if executable { 0o755 } else { 0o644 });
    Ok(Entry { target, mode, kind: EntryKind::File(path.to_owned()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copy(source: &Path, mode: Option<u32>) -> FileCopy {
        let source = Some(source.to_owned());
        FileCopy { source, content: None, target: "/etc".into(), mode, user: "root".into(), group: "root".into() }
    }

    #[test]
    fn folders_are_walked_in_order() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("b")).unwrap();
        fs::write(dir.path().join("b/run"), "x").unwrap();
        fs::set_permissions(dir.path().join("b/run"), fs::Permissions::from_mode(0o700)).unwrap();
        fs::write(dir.path().join("a"), "x").unwrap();
        std::os::unix::fs::symlink("a", dir.path().join("c")).unwrap();
        let seen: Vec<(String, u32)> =
            copy(dir.path(), None).entries().unwrap().into_iter().map(|entry| (entry.target, entry.mode)).collect();
        let expected = [("/etc/a", 0o644), ("/etc/b", 0o755), ("/etc/b/run", 0o755), ("/etc/c", 0o777)];
        assert_eq!(seen, expected.map(|(target, mode)| (target.to_owned(), mode)));
        let modes: Vec<u32> =
            copy(dir.path(), Some(0o600)).entries().unwrap().into_iter().map(|entry| entry.mode).collect();
        assert_eq!(modes, [0o600, 0o755, 0o600, 0o777]);
    }

    #[test]
    fn sockets_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("s")).unwrap();
        let error = copy(dir.path(), None).entries().unwrap_err();
        assert!(error.to_string().contains("cannot be copied"), "{error}");
    }
}
