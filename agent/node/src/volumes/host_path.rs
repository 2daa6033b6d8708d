//! Owns hostPath: what a pod says is there is checked, and made where it asks for that.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, OpenOptionsExt};
use std::path::Path;

use super::error::{At, Problem, refused};

/// Checks a path of the host against the type a pod gives for it.
pub fn check(path: &str, kind: &str) -> Result<(), Problem> {
    if path.split('/').any(|part| part == "..") {
        return refused(format!("invalid HostPath `{path}`: must not contain '..'"));
    }
    if kind.is_empty() {
        return Ok(());
    }
    let place = Path::new(path);
    let found = match fs::metadata(place) {
        Ok(found) => Some(found.file_type()),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => None,
        Err(error) => return Err(error).at("look at", place),
    };
    let is = |test: fn(&fs::FileType) -> bool| found.as_ref().is_some_and(test);
    let (matches, what) = match kind {
        "DirectoryOrCreate" if found.is_none() => {
            return fs::DirBuilder::new().recursive(true).mode(0o755).create(place).at("make", place);
        }
        "FileOrCreate" if found.is_none() => return make_file(place),
        "DirectoryOrCreate" | "Directory" => (is(fs::FileType::is_dir), "directory"),
        "FileOrCreate" | "File" => (is(fs::FileType::is_file), "file"),
        "Socket" => (is(FileTypeExt::is_socket), "socket file"),
        "CharDevice" => (is(FileTypeExt::is_char_device), "character device"),
        "BlockDevice" => (is(FileTypeExt::is_block_device), "block device"),
        other => return refused(format!("{other} is an invalid volume type")),
    };
    if matches { Ok(()) } else { refused(format!("hostPath type check failed: {path} is not a {what}")) }
}

fn make_file(path: &Path) -> Result<(), Problem> {
    fs::OpenOptions::new().append(true).create(true).mode(0o644).open(path).at("make", path).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_checked_and_made() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        let told = |name: &str, kind| check(&path(name), kind).map_err(|problem| problem.to_string());
        assert_eq!(told("none", ""), Ok(()));
        assert_eq!(
            told("none", "Directory").unwrap_err(),
            format!("hostPath type check failed: {} is not a directory", path("none"))
        );
        told("a/b", "DirectoryOrCreate").unwrap();
        told("a/b", "Directory").unwrap();
        assert!(told("a/b", "FileOrCreate").unwrap_err().ends_with("is not a file"));
        told("f", "FileOrCreate").unwrap();
        told("f", "File").unwrap();
        assert!(told("f", "Socket").unwrap_err().ends_with("is not a socket file"));
        assert!(told("f", "BlockDevice").unwrap_err().ends_with("is not a block device"));
        check("/dev/null", "CharDevice").unwrap();
        assert!(check("/dev/null", "File").is_err());
        let socket = std::os::unix::net::UnixListener::bind(path("s")).unwrap();
        told("s", "Socket").unwrap();
        drop(socket);
        assert_eq!(told("f", "Thing").unwrap_err(), "Thing is an invalid volume type");
        assert_eq!(check("/a/../b", "").unwrap_err().to_string(), "invalid HostPath `/a/../b`: must not contain '..'");
    }
}
