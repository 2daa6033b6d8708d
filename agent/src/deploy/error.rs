//! Owns why something could not be done to the deployments; every message is whole on its own,
//! its source says what libostree or the kernel said.

use std::path::PathBuf;

use keelson_common::command::CommandError;

use super::kargs::KargsError;
use super::space::Shortage;

/// A refusal or a failure. The host is as it was before.
#[derive(Debug, thiserror::Error)]
pub enum DeployError {
    /// Not a host of the kind the agent manages.
    #[error(
        "this system was not booted from an OSTree deployment (/run/ostree-booted is missing); keeld manages only hosts that were"
    )]
    NotOstree,
    /// Another program holds libostree's lock.
    #[error("another program (ostree admin?) is changing the deployments; try again when it is done")]
    Locked,
    /// A libostree call failed.
    #[error("{doing}")]
    Ostree {
        /// What was attempted, `cannot ...`.
        doing: String,
        /// What libostree said.
        source: glib::Error,
    },
    /// A file could not be read or written.
    #[error("cannot access {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// The commit carries no signature at all.
    #[error("refused: commit {commit} is not signed")]
    Unsigned {
        /// The commit.
        commit: String,
    },
    /// The commit is signed, but not by a trusted key.
    #[error(
        "refused: commit {commit} is signed by {keys}, which this host does not trust; `keelctl remote set --key FILE` trusts a key"
    )]
    UntrustedKey {
        /// The commit.
        commit: String,
        /// The keys, `key 0123...`.
        keys: String,
    },
    /// The signature is by a known key and does not hold.
    #[error("refused: the signature of commit {commit} does not hold ({why})")]
    BadSignature {
        /// The commit.
        commit: String,
        /// What is wrong with it.
        why: String,
    },
    /// An object's content is not what its name says.
    #[error("refused: an object the server sent for {refspec} is damaged or was tampered with")]
    Tampered {
        /// What was pulled.
        refspec: String,
        /// What libostree said.
        source: glib::Error,
    },
    /// The server could not be asked or did not have it.
    #[error("cannot fetch {refspec} from {url}")]
    Fetch {
        /// What was pulled.
        refspec: String,
        /// The remote's URL.
        url: String,
        /// What libostree said.
        source: glib::Error,
    },
    /// The ref went back in time.
    #[error(
        "refused: {to} ({to_time}) is older than {from} ({from_time}), which this host has; `--allow-downgrade` takes it all the same"
    )]
    Older {
        /// What the ref holds.
        to: String,
        /// When that was made.
        to_time: String,
        /// What the host has.
        from: String,
        /// When that was made.
        from_time: String,
    },
    /// There is no room.
    #[error(transparent)]
    Space(#[from] Shortage),
    /// The deployment follows no ref.
    #[error("the running deployment follows no ref of a remote; `keelctl rebase REF` makes it follow one")]
    NoOrigin,
    /// The remote is not configured.
    #[error("no remote `{remote}` is configured; `keelctl remote set --url URL` configures `keelson`")]
    NoRemote {
        /// The remote's name.
        remote: String,
    },
    /// There is no such index.
    #[error("no deployment has index {index}; `keelctl status` lists 0 to {last}")]
    NoDeployment {
        /// What was asked for.
        index: u32,
        /// The highest there is.
        last: usize,
    },
    /// There are no deployments at all.
    #[error("nothing is deployed here")]
    Empty,
    /// There is nothing to go back to.
    #[error("there is no other deployment to roll back to")]
    NoRollback,
    /// A staged deployment cannot be pinned.
    #[error("deployment {index} is staged and cannot be pinned before it is booted")]
    PinStaged {
        /// What was asked for.
        index: u32,
    },
    /// The deployment to remove is pinned.
    #[error("deployment {index} is pinned; `keelctl unpin {index}` first")]
    Pinned {
        /// The one that was to go.
        index: u32,
    },
    /// The kernel arguments cannot be edited as asked.
    #[error(transparent)]
    Kargs(#[from] KargsError),
    /// The refspec is none.
    #[error("`{refspec}` is not a ref: expected REF or REMOTE:REF, for instance keelson/host")]
    BadRef {
        /// What was given.
        refspec: String,
    },
    /// The key file holds no key.
    #[error("the key holds no OpenPGP public key")]
    BadKey,
    /// There is no such key to forget.
    #[error("no key {fingerprint} is trusted; `keelctl remote` lists those that are")]
    NoKey {
        /// What was asked for.
        fingerprint: String,
    },
    /// A new keyring would have fewer keys than it should.
    #[error("gpg does not take every one of the keys; those that were trusted are trusted still")]
    KeysLost,
    /// A command failed.
    #[error("a helper program failed")]
    Command(#[from] CommandError),
    /// keeld is going down.
    #[error("cancelled: keeld was asked to stop; the next upgrade goes on from here")]
    Cancelled,
}

impl DeployError {
    /// Wraps a libostree error with what was attempted; a cancelled call becomes
    /// [`DeployError::Cancelled`].
    pub fn ostree(doing: impl Into<String>) -> impl FnOnce(glib::Error) -> Self {
        let doing = doing.into();
        move |source| match source.matches(gio::IOErrorEnum::Cancelled) {
            true => Self::Cancelled,
            false => Self::Ostree { doing, source },
        }
    }

    /// The word scripts see in `error.kind`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::NotOstree => "not-ostree",
            Self::Locked => "locked",
            Self::Unsigned { .. } => "unsigned",
            Self::UntrustedKey { .. } => "untrusted-key",
            Self::BadSignature { .. } => "bad-signature",
            Self::Tampered { .. } => "tampered",
            Self::Fetch { .. } => "fetch",
            Self::Older { .. } => "older",
            Self::Space(_) => "no-space",
            Self::NoOrigin
            | Self::NoRemote { .. }
            | Self::BadRef { .. }
            | Self::BadKey
            | Self::NoKey { .. }
            | Self::KeysLost => "remote",
            Self::NoDeployment { .. } | Self::Empty | Self::NoRollback => "no-deployment",
            Self::PinStaged { .. } | Self::Pinned { .. } => "pinned",
            Self::Kargs(_) => "kargs",
            Self::Cancelled => "cancelled",
            Self::Ostree { .. } | Self::Io { .. } | Self::Command(_) => "failed",
        }
    }

    /// The message with every cause after it, once.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(error) = source {
            text.push_str(&format!(": {error}"));
            source = error.source();
        }
        text
    }
}
