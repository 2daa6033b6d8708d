//! Owns what is asked of this crate and what it answers.

use std::path::PathBuf;

use serde::Serialize;

use crate::{DiskIds, Layout};

/// The container a disk is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// The disk byte for byte, as a sparse file.
    Raw,
    /// QEMU's copy-on-write format, version 3.
    Qcow2,
}

impl Format {
    /// The usual file name extension, which is also QEMU's name of the format.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Qcow2 => "qcow2",
        }
    }
}

/// A disk to make.
#[derive(Debug, Clone)]
pub struct ImageRequest {
    /// The OSTree repository that holds the commit.
    pub repo: PathBuf,
    /// The ref to deploy, which the host goes on following: `keelson/host/amd64`.
    pub rev: String,
    /// Deploy this commit (a checksum) instead of the one the ref points at.
    pub commit: Option<String>,
    /// The file to make; replaced only once the new image is whole.
    pub output: PathBuf,
    /// Its format.
    pub format: Format,
    /// Size of the disk in bytes, rounded up to whole MiB; `None` leaves room for one more
    /// deployment.
    pub size: Option<u64>,
    /// Where the host updates from; `None` takes what the commit says.
    pub remote_url: Option<String>,
    /// OpenPGP public keys (binary or armoured) whose signatures the host accepts. Signatures are
    /// required either way: without keys the host refuses every update until it is given one.
    pub trusted_keys: Option<Vec<u8>>,
    /// Kernel arguments after the commit's own, each `key` or `key=value`.
    pub extra_kargs: Vec<String>,
    /// Folder for scratch files of the size of the deployment; `None` takes memory when there is
    /// plenty, else the output's folder.
    pub scratch: Option<PathBuf>,
    /// Identifiers of disk, partitions and file systems; `None` derives them from the commit.
    pub ids: Option<DiskIds>,
}

impl ImageRequest {
    /// A request with every choice left to its default: raw, sized to the content.
    pub fn new(repo: impl Into<PathBuf>, rev: impl Into<String>, output: impl Into<PathBuf>) -> Self {
        Self {
            repo: repo.into(),
            rev: rev.into(),
            commit: None,
            output: output.into(),
            format: Format::Raw,
            size: None,
            remote_url: None,
            trusted_keys: None,
            extra_kargs: Vec::new(),
            scratch: None,
            ids: None,
        }
    }
}

/// The disk that was made.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ImageReport {
    /// The image file.
    pub path: PathBuf,
    /// Its format.
    pub format: Format,
    /// Size of the disk a machine sees, in bytes.
    pub virtual_size: u64,
    /// Bytes the image file takes up, holes not counted.
    pub bytes_on_disk: u64,
    /// The ref the host follows.
    #[serde(rename = "ref")]
    pub reference: String,
    /// The commit deployed.
    pub checksum: String,
    /// The commit's version.
    pub version: Option<String>,
    /// The kernel arguments deployed, without libostree's own `ostree=`.
    pub kargs: Vec<String>,
    /// Where the host updates from.
    pub remote_url: Option<String>,
    /// Where the partitions lie.
    pub layout: Layout,
    /// Identifiers of disk, partitions and file systems.
    pub ids: DiskIds,
    /// How long each step took.
    pub steps: Vec<StepTime>,
}

/// How long one step took.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StepTime {
    /// What was done.
    pub step: String,
    /// Seconds of wall time.
    pub seconds: f64,
}
