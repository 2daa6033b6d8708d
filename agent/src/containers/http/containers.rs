//! The routes of containers: made, started, ended, looked at.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use bollard::models::{
    ContainerCreateBody, ContainerCreateResponse, ContainerSummary, ContainerWaitExitError, ContainerWaitResponse,
};
use serde::de::DeserializeOwned;

use super::query::{Query, filters, flag, text};
use crate::containers::App;
use crate::containers::engine::{Condition, Container, FILTERS, Inspected, Listing, Removal};
use crate::containers::error::{Error, Result};

/// The routes.
pub fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/containers/json", get(list))
        .route("/containers/create", post(create))
        .route("/containers/{id}/json", get(inspect))
        .route("/containers/{id}/start", post(start))
        .route("/containers/{id}/stop", post(stop))
        .route("/containers/{id}/kill", post(kill))
        .route("/containers/{id}/restart", post(restart))
        .route("/containers/{id}/pause", post(pause))
        .route("/containers/{id}/unpause", post(unpause))
        .route("/containers/{id}/wait", post(wait))
        .route("/containers/{id}", delete(remove))
}

/// A body, whatever the client says that it is.
pub(super) fn body<T: DeserializeOwned>(bytes: &Bytes) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|error| Error::Invalid(format!("invalid JSON: {error}")))
}

fn found(app: &App, id: &str) -> Result<Arc<Container>> {
    app.engine.find(id)
}

fn number(query: &Query, name: &str) -> Result<Option<i64>> {
    let parse = |text: &str| text.parse().map_err(|_| Error::Invalid(format!("invalid {name}: {text:?}")));
    text(query, name).map(parse).transpose()
}

async fn list(State(app): State<Arc<App>>, query: Query) -> Result<Json<Vec<ContainerSummary>>> {
    let limit = number(&query, "limit")?.and_then(|limit| usize::try_from(limit).ok()).filter(|limit| *limit > 0);
    let listing =
        Listing { all: flag(&query, "all"), limit, size: flag(&query, "size"), filters: filters(&query, FILTERS)? };
    Ok(Json(app.engine.list(&listing).await?))
}

async fn create(State(app): State<Arc<App>>, query: Query, bytes: Bytes) -> Result<impl IntoResponse> {
    let asked: ContainerCreateBody = body(&bytes)?;
    let container = app.engine.create(text(&query, "name"), asked).await?;
    let response = ContainerCreateResponse { id: container.id().to_owned(), warnings: Vec::new() };
    Ok((StatusCode::CREATED, Json(response)))
}

async fn inspect(State(app): State<Arc<App>>, Path(id): Path<String>, query: Query) -> Result<Json<Inspected>> {
    Ok(Json(app.engine.inspect(&*found(&app, &id)?, flag(&query, "size")).await?))
}

async fn start(State(app): State<Arc<App>>, Path(id): Path<String>) -> Result<StatusCode> {
    app.engine.start(&found(&app, &id)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn stop(State(app): State<Arc<App>>, Path(id): Path<String>, query: Query) -> Result<StatusCode> {
    app.engine.stop(&found(&app, &id)?, text(&query, "signal"), number(&query, "t")?).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn kill(State(app): State<Arc<App>>, Path(id): Path<String>, query: Query) -> Result<StatusCode> {
    app.engine.kill(&found(&app, &id)?, text(&query, "signal")).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn restart(State(app): State<Arc<App>>, Path(id): Path<String>, query: Query) -> Result<StatusCode> {
    app.engine.restart(&found(&app, &id)?, text(&query, "signal"), number(&query, "t")?).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn pause(State(app): State<Arc<App>>, Path(id): Path<String>) -> Result<StatusCode> {
    app.engine.pause(&found(&app, &id)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn unpause(State(app): State<Arc<App>>, Path(id): Path<String>) -> Result<StatusCode> {
    app.engine.unpause(&found(&app, &id)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The head of the answer is sent at once: a client knows by it that the wait has begun.
async fn wait(State(app): State<Arc<App>>, Path(id): Path<String>, query: Query) -> Result<Response> {
    let condition = Condition::parse(text(&query, "condition").unwrap_or_default())?;
    let waited = found(&app, &id)?.wait(condition);
    let answer = async move {
        let state = waited.await;
        let error = Some(state.error).filter(|error| !error.is_empty());
        let error = error.map(|message| ContainerWaitExitError { message: Some(message) });
        serde_json::to_vec(&ContainerWaitResponse { status_code: state.exit_code, error }).map(Bytes::from)
    };
    let stream = futures_util::stream::once(answer);
    Ok(([(CONTENT_TYPE, "application/json")], Body::from_stream(stream)).into_response())
}

async fn remove(State(app): State<Arc<App>>, Path(id): Path<String>, query: Query) -> Result<StatusCode> {
    if flag(&query, "link") {
        return Err(Error::Invalid("links are not removed alone: remove the container that has the link".to_owned()));
    }
    let how = Removal { force: flag(&query, "force"), volumes: flag(&query, "v") };
    app.engine.remove(&found(&app, &id)?, how).await?;
    Ok(StatusCode::NO_CONTENT)
}
