//! Owns the one error type of the containers part, and how it looks over HTTP: the status and the
//! `{"message": ...}` that Docker's clients print.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use containerd_client::tonic::{Code, Status};

/// What went wrong, by what a client should make of it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// There is no such container, image, volume … (404).
    #[error("{0}")]
    NotFound(String),
    /// It cannot be done in the state that it is in (409).
    #[error("{0}")]
    Conflict(String),
    /// The request makes no sense (400).
    #[error("{0}")]
    Invalid(String),
    /// A registry wants (other) credentials (401).
    #[error("{0}")]
    Unauthorized(String),
    /// It is already so (304).
    #[error("nothing to do")]
    NotModified,
    /// It is never allowed (403).
    #[error("{0}")]
    Forbidden(String),
    /// Anything else (500).
    #[error("{0}")]
    Failed(String),
}

/// What everything here gives.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// A failure with what was being done: `cannot WHAT: WHY`.
    pub fn failed(what: impl std::fmt::Display, why: impl std::fmt::Display) -> Self {
        Self::Failed(format!("cannot {what}: {why}"))
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::Conflict(_) => StatusCode::CONFLICT,
            Self::Invalid(_) => StatusCode::BAD_REQUEST,
            Self::Unauthorized(_) => StatusCode::UNAUTHORIZED,
            Self::NotModified => StatusCode::NOT_MODIFIED,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// What containerd answers.
impl From<Status> for Error {
    fn from(status: Status) -> Self {
        let message = status.message().to_owned();
        match status.code() {
            Code::NotFound => Self::NotFound(message),
            Code::AlreadyExists | Code::FailedPrecondition => Self::Conflict(message),
            Code::InvalidArgument => Self::Invalid(message),
            Code::Unavailable => Self::Failed(format!("containerd does not answer: {message}")),
            _ => Self::Failed(message),
        }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        match self {
            Self::NotModified => StatusCode::NOT_MODIFIED.into_response(),
            error => (error.status(), Json(serde_json::json!({ "message": error.to_string() }))).into_response(),
        }
    }
}
