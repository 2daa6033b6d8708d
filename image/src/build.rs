//! Owns the order of the steps from a request to a disk image.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use keelson_common::command::CommandExt;

use crate::esp::Esp;
use crate::ext4::Ext4;
use crate::request::{Format, ImageReport, ImageRequest, StepTime};
use crate::source::Source;
use crate::tools::Tools;
use crate::workdir::WorkDir;
use crate::{DiskIds, ImageError, Layout, grub, kargs, keys, nosync, partition, scratch, sysroot};

/// The disk while it is made, in the work folder.
const DISK: &str = "disk";

/// A step of making a disk, in the order they come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Copying the commit out of the repository.
    Pull,
    /// Deploying it.
    Deploy,
    /// Making the root file system.
    RootFs,
    /// Linking GRUB; writing ESP, boot sector and partition table.
    Boot,
    /// Converting to the format asked for.
    Convert,
}

impl Step {
    /// What is being done, for a person.
    pub fn title(self) -> &'static str {
        match self {
            Self::Pull => "copying the commit",
            Self::Deploy => "deploying",
            Self::RootFs => "making the root file system",
            Self::Boot => "installing the boot loader",
            Self::Convert => "converting",
        }
    }
}

/// Told what is being done, from another thread than the caller's.
pub trait Progress: Sync {
    /// `step` begins.
    fn step(&self, step: Step);
}

impl Progress for () {
    fn step(&self, _: Step) {}
}

/// Runs steps, and keeps how long each took.
struct Steps<'a> {
    progress: &'a dyn Progress,
    times: Vec<StepTime>,
}

impl Steps<'_> {
    fn run<T>(&mut self, step: Step, work: impl FnOnce() -> Result<T, ImageError>) -> Result<T, ImageError> {
        self.progress.step(step);
        let start = Instant::now();
        let result = work()?;
        let seconds = start.elapsed().as_secs_f64();
        tracing::debug!(seconds, "{}", step.title());
        self.times.push(StepTime { step: step.title().to_owned(), seconds });
        Ok(result)
    }
}

/// Makes the disk that `request` asks for. The output appears whole or not at all; an older file of
/// that name stays until then. It is not synced: it can be made again.
pub fn build(request: &ImageRequest, progress: &dyn Progress) -> Result<ImageReport, ImageError> {
    nosync::run(|| build_unsynced(request, progress))
}

fn build_unsynced(request: &ImageRequest, progress: &dyn Progress) -> Result<ImageReport, ImageError> {
    if !rustix::process::geteuid().is_root() {
        return Err(ImageError::NotRoot);
    }
    let tools = Tools::find(request.format)?;
    let source = Source::open(request)?;
    let ids = request.ids.unwrap_or_else(|| DiskIds::derive(&source.checksum));
    let kargs = kargs::compose(ids.root_fs, &source.info.kargs, &request.extra_kargs)?;
    let remote_url = request.remote_url.clone().or_else(|| source.info.update_url.clone());
    let parent = parent(&request.output)?;
    let work = WorkDir::new(&parent)?;
    let scratch = request.scratch.clone().unwrap_or_else(|| scratch::choose(&source.repo, &source.checksum, &parent));
    tracing::debug!("the sysroot is put together in {}", scratch.display());
    let scratch = WorkDir::new(&scratch)?;
    let mut steps = Steps { progress, times: Vec::new() };

    let root = scratch.sysroot();
    let sysroot = steps.run(Step::Pull, || {
        let sysroot = sysroot::init(&root, remote_url.as_deref())?;
        if let Some(keys) = &request.trusted_keys {
            keys::trust(&tools, work.path(), &root, keys)?;
        }
        sysroot::pull(&sysroot, &source)?;
        Ok(sysroot)
    })?;
    let deployed = steps.run(Step::Deploy, || sysroot::deploy(&root, &sysroot, &source, &kargs))?;
    let layout = Layout::plan(deployed.content, request.size)?;
    let disk = allocate(&work, &layout)?;
    steps.run(Step::RootFs, || {
        let (dir, extent, timestamp) = (work.path(), layout.root, source.info.timestamp);
        let ext4 = Ext4 { dir, disk: DISK, extent, ids: &ids, timestamp };
        ext4.make(&tools, &root)?;
        ext4.set_immutable(&tools, &deployed.deployment)
    })?;
    steps.run(Step::Boot, || {
        let (dir, extent, serial, timestamp) = (work.path(), layout.esp, ids.esp_serial, source.info.timestamp);
        install_boot(&tools, &Esp { dir, disk: DISK, extent, serial, timestamp }, &layout, &ids)
    })?;
    let image = match request.format {
        Format::Raw => disk,
        Format::Qcow2 => steps.run(Step::Convert, || qcow2(&tools, work.path(), &disk))?,
    };
    fs::rename(&image, &request.output).map_err(ImageError::io("write", &request.output))?;
    let meta = request.output.metadata().map_err(ImageError::io("read", &request.output))?;
    Ok(ImageReport {
        path: request.output.clone(),
        format: request.format,
        virtual_size: layout.disk,
        bytes_on_disk: meta.blocks() * 512,
        reference: source.reference,
        checksum: source.checksum,
        version: source.info.version,
        kargs,
        remote_url,
        layout,
        ids,
        steps: steps.times,
    })
}

/// The folder `output` lies in, made if it is missing.
fn parent(output: &Path) -> Result<PathBuf, ImageError> {
    let absolute = std::path::absolute(output).map_err(ImageError::io("find", output))?;
    let parent = absolute.parent().map_or_else(|| PathBuf::from("/"), Path::to_owned);
    fs::create_dir_all(&parent).map_err(ImageError::io("create", &parent))?;
    Ok(parent)
}

/// An all-hole file of the disk's size.
fn allocate(work: &WorkDir, layout: &Layout) -> Result<PathBuf, ImageError> {
    let path = work.path().join(DISK);
    let file = File::create(&path).map_err(ImageError::io("create", &path))?;
    file.set_len(layout.disk).map_err(ImageError::io("size", &path))?;
    Ok(path)
}

fn install_boot(tools: &Tools, esp: &Esp, layout: &Layout, ids: &DiskIds) -> Result<(), ImageError> {
    let images = grub::make(tools, esp.dir, layout.bios_boot.first_lba())?;
    if images.bios.core.len() as u64 > layout.bios_boot.bytes {
        return Err(ImageError::BootImage("the core image does not fit the BIOS boot partition".to_owned()));
    }
    esp.make(tools, images.efi)?;
    let disk = esp.dir.join(esp.disk);
    write_at(&disk, layout.bios_boot.start, &images.bios.core).map_err(ImageError::io("write", &disk))?;
    partition::write(&disk, layout, ids, &images.bios.code)
}

fn write_at(disk: &Path, offset: u64, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = File::options().write(true).open(disk)?;
    file.seek(SeekFrom::Start(offset))?;
    file.write_all(bytes)
}

fn qcow2(tools: &Tools, dir: &Path, disk: &Path) -> Result<PathBuf, ImageError> {
    let output = dir.join("disk.qcow2");
    Command::new(&tools.qemu_img).args(["convert", "-q", "-f", "raw", "-O", "qcow2"]).args([disk, &output]).run()?;
    Ok(output)
}
