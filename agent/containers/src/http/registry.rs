//! The routes of registries: pull, push, login.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::post;
use axum::{Json, Router};
use bollard::models::{AuthConfig, AuthResponse};
use serde_json::json;

use super::lines::answer;
use super::query::{Query, text};
use crate::App;
use crate::error::{Error, Result};
use crate::images::auth::Credentials;

/// The routes; a push is below the image's name, in [`images`](super::images).
pub fn routes() -> Router<Arc<App>> {
    Router::new().route("/images/create", post(pull)).route("/auth", post(login))
}

/// The credentials that a client sends along.
fn credentials(headers: &HeaderMap) -> Result<Option<Credentials>> {
    let Some(header) = headers.get("X-Registry-Auth") else { return Ok(None) };
    let header = header.to_str().map_err(|_| Error::Invalid("the header X-Registry-Auth is not text".to_owned()))?;
    Credentials::from_header(header)
}

/// A name with the tag, or the digest, that comes beside it.
fn joined(name: &str, tag: Option<&str>) -> String {
    match tag {
        None => name.to_owned(),
        Some(digest) if digest.contains(':') => format!("{name}@{digest}"),
        Some(tag) => format!("{name}:{tag}"),
    }
}

/// Docker's client asks for name and password on the terminal when it gets a 401 here; dockerd gives
/// it none.
fn unasked(error: Error) -> Error {
    match error {
        Error::Unauthorized(message) => Error::Failed(message),
        error => error,
    }
}

/// `docker pull`.
async fn pull(State(app): State<Arc<App>>, query: Query, headers: HeaderMap) -> Result<Response> {
    if text(&query, "fromSrc").is_some() {
        return Err(Error::Invalid("images are made from archives by load, not by import".to_owned()));
    }
    let name = text(&query, "fromImage").ok_or_else(|| Error::Invalid("fromImage is missing".to_owned()))?;
    let name = joined(name, text(&query, "tag"));
    let credentials = credentials(&headers)?;
    answer(|lines| async move {
        let pulled = app.images.pull(&name, credentials, |info| lines.write(&info)).await;
        pulled.map(|_| ()).map_err(unasked)
    })
    .await
}

/// `docker push`.
pub async fn push(app: Arc<App>, name: &str, tag: Option<&str>, headers: &HeaderMap) -> Result<Response> {
    let name = joined(name, tag);
    let credentials = credentials(headers)?;
    answer(|lines| async move {
        let pushed = app.images.push(&name, credentials, |info| lines.write(&info)).await.map_err(unasked)?;
        let aux = json!({ "Tag": pushed.tag, "Digest": pushed.digest, "Size": pushed.size });
        lines.write(&json!({ "progressDetail": {}, "aux": aux }));
        Ok(())
    })
    .await
}

/// `docker login`: whether a registry takes these credentials.
async fn login(State(app): State<Arc<App>>, body: Bytes) -> Result<Json<AuthResponse>> {
    let given: AuthConfig =
        serde_json::from_slice(&body).map_err(|error| Error::Invalid(format!("invalid credentials: {error}")))?;
    let credentials = Credentials::Password(given.username.unwrap_or_default(), given.password.unwrap_or_default());
    app.images.login(given.serveraddress.as_deref().unwrap_or_default(), credentials).await?;
    Ok(Json(AuthResponse { status: "Login Succeeded".to_owned(), identity_token: Some(String::new()) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_and_digests_come_beside_the_name() {
        assert_eq!(joined("a", None), "a");
        assert_eq!(joined("localhost:5000/a", Some("1")), "localhost:5000/a:1");
        assert_eq!(joined("a", Some("sha256:0")), "a@sha256:0");
    }
}
