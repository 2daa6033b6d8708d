//! Owns finding the files that declare containers: the operator's folder over the boot's over the
//! operating system's, file by file.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use keelson_common::strict::{Problem, Source};

use super::format;
use super::model::{Broken, Declared, File};

/// Where operators declare containers.
const OPERATOR: &str = "/etc/keelson/containers.d";

/// The folders, the one that counts most last.
#[derive(Debug, Clone)]
pub struct Folders(Vec<PathBuf>);

impl Folders {
    /// `operator`, and below the usual one what a boot and the operating system bring.
    pub fn new(operator: &Path) -> Self {
        if operator != Path::new(OPERATOR) {
            return Self(vec![operator.to_owned()]);
        }
        Self(["/usr/lib/keelson/containers.d", "/run/keelson/containers.d", OPERATOR].map(PathBuf::from).into())
    }

    /// Only these, the one that counts most last.
    #[cfg(test)]
    pub fn only(folders: &[&Path]) -> Self {
        Self(folders.iter().map(|folder| folder.to_path_buf()).collect())
    }

    /// The folders, the one that counts most last.
    pub fn paths(&self) -> &[PathBuf] {
        &self.0
    }

    /// Reads everything; fails only where a folder that is there cannot be listed.
    pub fn load(&self) -> io::Result<Declared> {
        let mut names = BTreeMap::new();
        for folder in &self.0 {
            for path in files(folder)? {
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                names.insert(name, path);
            }
        }
        let mut declared = Declared::default();
        for (name, path) in names {
            match read(&path) {
                Ok(None) => {}
                Ok(Some(file)) => declared.files.push(file),
                Err(problems) => declared.broken.push(Broken { name, problems }),
            }
        }
        Ok(declared)
    }
}

/// The `.toml` files of a folder; none when it is not there.
fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden && path.extension().is_some_and(|extension| extension == "toml") {
            found.push(path);
        }
    }
    Ok(found)
}

/// Reads one file; an empty one, or a link to /dev/null, declares nothing.
pub fn read(path: &Path) -> Result<Option<File>, Vec<Problem>> {
    let unreadable = |error: io::Error| {
        let message = format!("cannot read it: {error}");
        vec![Problem { path: path.to_owned(), line: 1, column: 1, message }]
    };
    let text = fs::read_to_string(path).map_err(unreadable)?;
    format::parse(Source { path: path.to_owned(), text }, &|file| fs::read_to_string(file))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, name: &str, text: &str) {
        fs::write(folder.join(name), text).unwrap();
    }

    #[test]
    fn the_operators_file_takes_the_place_of_the_systems() {
        let (system, operator) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (system, operator) = (system.path(), operator.path());
        for name in ["aa.toml", "bb.toml", "cc.toml", "dd.toml"] {
            write(system, name, "[[container]]\nimage = 'system'\n");
        }
        write(system, "README", "x");
        write(system, ".hidden.toml", "x");
        write(operator, "aa.toml", "[[container]]\nimage = 'operator'\n");
        write(operator, "bb.toml", "");
        std::os::unix::fs::symlink("/dev/null", operator.join("cc.toml")).unwrap();
        let missing = operator.join("none");
        let declared = Folders::only(&[&missing, system, operator]).load().unwrap();
        let all: Vec<(&str, &str)> = declared.containers().map(|c| (c.name.as_str(), c.image.as_str())).collect();
        assert_eq!(all, [("aa", "operator"), ("dd", "system")]);
        assert_eq!(declared.broken, []);
    }

    #[test]
    fn a_broken_file_does_not_hide_the_others() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "bad.toml", "[[container]]\nimge = 'x'\n");
        write(folder.path(), "good.toml", "[[container]]\nimage = 'x'\n");
        let declared = Folders::only(&[folder.path()]).load().unwrap();
        assert_eq!(declared.containers().count(), 1);
        assert!(declared.owner_is_broken("bad.toml/bad") && !declared.owner_is_broken("good.toml/good"));
        assert!(declared.broken[0].problems[0].to_string().contains("bad.toml:2:1: unknown key `imge`"));
    }
}
