//! Owns the images of tests: one layer of Debian's busybox-static with its applets as links, or of a
//! whole small Debian, and a configuration made for what the test is about, as a docker-archive.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use keelson_common::command::CommandExt;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::need;
use crate::paths;

/// An image to be written; nothing of it depends on when it is.
#[derive(Debug, Clone)]
pub struct TestImage {
    /// Its name, `busybox:latest`.
    pub reference: String,
    config: Map<String, Value>,
    files: BTreeMap<String, (u32, Vec<u8>)>,
    root: Option<PathBuf>,
}

impl TestImage {
    /// busybox with `sh` as its command, all applets in `/bin`, and the users root and `app` (1000).
    pub fn busybox(reference: &str) -> Self {
        let mut image =
            Self { reference: reference.to_owned(), config: Map::new(), files: BTreeMap::new(), root: None };
        image = image.set("Cmd", json!(["sh"]));
        image = image.set("Env", json!(["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]));
        image =
            image.file("etc/passwd", 0o644, "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000:app:/home/app:/bin/sh\n");
        image.file("etc/group", 0o644, "root:x:0:\nstaff:x:50:app\napp:x:1000:\n")
    }

    /// The smallest Debian with apt, of the suite the shipped hosts are made of, and `bash` as its
    /// command. It is made by `mmdebstrap` once and kept in the tests' cache.
    pub fn debian(reference: &str) -> Result<Self> {
        let folder = paths::scratch("debian")?;
        let _lock = paths::lock("debian")?;
        let root = folder.join("root.tar");
        if !root.exists() {
            let unfinished = folder.join("unfinished.tar");
            let mut command = Command::new(need("mmdebstrap", "mmdebstrap")?);
            command.arg("--variant=apt");
            command.args(["doc", "locale", "man"].map(|part| format!("--dpkgopt=path-exclude=/usr/share/{part}/*")));
            command.arg("trixie").arg(&unfinished);
            // As composing does, where the scripts name a mirror.
            command
                .args(std::env::var("KEELSON_MIRROR").map(|mirror| format!("{}/debian", mirror.trim_end_matches('/'))));
            command.run()?;
            fs::rename(unfinished, &root)?;
        }
        let image = Self::busybox(reference).set("Cmd", json!(["bash"]));
        Ok(Self { files: BTreeMap::new(), root: Some(root), ..image })
    }

    /// Sets a key of the configuration as the OCI image format names them: `User`, `Env`,
    /// `ExposedPorts`, `Volumes`, `Entrypoint`, `Cmd`, `WorkingDir`, `StopSignal`, `Labels`.
    pub fn set(mut self, key: &str, value: Value) -> Self {
        self.config.insert(key.to_owned(), value);
        self
    }

    /// An image that names no program.
    pub fn without_command(mut self) -> Self {
        self.config.remove("Cmd");
        self
    }

    /// Adds a file, `path` without a leading slash.
    pub fn file(mut self, path: &str, mode: u32, content: impl Into<Vec<u8>>) -> Self {
        self.files.insert(path.to_owned(), (mode, content.into()));
        self
    }

    /// Writes it as a docker-archive that `docker load` takes.
    pub fn write(&self, path: &Path) -> Result<()> {
        let layer = self.layer()?;
        let config = json!({
            "architecture": "amd64",
            "os": "linux",
            "created": "2025-01-01T00:00:00Z",
            "config": self.config,
            "history": [{ "created": "2025-01-01T00:00:00Z", "created_by": "keelson-tests" }],
            "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{}", sha256(&layer))] },
        });
        let config = serde_json::to_vec(&config)?;
        let name = format!("{}.json", sha256(&config));
        let manifest = json!([{ "Config": name, "RepoTags": [self.reference], "Layers": ["layer.tar"] }]);
        let file = File::create(path).with_context(|| format!("cannot make {}", path.display()))?;
        let mut archive = Archive(tar::Builder::new(file));
        archive.file(&name, 0o644, &config)?;
        archive.file("layer.tar", 0o644, &layer)?;
        archive.file("manifest.json", 0o644, &serde_json::to_vec(&manifest)?)?;
        archive.0.into_inner()?;
        Ok(())
    }

    fn layer(&self) -> Result<Vec<u8>> {
        if let Some(root) = &self.root {
            return fs::read(root).with_context(|| format!("cannot read {}", root.display()));
        }
        let busybox = need("busybox", "busybox-static")?;
        let applets = Command::new(&busybox).arg("--list").output_text()?;
        let mut archive = Archive(tar::Builder::new(Vec::new()));
        for (folder, mode) in [("bin", 0o755), ("etc", 0o755), ("root", 0o700), ("tmp", 0o1777), ("usr", 0o755)] {
            archive.folder(folder, mode)?;
        }
        archive.file("bin/busybox", 0o755, &fs::read(&busybox)?)?;
        for applet in applets.lines().filter(|applet| *applet != "busybox") {
            archive.link(&format!("bin/{applet}"), "busybox")?;
        }
        for (path, (mode, content)) in &self.files {
            archive.file(path, *mode, content)?;
        }
        Ok(archive.0.into_inner()?)
    }
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A tar archive whose entries belong to root and have no time.
struct Archive<W: Write>(tar::Builder<W>);

impl<W: Write> Archive<W> {
    fn entry(
        &mut self,
        kind: tar::EntryType,
        path: &str,
        mode: u32,
        content: &[u8],
        target: Option<&str>,
    ) -> Result<()> {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(content.len() as u64);
        header.set_mtime(1_735_689_600);
        match target {
            Some(target) => self.0.append_link(&mut header, path, target)?,
            None => self.0.append_data(&mut header, path, content)?,
        }
        Ok(())
    }

    fn folder(&mut self, path: &str, mode: u32) -> Result<()> {
        self.entry(tar::EntryType::Directory, &format!("{path}/"), mode, &[], None)
    }

    fn file(&mut self, path: &str, mode: u32, content: &[u8]) -> Result<()> {
        self.entry(tar::EntryType::Regular, path, mode, content, None)
    }

    fn link(&mut self, path: &str, target: &str) -> Result<()> {
        self.entry(tar::EntryType::Symlink, path, 0o777, &[], Some(target))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_image_is_the_same_archive() {
        let dir = tempfile::tempdir().unwrap();
        let image = TestImage::busybox("demo:1").without_command().file("etc/motd", 0o600, "hello");
        let [first, second] = ["first", "second"].map(|name| dir.path().join(name));
        image.write(&first).unwrap();
        image.write(&second).unwrap();
        assert!(fs::read(&first).unwrap() == fs::read(&second).unwrap());
        let listed = Command::new("tar").arg("-tf").arg(&first).output_text().unwrap();
        assert!(listed.contains("manifest.json") && listed.contains("layer.tar"), "{listed}");
    }
}
