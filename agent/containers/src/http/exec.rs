//! The routes of further processes in containers.

use std::sync::Arc;

use axum::body::{Bytes, to_bytes};
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bollard::models::{ExecConfig, ExecInspectResponse, ExecStartConfig, IdResponse, ProcessConfig};
use tokio::io::AsyncWriteExt;

use super::attach::{close, resize_process, size};
use super::containers::body;
use super::hijack::{Connection, hijack};
use super::query::Query;
use crate::App;
use crate::error::{Error, Result};
use crate::exec::{Exec, Reader};
use crate::streams::detach::Keys;
use crate::streams::frame::framed;
use crate::streams::record::Stream;
use crate::streams::session::{self, Client, Left};

/// More than a start asks for is no start.
const LARGEST: usize = 64 << 10;

/// The routes.
pub fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/containers/{id}/exec", post(create))
        .route("/exec/{id}/start", post(start))
        .route("/exec/{id}/resize", post(resize))
        .route("/exec/{id}/json", get(inspect))
}

async fn create(State(app): State<Arc<App>>, Path(id): Path<String>, bytes: Bytes) -> Result<impl IntoResponse> {
    let config: ExecConfig = body(&bytes)?;
    Keys::parse(config.detach_keys.as_deref().unwrap_or_default())?;
    let exec = app.execs.create(app.engine.find(&id)?, config)?;
    Ok((StatusCode::CREATED, Json(IdResponse { id: exec.id.clone() })))
}

async fn start(State(app): State<Arc<App>>, Path(id): Path<String>, request: Request) -> Result<Response> {
    let exec = app.execs.find(&id)?;
    let (head, sent) = request.into_parts();
    let sent = to_bytes(sent, LARGEST).await.map_err(|error| Error::Invalid(error.to_string()))?;
    let asked: ExecStartConfig = if sent.is_empty() { ExecStartConfig::default() } else { body(&sent)? };
    let side = |sides: Option<&[usize]>| match sides {
        Some(&[height, width]) if height > 0 && width > 0 => Some((height as u64, width as u64)),
        _ => None,
    };
    let size = side(asked.console_size.as_deref()).or_else(|| side(exec.config.console_size.as_deref()));
    app.execs.claim(&exec)?;
    if asked.detach.unwrap_or(false) {
        let reader = app.execs.start(&exec, false, size).await?;
        tokio::spawn(reader.drain());
        return Ok(StatusCode::OK.into_response());
    }
    let tty = exec.config.tty.unwrap_or(false);
    let request = Request::from_parts(head, axum::body::Body::empty());
    Ok(hijack(request, tty, async move |mut connection| {
        match app.execs.start(&exec, true, size).await {
            Ok(reader) => serve(&app, &exec, connection, reader).await,
            Err(error) => {
                // As Docker tells it: who listens for output hears of it there.
                let line = framed(tty, Stream::Stdout, format!("{error}\r\n").into());
                connection.write_all(&line).await.ok();
                connection.shutdown().await.ok();
            }
        }
    }))
}

async fn serve(app: &App, exec: &Exec, connection: Box<dyn Connection>, mut reader: Reader) {
    let config = &exec.config;
    let tty = config.tty.unwrap_or(false);
    let id = exec.container.id();
    let client = Client {
        wanted: [config.attach_stdout.unwrap_or(false), config.attach_stderr.unwrap_or(false) && !tty],
        tty,
        keys: tty.then(|| Keys::parse(config.detach_keys.as_deref().unwrap_or_default()).ok()).flatten(),
        close: !tty,
    };
    let input = config.attach_stdin.unwrap_or(false).then(|| app.streams.input(id, Some(&exec.id)));
    let end = async || {
        if let Err(error) = close(app, id, &exec.id).await {
            tracing::warn!(id, process = exec.id, "cannot end the input: {error}");
        }
    };
    let left = session::serve(connection, client, &mut reader, input, end).await;
    if left == Left::Detached {
        app.engine.tell(&exec.container, "exec_detach", &[("execID", exec.id.clone())]);
    }
    // It goes on without its client, and must not stand still.
    reader.drain().await;
}

async fn resize(State(app): State<Arc<App>>, Path(id): Path<String>, query: Query) -> Result<StatusCode> {
    let (height, width) = size(&query)?;
    let exec = app.execs.find(&id)?;
    exec.running().await?;
    if !exec.state().ended() {
        resize_process(&app, exec.container.id(), &exec.id, height, width).await?;
    }
    Ok(StatusCode::OK)
}

async fn inspect(State(app): State<Arc<App>>, Path(id): Path<String>) -> Result<Json<ExecInspectResponse>> {
    let exec = app.execs.find(&id)?;
    let (state, config) = (exec.state(), &exec.config);
    let command = config.cmd.as_deref().unwrap_or_default();
    Ok(Json(ExecInspectResponse {
        can_remove: Some(false),
        detach_keys: Some(config.detach_keys.clone().unwrap_or_default()),
        id: Some(exec.id.clone()),
        running: Some(state.started && !state.ended()),
        exit_code: state.exit.map(|(code, _)| code),
        process_config: Some(ProcessConfig {
            privileged: config.privileged,
            user: config.user.clone(),
            tty: config.tty,
            entrypoint: command.first().cloned(),
            arguments: command.get(1..).map(<[String]>::to_vec),
        }),
        open_stdin: config.attach_stdin,
        open_stderr: config.attach_stderr,
        open_stdout: config.attach_stdout,
        container_id: Some(exec.container.id().to_owned()),
        pid: Some(i64::from(state.pid)),
    }))
}
