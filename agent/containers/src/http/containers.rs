//! The routes of containers: made, started, ended, looked at.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use bollard::models::{
    ContainerCreateBody, ContainerCreateResponse, ContainerPruneResponse, ContainerSummary, ContainerTopResponse,
    ContainerUpdateResponse, ContainerWaitExitError, ContainerWaitResponse,
};
use serde::de::DeserializeOwned;

use super::query::{Query, filters, flag, text};
use crate::App;
use crate::engine::{Condition, Container, FILTERS, Inspected, Listing, Removal, Status};
use crate::error::{Error, Result};

const BETWEEN_STATS: Duration = Duration::from_secs(1);

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
        .route("/containers/{id}/rename", post(rename))
        .route("/containers/{id}/update", post(update))
        .route("/containers/{id}/top", get(top))
        .route("/containers/{id}/stats", get(stats))
        .route("/containers/prune", post(prune))
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
        // Only of one that could not be removed: why another could not start, its start has told.
        let error = Some(state.error).filter(|_| state.status == Status::Dead);
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

async fn rename(State(app): State<Arc<App>>, Path(id): Path<String>, query: Query) -> Result<StatusCode> {
    let name =
        text(&query, "name").ok_or_else(|| Error::Invalid("Neither old nor new names may be empty".to_owned()))?;
    app.engine.rename(&found(&app, &id)?, name).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn update(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    bytes: Bytes,
) -> Result<Json<ContainerUpdateResponse>> {
    app.engine.update(&found(&app, &id)?, &body(&bytes)?).await?;
    Ok(Json(ContainerUpdateResponse { warnings: Some(Vec::new()) }))
}

async fn top(State(app): State<Arc<App>>, Path(id): Path<String>, query: Query) -> Result<Json<ContainerTopResponse>> {
    let arguments = text(&query, "ps_args").unwrap_or("-ef");
    Ok(Json(app.engine.top(&*found(&app, &id)?, arguments).await?))
}

async fn prune(State(app): State<Arc<App>>, query: Query) -> Result<Json<ContainerPruneResponse>> {
    Ok(Json(app.engine.prune(&filters(&query, &["label", "label!", "until"])?).await?))
}

/// One measurement, or one every second until the container is gone.
async fn stats(State(app): State<Arc<App>>, Path(id): Path<String>, query: Query) -> Result<Response> {
    let container = found(&app, &id)?;
    let first = app.engine.measure(&container, None);
    if query.get("stream").is_some() && !flag(&query, "stream") {
        if flag(&query, "one-shot") || !container.state().status.alive() {
            return Ok(Json(first).into_response());
        }
        // Two, a while apart: clients show what was used meanwhile.
        tokio::time::sleep(BETWEEN_STATS).await;
        return Ok(Json(app.engine.measure(&container, Some(&first))).into_response());
    }
    let stream = futures_util::stream::unfold((app, container, None), async |(app, container, last)| {
        if last.is_some() {
            tokio::time::sleep(BETWEEN_STATS).await;
        }
        if container.state().removed {
            return None;
        }
        let stats = app.engine.measure(&container, last.as_ref());
        let line = serde_json::to_vec(&stats).map(|mut line| {
            line.push(b'\n');
            Bytes::from(line)
        });
        Some((line, (app, container, Some(stats))))
    });
    Ok(([(CONTENT_TYPE, "application/json")], Body::from_stream(stream)).into_response())
}
