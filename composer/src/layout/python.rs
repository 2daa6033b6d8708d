//! Owns compiled Python files. Python takes one only while the time and size it carries are those
//! of its source; OSTree sets every time to 0, so each import on the host would compile again, and
//! could not keep the result under a read-only `/usr`. PEP 552 has a kind that is taken unchecked:
//! the commit cannot change, so nothing is lost. It also keeps build times out of the commit.

use std::fs::{self, File};
use std::hash::Hasher;
use std::io::Read;
use std::path::Path;

use siphasher::sip::SipHasher13;

use super::error::LayoutError;
use super::root::{Root, context};

/// Bytes before the code: magic, flags, and either time and size or a hash of the source.
const HEADER: usize = 16;
/// PEP 552: hash-based, and not checked against the source.
const UNCHECKED: u32 = 0b01;

/// Makes every `.pyc` in a `__pycache__` below `/usr` of a root one that is taken unchecked. Those
/// that are already cost a look at their first bytes, so a cached layer is worth doing before.
pub fn uncheck(root: &Path) -> Result<(), LayoutError> {
    walk(&Root(root), "usr")
}

/// Whether a compiled file, of which these are the first bytes, is taken unchecked.
pub fn is_unchecked(start: &[u8]) -> bool {
    start.get(4..8) == Some(&UNCHECKED.to_le_bytes())
}

fn walk(root: &Root, folder: &str) -> Result<(), LayoutError> {
    let path = root.join(folder);
    if folder.ends_with("/__pycache__") {
        return root
            .list(folder)?
            .iter()
            .filter(|name| name.ends_with(".pyc"))
            .try_for_each(|name| file(root, folder, name));
    }
    for entry in context("list", &path, fs::read_dir(&path))? {
        let entry = context("list", &path, entry)?;
        if !context("look at", &path, entry.file_type())?.is_dir() {
            continue;
        }
        // A folder whose name is not text holds no Python module.
        if let Some(name) = entry.file_name().to_str() {
            walk(root, &format!("{folder}/{name}"))?;
        }
    }
    Ok(())
}

fn file(root: &Root, folder: &str, name: &str) -> Result<(), LayoutError> {
    let Some(source) = source_of(folder, name).map(|source| follow(root, &source)).transpose()?.flatten() else {
        return Ok(());
    };
    let (path, source) = (root.join(&format!("{folder}/{name}")), root.join(&source));
    let mut start = [0; 8];
    let read = context("read", &path, File::open(&path).and_then(|mut file| file.read(&mut start)))?;
    if is_unchecked(&start[..read]) {
        return Ok(());
    }
    let compiled = context("read", &path, fs::read(&path))?;
    let source = context("read", &source, fs::read(&source))?;
    match unchecked(&compiled, &source) {
        Some(new) => root.rewrite(&format!("{folder}/{name}"), new),
        None => Ok(()),
    }
}

/// The source itself where it is a link to one; `None` when there is none in `/usr`: one in `/etc`
/// may be edited on a host.
fn follow(root: &Root, source: &str) -> Result<Option<String>, LayoutError> {
    let mut source = source.to_owned();
    if root.stat(&source)?.is_some_and(|found| found.is_symlink()) {
        let (path, above) = (root.join(&source), source.rsplit_once('/').map_or("", |(above, _)| above));
        let target = context("read the link", &path, fs::read_link(&path))?;
        let target = target.to_string_lossy();
        let absolute = if target.starts_with('/') { target.into_owned() } else { format!("/{above}/{target}") };
        source = root.resolve(&absolute)?;
    }
    let is_file = root.stat(&source)?.is_some_and(|found| found.is_file());
    Ok(Some(source).filter(|source| is_file && source.starts_with("usr/")))
}

/// `a/__pycache__/b.cpython-313.opt-1.pyc` was compiled from `a/b.py`.
pub fn source_of(folder: &str, name: &str) -> Option<String> {
    let above = folder.strip_suffix("/__pycache__")?;
    let (module, _tag) = name.strip_suffix(".pyc")?.split_once(".cpython-")?;
    Some(format!("{above}/{module}.py"))
}

/// The same code under a header that is not checked; `None` when it is no compiled Python.
fn unchecked(compiled: &[u8], source: &[u8]) -> Option<Vec<u8>> {
    let magic: [u8; 4] = compiled.get(..4)?.try_into().ok()?;
    if compiled.len() < HEADER || &magic[2..] != b"\r\n" {
        return None;
    }
    let mut hasher = SipHasher13::new_with_keys(u64::from(u32::from_le_bytes(magic)), 0);
    hasher.write(source);
    let mut new = compiled.to_vec();
    new[4..8].copy_from_slice(&UNCHECKED.to_le_bytes());
    new[8..HEADER].copy_from_slice(&hasher.finish().to_le_bytes());
    Some(new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_is_what_python_writes() {
        // python3.11 -m py_compile --invalidation-mode unchecked-hash, of the file `x = 1\n`.
        let source = b"x = 1\n";
        let timed = [&[0xa7, 0x0d, 0x0d, 0x0a, 0, 0, 0, 0, 1, 2, 3, 4, 6, 0, 0, 0][..], b"code"].concat();
        let expected =
            [&[0xa7, 0x0d, 0x0d, 0x0a, 1, 0, 0, 0][..], &[0x4c, 3, 0x72, 0xaa, 0x93, 0xf7, 0x52, 0x52], b"code"]
                .concat();
        assert_eq!(unchecked(&timed, source), Some(expected.clone()));
        assert!(is_unchecked(&expected) && !is_unchecked(&timed) && !is_unchecked(b"\xa7\r\r\n"));
        assert_eq!(unchecked(b"no python", source), None);
    }

    #[test]
    fn only_sources_in_usr_are_left_unchecked() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root(dir.path());
        for (name, link) in [("a", None), ("b", Some("a.py")), ("c", Some("/etc/c.py"))] {
            match link {
                Some(link) => root.link(&format!("usr/lib/{name}.py"), link).unwrap(),
                None => root.write(&format!("usr/lib/{name}.py"), "", 0o644).unwrap(),
            }
            root.write(&format!("usr/lib/__pycache__/{name}.cpython-313.pyc"), "\0\0\r\n0000timesize", 0o644).unwrap();
        }
        root.write("etc/c.py", "", 0o644).unwrap();
        uncheck(dir.path()).unwrap();
        let done = |name| {
            let compiled = fs::read(root.join(&format!("usr/lib/__pycache__/{name}.cpython-313.pyc"))).unwrap();
            is_unchecked(&compiled)
        };
        assert_eq!((done("a"), done("b"), done("c")), (true, true, false));
    }

    #[test]
    fn finds_the_source() {
        let folder = "usr/lib/python3/__pycache__";
        assert_eq!(source_of(folder, "a.cpython-313.pyc").as_deref(), Some("usr/lib/python3/a.py"));
        assert_eq!(source_of(folder, "a.b.cpython-313.opt-2.pyc").as_deref(), Some("usr/lib/python3/a.b.py"));
        assert_eq!(source_of(folder, "a.pyc"), None);
    }
}
