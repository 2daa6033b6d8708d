//! Owns [`Step`]: what people see of a join on its way.

use std::fmt;

/// One thing that was done, or is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The node has a certificate from before.
    Known {
        /// Until when.
        until: jiff::Timestamp,
    },
    /// The API server is looked at.
    Looking {
        /// Where.
        server: String,
    },
    /// It is the right one.
    Verified {
        /// The hash of its authority.
        hash: String,
    },
    /// A certificate was asked for.
    Asked {
        /// The request.
        csr: String,
    },
    /// Nobody approved it so far.
    Waiting {
        /// The request.
        csr: String,
    },
    /// There is a certificate.
    Issued {
        /// Until when.
        until: jiff::Timestamp,
    },
    /// A node of this name is there, and this machine takes its place.
    TakesPlace {
        /// The name.
        name: String,
    },
}

impl Step {
    /// Its name, for programs.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Known { .. } => "known",
            Self::Looking { .. } => "looking",
            Self::Verified { .. } => "verified",
            Self::Asked { .. } => "asked",
            Self::Waiting { .. } => "waiting",
            Self::Issued { .. } => "issued",
            Self::TakesPlace { .. } => "takes-place",
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known { until } => write!(f, "the node has a certificate, valid until {until}"),
            Self::Looking { server } => write!(f, "looking at {server}"),
            Self::Verified { hash } => write!(f, "it is the cluster's API server, authority {hash}"),
            Self::Asked { csr } => write!(f, "asked for a certificate, request {csr}"),
            Self::Waiting { csr } => {
                write!(f, "waiting for somebody to approve it: kubectl certificate approve {csr}")
            }
            Self::Issued { until } => write!(f, "got a certificate, valid until {until}"),
            Self::TakesPlace { name } => write!(f, "takes the place of the node \"{name}\" that is there"),
        }
    }
}

/// Hears of steps.
pub type Report<'a> = &'a (dyn Fn(&Step) + Send + Sync);
