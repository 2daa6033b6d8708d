//! Owns writing a volume of files so that readers see the old content or the new one, never a mixture.
//!
//! ```text
//! VOLUME/key       -> ..data/key                     what containers open
//! VOLUME/..data    -> ..2026_11_25_10_20_30.123      switched by one rename
//! VOLUME/..2026_11_25_10_20_30.123/key               the content
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};

use jiff::Timestamp;

use super::error::{At, Problem, refused};
use super::tree;

const DATA: &str = "..data";
const NEW_DATA: &str = "..data_tmp";

/// A file to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// What is in it.
    pub content: Vec<u8>,
    /// Its permissions.
    pub mode: u32,
    /// Who owns it; root otherwise.
    pub owner: Option<u32>,
}

/// Files by their path in the volume.
pub type Payload = BTreeMap<String, File>;

/// Brings a volume to this payload, if it is not there yet; `finish` sets ownership after new files were
/// written and before anybody sees them.
pub fn write(volume: &Path, payload: &Payload, finish: impl FnOnce() -> Result<(), Problem>) -> Result<bool, Problem> {
    let payload = &cleaned(payload)?;
    let current = match fs::read_link(volume.join(DATA)) {
        Ok(name) => Some(volume.join(name)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error).at("read", &volume.join(DATA)),
    };
    let old = current.as_deref().map(listed).transpose()?.unwrap_or_default();
    let gone: Vec<_> = old.difference(&with_folders(payload)).cloned().collect();
    let change = match &current {
        Some(current) => !gone.is_empty() || differs(current, payload)?,
        None => true,
    };
    if change {
        replace(volume, payload, finish)?;
    }
    show(volume, payload)?;
    for name in gone.iter().filter(|path| path.components().count() == 1) {
        absent_is_fine(fs::remove_file(volume.join(name))).at("remove", &volume.join(name))?;
    }
    if change {
        remove_old(volume)?;
    }
    Ok(change)
}

/// Puts new content in the place of the old.
fn replace(volume: &Path, payload: &Payload, finish: impl FnOnce() -> Result<(), Problem>) -> Result<(), Problem> {
    let (dir, name) = new_folder(volume)?;
    let written = fill(&dir, payload).and_then(|()| finish()).and_then(|()| {
        let new = volume.join(NEW_DATA);
        // A crash may have left one.
        absent_is_fine(fs::remove_file(&new)).at("remove", &new)?;
        symlink(&name, &new).at("link", &new)?;
        fs::rename(&new, volume.join(DATA)).at("switch to", &dir)
    });
    if written.is_err()
        && let Err(error) = tree::remove(&dir)
    {
        tracing::warn!("cannot remove {}: {error}", dir.display());
    }
    written
}

fn new_folder(volume: &Path) -> Result<(PathBuf, String), Problem> {
    loop {
        let now = Timestamp::now();
        let name = format!("{}{}", now.strftime("..%Y_%m_%d_%H_%M_%S."), now.subsec_nanosecond());
        let dir = volume.join(&name);
        match fs::DirBuilder::new().mode(0o755).create(&dir) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            made => made.at("make", &dir)?,
        }
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).at("set the permissions of", &dir)?;
        return Ok((dir, name));
    }
}

fn fill(dir: &Path, payload: &Payload) -> Result<(), Problem> {
    for (path, file) in payload {
        let path = dir.join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).at("make", parent)?;
        }
        let mut options = fs::OpenOptions::new();
        let mut open = options.write(true).create_new(true).mode(file.mode).open(&path).at("make", &path)?;
        io::Write::write_all(&mut open, &file.content).at("write", &path)?;
        // The mode is what was asked for, whatever the umask.
        open.set_permissions(fs::Permissions::from_mode(file.mode)).at("set the permissions of", &path)?;
        if let Some(owner) = file.owner {
            std::os::unix::fs::fchown(&open, Some(owner), None).at("set the owner of", &path)?;
        }
    }
    Ok(())
}

/// Makes the links by which the files are seen.
fn show(volume: &Path, payload: &Payload) -> Result<(), Problem> {
    for (path, file) in payload {
        let name = path.split('/').next().unwrap_or(path);
        let link = volume.join(name);
        match symlink(Path::new(DATA).join(name), &link) {
            Ok(()) => {}
            // A link from before, or a folder that something is mounted at.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            Err(error) => return Err(error).at("link", &link),
        }
        if let Some(owner) = file.owner {
            std::os::unix::fs::lchown(&link, Some(owner), None).at("set the owner of", &link)?;
        }
    }
    Ok(())
}

/// Removes every folder of content but the current one; a crash may have left some.
fn remove_old(volume: &Path) -> Result<(), Problem> {
    let current = fs::read_link(volume.join(DATA)).at("read", &volume.join(DATA))?;
    for entry in fs::read_dir(volume).at("read", volume)? {
        let name = entry.at("read", volume)?.file_name();
        let dated = name.to_str().and_then(|name| name.strip_prefix(".."));
        if dated.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit())) && *name != *current {
            tree::remove(&volume.join(&name)).at("remove", &volume.join(&name))?;
        }
    }
    Ok(())
}

fn differs(current: &Path, payload: &Payload) -> Result<bool, Problem> {
    for (path, file) in payload {
        let path = current.join(path);
        match fs::read(&path) {
            Ok(content) if content == file.content => {}
            Ok(_) => return Ok(true),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(true);
            }
            Err(error) => return Err(error).at("read", &path),
        }
    }
    Ok(false)
}

