//! Owns what the disk tests share: a repository with small commits, and running stock tools.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use keelson_common::command::CommandExt;
use keelson_image::{Extent, ImageReport, ImageRequest, build};
use tempfile::TempDir;

/// The ref of a commit that has all a boot needs, at least by name.
pub const GOOD: &str = "test/good";
/// The ref of a commit without a kernel.
pub const NO_KERNEL: &str = "test/no-kernel";

/// A repository with two small commits, in a folder of its own.
pub struct World {
    /// The folder; images go here too.
    pub dir: TempDir,
}

impl World {
    /// Makes the repository.
    pub fn new() -> Self {
        let world = Self { dir: tempfile::tempdir().unwrap() };
        tool("ostree").args(["init", "--mode=archive", "--repo"]).arg(world.repo()).run().unwrap();
        tool("ostree").args(["config", "set", "core.fsync", "false", "--repo"]).arg(world.repo()).run().unwrap();
        let tree = world.path("tree");
        for (path, content) in [
            ("usr/bin/tool", "#!/bin/sh\n"),
            ("usr/etc/hostname", "host\n"),
            ("usr/lib/os-release", "ID=test\nPRETTY_NAME=\"Test OS\"\n"),
        ] {
            write(&tree.join(path), content.as_bytes());
        }
        world.commit(NO_KERNEL, &tree, &[]);
        for (name, content) in [("vmlinuz", b"kernel"), ("initramfs.img", b"initrd")] {
            write(&tree.join("usr/lib/modules/6.1.0-test").join(name), content);
        }
        world.commit(GOOD, &tree, &["--bootable"]);
        world
    }

    fn commit(&self, reference: &str, tree: &Path, options: &[&str]) {
        tool("ostree")
            .args(["commit", "--branch", reference, "--timestamp=@1700000000", "--owner-uid=0", "--owner-gid=0"])
            .args(["--add-metadata-string=version=1.2", "--repo"])
            .args([self.repo().as_path(), tree])
            .args(options)
            .run()
            .unwrap();
    }

    /// A path in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The repository.
    pub fn repo(&self) -> PathBuf {
        self.path("repo")
    }

    /// A request for a raw disk of the good commit, named `name`.
    pub fn request(&self, name: &str) -> ImageRequest {
        ImageRequest::new(self.repo(), GOOD, self.path(name))
    }

    /// Names in the folder, hidden ones too, sorted.
    pub fn names(&self) -> Vec<String> {
        names(self.dir.path())
    }
}

/// Builds, and prints the chain of causes where it fails.
pub fn make(request: &ImageRequest) -> ImageReport {
    build(request, &()).unwrap_or_else(|error| {
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        panic!("{error}: {cause:?}")
    })
}

/// Names in `dir`, hidden ones too, sorted.
pub fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// A stock tool, found although administrators' folders may not be in `PATH`.
pub fn tool(name: &str) -> Command {
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new("env");
    command.arg(format!("PATH={path}:/usr/sbin:/sbin")).arg("LC_ALL=C").arg(name);
    command
}

/// What `tool` prints.
pub fn output(command: &mut Command) -> String {
    command.output_text().unwrap()
}

/// How the ext4 on `report`'s disk is named to e2fsprogs.
pub fn ext4(report: &ImageReport) -> String {
    format!("{}?offset={}", report.path.display(), report.layout.root.start)
}

/// What debugfs answers about the root file system.
pub fn debugfs(report: &ImageReport, request: &str) -> String {
    output(tool("debugfs").args(["-R", request, &ext4(report)]))
}

/// The bytes of a part of the disk.
pub fn bytes(report: &ImageReport, extent: Extent) -> Vec<u8> {
    use std::os::unix::fs::FileExt;
    let mut bytes = vec![0; usize::try_from(extent.bytes).unwrap()];
    fs::File::open(&report.path).unwrap().read_exact_at(&mut bytes, extent.start).unwrap();
    bytes
}

fn write(path: &Path, content: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}
