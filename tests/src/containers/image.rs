//! Owns the images of tests: Debian's busybox-static with its applets as links, or a whole small
//! Debian, or nothing, with files on top, and a configuration made for what the test is about, as a
//! docker-archive.

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
    others: Vec<String>,
    config: Map<String, Value>,
    files: BTreeMap<String, (u32, Content)>,
    base: Base,
}

/// What is below an image's own files.
#[derive(Debug, Clone)]
enum Base {
    Nothing,
    Busybox,
    /// A layer of its own.
    Layer(PathBuf),
}

/// What a file holds.
#[derive(Debug, Clone)]
enum Content {
    Bytes(Vec<u8>),
    CopyOf(PathBuf),
    LinkTo(String),
}

impl TestImage {
    /// Nothing but a search path.
    pub fn empty(reference: &str) -> Self {
        let image = Self {
            reference: reference.to_owned(),
            others: Vec::new(),
            config: Map::new(),
            files: BTreeMap::new(),
            base: Base::Nothing,
        };
        image.set("Env", json!(["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]))
    }

    /// busybox with `sh` as its command, all applets in `/bin`, and the users root and `app` (1000).
    pub fn busybox(reference: &str) -> Self {
        let mut image = Self { base: Base::Busybox, ..Self::empty(reference) };
        image = image.set("Cmd", json!(["sh"]));
        image =
            image.file("etc/passwd", 0o644, "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000:app:/home/app:/bin/sh\n");
        image.file("etc/group", 0o644, "root:x:0:\nstaff:x:50:app\napp:x:1000:\n")
    }

    /// The smallest Debian with apt, of the suite the shipped hosts are made of, and `bash` as its
    /// command. It is made by `mmdebstrap` once and kept in the tests' cache.
    pub fn debian(reference: &str) -> Result<Self> {
        Self::debian_with(reference, &[])
    }

    /// As [`TestImage::debian`], with further packages.
    pub fn debian_with(reference: &str, packages: &[&str]) -> Result<Self> {
        let image = Self::empty(reference).set("Cmd", json!(["bash"]));
        Ok(Self { base: Base::Layer(debian_root(packages)?), ..image })
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
        self.files.insert(path.to_owned(), (mode, Content::Bytes(content.into())));
        self
    }

    /// Adds a program of this machine, `path` without a leading slash.
    pub fn program(mut self, path: &str, mode: u32, program: &Path) -> Self {
        self.files.insert(path.to_owned(), (mode, Content::CopyOf(program.to_owned())));
        self
    }

    /// Adds a symbolic link, `path` without a leading slash.
    pub fn link(mut self, path: &str, target: &str) -> Self {
        self.files.insert(path.to_owned(), (0o777, Content::LinkTo(target.to_owned())));
        self
    }

    /// Gives it a further name.
    pub fn also(mut self, reference: &str) -> Self {
        self.others.push(reference.to_owned());
        self
    }

    /// Writes it as a docker-archive that `docker load` takes.
    pub fn write(&self, path: &Path) -> Result<()> {
        let layers = self.layers()?;
        let ids: Vec<String> = layers.iter().map(|layer| sha256(layer)).collect();
        let config = json!({
            "architecture": "amd64",
            "os": "linux",
            "created": "2025-01-01T00:00:00Z",
            "config": self.config,
            "history": ids.iter().map(|_| json!({ "created": "2025-01-01T00:00:00Z", "created_by": "keelson-tests" })).collect::<Vec<_>>(),
            "rootfs": { "type": "layers", "diff_ids": ids.iter().map(|id| format!("sha256:{id}")).collect::<Vec<_>>() },
        });
        let config = serde_json::to_vec(&config)?;
        let name = format!("{}.json", sha256(&config));
        let tags: Vec<&String> = [&self.reference].into_iter().chain(&self.others).collect();
        let paths: Vec<String> = ids.iter().map(|id| format!("{id}/layer.tar")).collect();
        let manifest = json!([{ "Config": name, "RepoTags": tags, "Layers": paths }]);
        let file = File::create(path).with_context(|| format!("cannot make {}", path.display()))?;
        let mut archive = Archive(tar::Builder::new(file));
        archive.file(&name, 0o644, &config)?;
        for (path, layer) in paths.iter().zip(&layers) {
            archive.file(path, 0o644, layer)?;
        }
        archive.file("manifest.json", 0o644, &serde_json::to_vec(&manifest)?)?;
        archive.0.into_inner()?;
        Ok(())
    }

    fn layers(&self) -> Result<Vec<Vec<u8>>> {
        let mut layers = Vec::new();
        let mut archive = Archive(tar::Builder::new(Vec::new()));
        match &self.base {
            Base::Nothing => {}
            Base::Busybox => self.busybox_files(&mut archive)?,
            Base::Layer(path) => {
                layers.push(fs::read(path).with_context(|| format!("cannot read {}", path.display()))?);
            }
        }
        for (path, (mode, content)) in &self.files {
            match content {
                Content::Bytes(bytes) => archive.file(path, *mode, bytes)?,
                Content::LinkTo(target) => archive.link(path, target)?,
                Content::CopyOf(program) => {
                    let bytes = fs::read(program).with_context(|| format!("cannot read {}", program.display()))?;
                    archive.file(path, *mode, &bytes)?;
                }
            }
        }
        if layers.is_empty() || !self.files.is_empty() {
            layers.push(archive.0.into_inner()?);
        }
        Ok(layers)
    }

    fn busybox_files(&self, archive: &mut Archive<Vec<u8>>) -> Result<()> {
        let busybox = need("busybox", "busybox-static")?;
        let applets = Command::new(&busybox).arg("--list").output_text()?;
        for (folder, mode) in [("bin", 0o755), ("etc", 0o755), ("root", 0o700), ("tmp", 0o1777), ("usr", 0o755)] {
            archive.folder(folder, mode)?;
        }
        archive.file("bin/busybox", 0o755, &fs::read(&busybox)?)?;
        for applet in applets.lines().map(|applet| format!("bin/{applet}")) {
            if applet != "bin/busybox" && !self.files.contains_key(&applet) {
                archive.link(&applet, "busybox")?;
            }
        }
        Ok(())
    }
}

/// The root of the smallest Debian with apt and these packages, as a tar archive in the tests' cache.
pub(crate) fn debian_root(packages: &[&str]) -> Result<PathBuf> {
    let folder = paths::scratch("debian")?;
    let _lock = paths::lock("debian")?;
    let name = [&["root"], packages].concat().join("+");
    let root = folder.join(format!("{name}.tar"));
    if root.exists() {
        return Ok(root);
    }
    let unfinished = folder.join("unfinished.tar");
    let mut command = Command::new(need("mmdebstrap", "mmdebstrap")?);
    command.arg("--variant=apt");
    command.args(["doc", "locale", "man"].map(|part| format!("--dpkgopt=path-exclude=/usr/share/{part}/*")));
    command.args(packages.iter().map(|package| format!("--include={package}")));
    command.arg("trixie").arg(&unfinished);
    // As composing does, where the scripts name a mirror.
    command.args(std::env::var("KEELSON_MIRROR").map(|mirror| format!("{}/debian", mirror.trim_end_matches('/'))));
    command.run()?;
    fs::rename(unfinished, &root)?;
    Ok(root)
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