/// Everything below a folder of content, relative to it.
fn listed(dir: &Path) -> Result<BTreeSet<PathBuf>, Problem> {
    let mut found = BTreeSet::new();
    let mut left = vec![PathBuf::new()];
    while let Some(relative) = left.pop() {
        let folder = dir.join(&relative);
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            entries => entries.at("read", &folder)?,
        };
        for entry in entries {
            let entry = entry.at("read", &folder)?;
            let path = relative.join(entry.file_name());
            if entry.file_type().at("look at", &folder)?.is_dir() {
                left.push(path.clone());
            }
            found.insert(path);
        }
    }
    Ok(found)
}

fn with_folders(payload: &Payload) -> BTreeSet<PathBuf> {
    let ancestors = payload.keys().flat_map(|path| Path::new(path).ancestors());
    ancestors.filter(|path| !path.as_os_str().is_empty()).map(Path::to_owned).collect()
}

/// The payload with its paths checked, and written in one way.
fn cleaned(payload: &Payload) -> Result<Payload, Problem> {
    payload.iter().map(|(path, file)| Ok((clean(path)?, file.clone()))).collect()
}

fn clean(path: &str) -> Result<String, Problem> {
    if path.is_empty() {
        return refused("invalid path: must not be empty: \"\"");
    }
    if path.starts_with('/') {
        return refused(format!("invalid path: must be relative path: {path}"));
    }
    if path.len() > 4096 {
        return refused("invalid path: must be less than or equal to 4096 characters");
    }
    if path.split('/').any(|item| item == "..") {
        return refused(format!("invalid path: must not contain '..': {path}"));
    }
    if path.split('/').any(|item| item.len() > 255) {
        return refused("invalid path: filenames must be less than or equal to 255 characters");
    }
    let items = Path::new(path).components().filter_map(|part| match part {
        Component::Normal(item) => item.to_str(),
        _ => None,
    });
    let clean = items.collect::<Vec<_>>().join("/");
    if clean.starts_with("..") {
        return refused(format!("invalid path: must not start with '..': {path}"));
    }
    if clean.is_empty() {
        return refused(format!("invalid path: must name a file: {path}"));
    }
    Ok(clean)
}

fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(files: &[(&str, &str)]) -> Payload {
        let file = |content: &str| File { content: content.into(), mode: 0o640, owner: None };
        files.iter().map(|(path, content)| ((*path).to_owned(), file(content))).collect()
    }

    fn put(dir: &Path, files: &[(&str, &str)]) -> bool {
        write(dir, &payload(files), || Ok(())).unwrap()
    }

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn content_is_switched_and_old_content_goes() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        assert!(put(dir, &[("a", "1"), ("b/c", "2"), ("b/d/e", "3")]));
        let first = fs::read_link(dir.join(DATA)).unwrap();
        assert_eq!(fs::read_to_string(dir.join("b/d/e")).unwrap(), "3");
        assert_eq!(fs::read_link(dir.join("b")).unwrap(), Path::new("..data/b"));
        assert_eq!(fs::metadata(dir.join("a")).unwrap().permissions().mode() & 0o777, 0o640);

        assert!(!put(dir, &[("a", "1"), ("b/c", "2"), ("b/d/e", "3")]));
        assert_eq!(fs::read_link(dir.join(DATA)).unwrap(), first);

        assert!(put(dir, &[("b/c", "2"), ("n", "4")]));
        assert!(!dir.join("a").is_symlink());
        assert!(!dir.join(&first).exists());
        assert!(!dir.join("b/d").exists());
        assert_eq!(fs::read_to_string(dir.join("n")).unwrap(), "4");
        assert_eq!(names(dir).len(), 4, "{:?}", names(dir));
    }

    #[test]
    fn an_empty_payload_is_a_volume_too() {
        let dir = tempfile::tempdir().unwrap();
        assert!(put(dir.path(), &[]));
        assert!(!put(dir.path(), &[]));
        assert!(put(dir.path(), &[("a", "1")]));
        assert!(put(dir.path(), &[]));
        assert!(!dir.path().join("a").is_symlink());
    }

    #[test]
    fn what_a_crash_left_is_cleared() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        put(dir, &[("a", "1")]);
        fs::create_dir_all(dir.join("..2020_01_01_00_00_00.1/x")).unwrap();
        symlink("..2020_01_01_00_00_00.1", dir.join(NEW_DATA)).unwrap();
        fs::remove_file(dir.join("a")).unwrap();
        assert!(!put(dir, &[("a", "1")]));
        assert_eq!(fs::read_to_string(dir.join("a")).unwrap(), "1");
        put(dir, &[("a", "2")]);
        assert_eq!(names(dir).len(), 3, "{:?}", names(dir));
    }

    #[test]
    fn nothing_is_switched_when_it_cannot_be_finished() {
        let dir = tempfile::tempdir().unwrap();
        put(dir.path(), &[("a", "1")]);
        let failed = write(dir.path(), &payload(&[("a", "2")]), || refused("no"));
        assert_eq!(failed.unwrap_err().to_string(), "no");
        assert_eq!(fs::read_to_string(dir.path().join("a")).unwrap(), "1");
        assert_eq!(names(dir.path()).len(), 3);
    }

    #[test]
    fn paths_stay_inside() {
        for path in ["", "/a", "..", "a/../b", "../a", "..a", "./..a", ".", &"x".repeat(256), &"a/".repeat(2049)] {
            assert!(clean(path).is_err(), "{path}");
        }
        assert_eq!(clean("./a//b/./c").unwrap(), "a/b/c");
        assert_eq!(clean("a/..b").unwrap(), "a/..b");
        assert_eq!(clean(".a").unwrap(), ".a");
    }

    #[test]
    fn a_mount_point_in_the_way_is_left() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("nested")).unwrap();
        put(dir.path(), &[("nested", "1"), ("a", "2")]);
        assert!(dir.path().join("nested").is_dir());
        assert_eq!(fs::read_to_string(dir.path().join("a")).unwrap(), "2");
    }
}
