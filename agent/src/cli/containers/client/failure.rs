//! Owns why the daemon did not do what was asked.

use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// What the daemon refused, or that there is none.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// It answered, and not with success.
    #[error("Error response from daemon: {message}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// Why.
        message: String,
    },
    /// Nobody listens on the socket.
    #[error(
        "Cannot connect to the container daemon at unix://{}: {why}. Is keelson-containers.service running? \
         `systemctl start keelson-containers` starts it, `systemctl status keelson-containers` shows why it ended",
        .socket.display()
    )]
    Absent {
        /// Its socket.
        socket: PathBuf,
        /// What connecting to it gave.
        why: String,
    },
    /// We may not connect to the socket.
    #[error(
        "permission denied while trying to connect to the container daemon at unix://{}; run keelctl as root",
        .0.display()
    )]
    Forbidden(PathBuf),
}

#[derive(Deserialize)]
struct Message {
    message: String,
}

impl Failure {
    /// From the body of an answer.
    pub fn refused(status: u16, body: &[u8]) -> Self {
        let message = match serde_json::from_slice::<Message>(body) {
            Ok(Message { message }) => message.trim_end().to_owned(),
            Err(_) => String::from_utf8_lossy(body).trim_end().to_owned(),
        };
        let message = if message.is_empty() { format!("status {status} and no explanation") } else { message };
        Self::Refused { status, message }
    }

    /// From what connecting gave.
    pub fn absent(socket: &Path, error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::PermissionDenied => Self::Forbidden(socket.to_owned()),
            _ => Self::Absent { socket: socket.to_owned(), why: error.to_string() },
        }
    }

    /// The HTTP status in `error`, where the daemon answered at all.
    pub fn status_of(error: &anyhow::Error) -> Option<u16> {
        match error.downcast_ref()? {
            Self::Refused { status, .. } => Some(*status),
            Self::Absent { .. } | Self::Forbidden(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_daemons_words_are_kept() {
        let failure = Failure::refused(404, br#"{"message":"No such container: x"}"#);
        assert_eq!(failure.to_string(), "Error response from daemon: No such container: x");
        assert_eq!(Failure::status_of(&failure.into()), Some(404));
        assert!(Failure::refused(502, b"").to_string().contains("502"));
    }

    #[test]
    fn an_absent_daemon_is_told_with_its_unit() {
        let failure = Failure::absent(Path::new("/run/x.sock"), io::ErrorKind::NotFound.into());
        assert!(failure.to_string().contains("unix:///run/x.sock"), "{failure}");
        assert!(failure.to_string().contains("systemctl start keelson-containers"), "{failure}");
        assert_eq!(Failure::status_of(&failure.into()), None);
    }
}
