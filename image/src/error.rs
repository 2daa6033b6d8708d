//! Owns what can go wrong between a commit and a disk.

use std::io;
use std::path::PathBuf;

use keelson_common::command::CommandError;

/// Why a disk could not be made. Nothing is left behind in any of these cases.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// Files of a deployment belong to many users, which takes root or a user namespace.
    #[error(
        "making a disk needs root, because its files belong to many users; \
         without it, run `unshare --map-root-user --map-auto keelson image ...`"
    )]
    NotRoot,
    /// A program or its data is missing on the build machine.
    #[error("{what} is missing on this machine; install it with `apt install {package}`")]
    MissingTool {
        /// The program or file.
        what: String,
        /// The Debian package that has it.
        package: &'static str,
    },
    /// The repository cannot be opened.
    #[error("cannot open the OSTree repository {}", path.display())]
    Repo {
        /// The repository.
        path: PathBuf,
        /// libostree's reason.
        source: glib::Error,
    },
    /// The repository has no such ref or commit.
    #[error("{} has no {what}{}", repo.display(), listing(.known))]
    NoRev {
        /// The repository.
        repo: PathBuf,
        /// What was asked for, `ref keelson/host`.
        what: String,
        /// The refs it has.
        known: Vec<String>,
    },
    /// The commit lacks what a boot needs.
    #[error("commit {checksum} cannot boot: it has no {what}")]
    NotBootable {
        /// The commit.
        checksum: String,
        /// What it lacks.
        what: &'static str,
    },
    /// A kernel argument that would not reach the kernel unchanged.
    #[error("kernel argument {karg:?} cannot be used: {reason}")]
    Karg {
        /// The argument.
        karg: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The disk asked for cannot hold the commit.
    #[error("a disk of {} MiB is too small for this commit; it needs {} MiB or more", asked >> 20, least >> 20)]
    TooSmall {
        /// Bytes asked for.
        asked: u64,
        /// Bytes needed at least.
        least: u64,
    },
    /// The keys given hold no OpenPGP public key.
    #[error("the trusted keys are no OpenPGP public keys")]
    Keys(#[source] CommandError),
    /// libostree refused.
    #[error("libostree failed while {action}")]
    Ostree {
        /// What was being done.
        action: &'static str,
        /// libostree's reason.
        source: glib::Error,
    },
    /// A file could not be read or written.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was being done, `write`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The kernel's reason.
        source: io::Error,
    },
    /// The partition table could not be written.
    #[error("cannot write the partition table")]
    Table(#[source] gpt::GptError),
    /// The protective MBR could not be written.
    #[error("cannot write the boot sector")]
    BootSector(#[source] gpt::mbr::MBRError),
    /// An image that grub-mkimage made is not what this crate can install.
    #[error("grub-mkimage made an image that cannot be installed: {0}")]
    BootImage(String),
    /// A tool answered something unexpected.
    #[error("{tool} answered something unexpected: {answer:?}")]
    Answer {
        /// The tool.
        tool: &'static str,
        /// What it said.
        answer: String,
    },
    /// A tool failed.
    #[error(transparent)]
    Command(#[from] CommandError),
}

fn listing(refs: &[String]) -> String {
    match refs {
        [] => "; it has no refs at all, so compose something into it first".to_owned(),
        refs => format!("; it has {}", refs.join(", ")),
    }
}

impl ImageError {
    /// For `map_err`: libostree failed while doing `action`.
    pub(crate) fn ostree(action: &'static str) -> impl FnOnce(glib::Error) -> Self {
        move |source| Self::Ostree { action, source }
    }

    /// For `map_err`: `action` on `path` failed.
    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }
}
