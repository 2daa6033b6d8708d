//! Owns copying the manifest's files and folders into a root.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::accounts::Accounts;
use super::error::LayoutError;
use super::root::{Root, context};
use crate::manifest::FileCopy;

/// Copies one entry. Links among the folders of the target are followed inside the root; what is at
/// the target is replaced, a folder is copied into the one that is there.
pub fn copy(root: &Root, file: &FileCopy, accounts: &Accounts) -> Result<(), LayoutError> {
    let missing =
        |kind, name: &str| LayoutError::NoAccount { target: file.target.clone(), kind, name: name.to_owned() };
    let uid = accounts.uid(&file.user).ok_or_else(|| missing("user", &file.user))?;
    let gid = accounts.gid(&file.group).ok_or_else(|| missing("group", &file.group))?;
    let target = root.resolve(&file.target)?;
    let put = Put { root, mode: file.mode, uid, gid };
    match (&file.content, &file.source) {
        (Some(content), _) => put.bytes(&target, content.as_bytes(), 0o644),
        (None, Some(source)) => put.any(source, &target),
        (None, None) => Ok(()),
    }
}

struct Put<'a> {
    root: &'a Root<'a>,
    mode: Option<u32>,
    uid: u32,
    gid: u32,
}

impl Put<'_> {
    fn any(&self, source: &Path, target: &str) -> Result<(), LayoutError> {
        let found = context("look at", source, fs::symlink_metadata(source))?;
        if found.is_symlink() {
            let link = context("read the link", source, fs::read_link(source))?;
            self.root.link(target, &link.to_string_lossy())?;
            return self.root.chown(target, self.uid, self.gid);
        }
        if found.is_dir() {
            return self.folder(source, target);
        }
        let executable = found.permissions().mode() & 0o111 != 0;
        let content = context("read", source, fs::read(source))?;
        self.bytes(target, &content, if executable { 0o755 } else { 0o644 })
    }

    fn bytes(&self, target: &str, content: &[u8], default: u32) -> Result<(), LayoutError> {
        self.root.write(target, content, self.mode.unwrap_or(default))?;
        self.root.chown(target, self.uid, self.gid)
    }

    /// A folder that the root has keeps its mode and owner.
    fn folder(&self, source: &Path, target: &str) -> Result<(), LayoutError> {
        let inside = self.root.resolve_folder(&format!("/{target}"))?;
        if !self.root.is_dir(&inside)? {
            self.root.make_dir(&inside)?;
            self.root.chown(&inside, self.uid, self.gid)?;
        }
        for name in Root(source).list("")? {
            self.any(&source.join(&name), &self.root.resolve(&format!("/{inside}/{name}"))?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    fn entry(source: Option<&Path>, content: Option<&str>, target: &str) -> FileCopy {
        FileCopy {
            source: source.map(Path::to_owned),
            content: content.map(str::to_owned),
            target: target.into(),
            mode: None,
            user: "me".into(),
            group: "us".into(),
        }
    }

    fn me() -> Accounts {
        let id = fs::metadata("/proc/self").unwrap();
        Accounts::parse(&format!("me:x:{}:0::/:/\n", id.uid()), &format!("us:x:{}:\n", id.gid()))
    }

    #[test]
    fn follows_links_inside_the_root_only() {
        let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let root = Root(dir.path());
        root.make_dir("usr/lib").unwrap();
        root.link("lib", "usr/lib").unwrap();
        root.link("usr/lib/out", outside.path().to_str().unwrap()).unwrap();
        copy(&root, &entry(None, Some("x"), "/lib/out/file"), &me()).unwrap();
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
        let inside = outside.path().to_str().unwrap().trim_start_matches('/');
        assert_eq!(root.read(&format!("{inside}/file")).unwrap().as_deref(), Some("x"));
    }

    #[test]
    fn copies_folders_with_executable_bits_and_links() {
        let (dir, from) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (root, source) = (Root(dir.path()), Root(from.path()));
        source.write("bin/run", "#!/bin/sh\n", 0o700).unwrap();
        source.write("plain", "text", 0o600).unwrap();
        source.link("bin/again", "run").unwrap();
        copy(&root, &entry(Some(from.path()), None, "/usr/lib/app"), &me()).unwrap();
        let mode = |path| root.stat(path).unwrap().unwrap().mode() & 0o7777;
        assert_eq!((mode("usr/lib/app/bin/run"), mode("usr/lib/app/plain")), (0o755, 0o644));
        assert!(root.stat("usr/lib/app/bin/again").unwrap().unwrap().is_symlink());
    }

    #[test]
    fn an_unknown_owner_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = entry(None, Some(""), "/etc/x");
        file.group = "nobody-here".into();
        let error = copy(&Root(dir.path()), &file, &me()).unwrap_err().to_string();
        assert!(error.contains("/etc/x") && error.contains("group `nobody-here`"), "{error}");
    }
}
