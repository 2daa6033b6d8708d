//! Owns unpacking what is copied out of a container. The archive is made of the container's files,
//! so it is not trusted: nothing is written through a link or outside the target.

use std::fs;
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use anyhow::Context;
use tar::{Archive, Entry, EntryType};

/// Unpacks an archive with one root, which becomes `root`; the bytes of its files.
pub fn extract(archive: impl Read, root: &Path, ownership: bool) -> anyhow::Result<u64> {
    let mut archive = Archive::new(archive);
    archive.set_preserve_permissions(true);
    archive.set_preserve_mtime(true);
    archive.set_preserve_ownerships(ownership);
    let mut bytes = 0;
    let mut folders = Vec::new();
    for entry in archive.entries()? {
        let mut entry = entry.context("the archive of the daemon is damaged")?;
        let path = inside(&entry.path()?, root)?;
        bytes += entry.size();
        if entry.header().entry_type() == EntryType::Directory {
            make_folder(&path)?;
            // With its own mode it might not be written to any more.
            folders.push((path, entry));
            continue;
        }
        unpack(&mut entry, &path, root).with_context(|| format!("cannot write {}", path.display()))?;
    }
    for (path, mut entry) in folders.into_iter().rev() {
        entry.unpack(&path).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(bytes)
}

fn unpack(entry: &mut Entry<impl Read>, path: &Path, root: &Path) -> anyhow::Result<()> {
    if entry.header().entry_type() == EntryType::Link {
        let target = entry.link_name()?.context("a link without a target")?;
        let target = inside(&target, root)?;
        fs::remove_file(path).or_else(absent)?;
        return Ok(fs::hard_link(target, path)?);
    }
    entry.unpack(path)?;
    Ok(())
}

fn make_folder(path: &Path) -> anyhow::Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        made => made.with_context(|| format!("cannot make {}", path.display())),
    }
}

fn absent(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

/// Where an entry goes: its path without its first part, below `root`, and through no link.
fn inside(entry: &Path, root: &Path) -> anyhow::Result<PathBuf> {
    let mut path = root.to_owned();
    // What is in a folder comes below `.`, and the folder itself below its name.
    for (index, part) in entry.components().skip(1).enumerate() {
        let Component::Normal(name) = part else { anyhow::bail!("{} leads out of the archive", entry.display()) };
        if index > 0 && path.symlink_metadata().is_ok_and(|found| found.is_symlink()) {
            anyhow::bail!("{} leads through a link", entry.display());
        }
        path.push(name);
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tar::{Builder, Header};

    fn archive(entries: &[(&str, EntryType, &str)]) -> Vec<u8> {
        let mut builder = Builder::new(Vec::new());
        for (path, kind, text) in entries {
            let mut header = Header::new_gnu();
            header.set_entry_type(*kind);
            header.set_mode(if *kind == EntryType::Directory { 0o555 } else { 0o640 });
            let is_file = *kind == EntryType::Regular;
            header.set_size(if is_file { text.len() as u64 } else { 0 });
            if path.starts_with("./") {
                // The library would leave the dot out.
                header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
                header.set_cksum();
                builder.append(&header, if is_file { text.as_bytes() } else { b"" }).unwrap();
            } else if is_file || *kind == EntryType::Directory {
                builder.append_data(&mut header, path, if is_file { text.as_bytes() } else { b"" }).unwrap();
            } else {
                builder.append_link(&mut header, path, text).unwrap();
            }
        }
        builder.into_inner().unwrap()
    }

    #[test]
    fn a_tree_gets_its_new_name() {
        use EntryType::{Directory, Link, Regular, Symlink};
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("new");
        let tar = archive(&[
            ("d", Directory, ""),
            ("d/sub", Directory, ""),
            ("d/sub/f", Regular, "text"),
            ("d/hard", Link, "d/sub/f"),
            ("d/soft", Symlink, "sub/f"),
        ]);
        assert_eq!(extract(tar.as_slice(), &root, false).unwrap(), 4);
        assert_eq!(fs::read_to_string(root.join("hard")).unwrap(), "text");
        assert_eq!(fs::read_to_string(root.join("soft")).unwrap(), "text");
        assert!(fs::metadata(root.join("sub")).unwrap().permissions().readonly());
    }

    #[test]
    fn the_contents_of_a_folder_have_no_name_before_them() {
        let folder = tempfile::tempdir().unwrap();
        let tar = archive(&[("./", EntryType::Directory, ""), ("./f", EntryType::Regular, "text")]);
        assert_eq!(extract(tar.as_slice(), folder.path(), false).unwrap(), 4);
        assert_eq!(fs::read_to_string(folder.path().join("f")).unwrap(), "text");
    }

    #[test]
    fn nothing_is_written_through_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let (root, outside) = (folder.path().join("root"), folder.path().join("outside"));
        fs::create_dir(&outside).unwrap();
        let tar = archive(&[
            ("d", EntryType::Directory, ""),
            ("d/link", EntryType::Symlink, &outside.display().to_string()),
            ("d/link/f", EntryType::Regular, "text"),
        ]);
        let error = extract(tar.as_slice(), &root, false).unwrap_err();
        assert!(error.to_string().contains("leads through a link"), "{error}");
        assert!(!outside.join("f").exists());
    }
}
