//! The routes of copying files in and out of containers, and what they changed.

use std::io::{self, BufWriter, Write};
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, head};
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bollard::models::{ChangeType, FilesystemChange};
use futures_util::TryStreamExt;
use tokio::sync::mpsc::{self, Sender};
use tokio_util::io::{StreamReader, SyncIoBridge};

use super::hijack::archive;
use super::query::{Query, flag, text};
use crate::App;
use crate::archive::changes::{Change, Kind, changes};
use crate::archive::{Place, Unpacking, pack, pack_root, path_stat, unpack};
use crate::engine::{Container, Rootfs};
use crate::error::{Error, Result};
use crate::images::{decompressed, to_its_end};

/// Archives are sent in pieces of so many bytes.
const PIECE: usize = 64 << 10;

/// The routes.
pub fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/containers/{id}/archive", head(stat).get(copy_out).put(copy_in))
        .route("/containers/{id}/changes", get(diff))
        .route("/containers/{id}/export", get(export))
}

fn asked(query: &Query) -> Result<String> {
    let path = text(query, "path").ok_or_else(|| Error::Invalid("bad parameter: path cannot be empty".to_owned()))?;
    Ok(path.to_owned())
}

/// Does what may take long away from those who serve.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Error::failed("work on files", error))?
}

/// What is at `path`, in Docker's words when there is nothing.
fn find(root: &Rootfs, path: &str, name: &str) -> Result<Place> {
    Place::find(root, path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Error::NotFound(format!("Could not find the file {path} in container {name}")),
        _ => Error::failed(format_args!("look at {path} in container {name}"), error),
    })
}

fn header(root: &Rootfs, place: &Place) -> Result<[(&'static str, String); 1]> {
    let failed = |error| Error::failed(format_args!("look at {}", place.path), error);
    let target = place.target(root).map_err(failed)?;
    let stat = path_stat(&place.called, &place.stat().map_err(failed)?, target.as_deref());
    Ok([("X-Docker-Container-Path-Stat", STANDARD.encode(stat.to_string()))])
}

async fn stat(State(app): State<Arc<App>>, Path(id): Path<String>, query: Query) -> Result<impl IntoResponse> {
    let path = asked(&query)?;
    let view = app.engine.view(&*app.engine.find(&id)?, &path).await?;
    blocking(move || header(&view.root, &find(&view.root, &view.path, &id)?)).await
}

async fn copy_out(State(app): State<Arc<App>>, Path(id): Path<String>, query: Query) -> Result<Response> {
    let path = asked(&query)?;
    let container = app.engine.find(&id)?;
    let view = app.engine.view(&container, &path).await?;
    let found = blocking(move || {
        let place = find(&view.root, &view.path, &id)?;
        Ok((header(&view.root, &place)?, place))
    });
    let (header, mut place) = found.await?;
    place.called = called(&path);
    app.engine.tell(&container, "archive-path", &[("path", path)]);
    Ok((header, tar(move |out| pack(&place, out))).into_response())
}

/// What archives call what is at `path`: its last element.
fn called(path: &str) -> String {
    match path.trim_end_matches('/').rsplit_once('/') {
        Some((_, last)) => last.to_owned(),
        None => path.trim_end_matches('/').to_owned(),
    }
}

async fn export(State(app): State<Arc<App>>, Path(id): Path<String>) -> Result<Response> {
    let container = app.engine.find(&id)?;
    let root = app.engine.own_files(&container).await?;
    let place = find(&root, "/", &id)?;
    app.engine.tell(&container, "export", &[]);
    Ok(tar(move |out| pack_root(&place, out)))
}

/// An answer that `write` makes while it is sent.
fn tar(write: impl FnOnce(&mut dyn Write) -> io::Result<()> + Send + 'static) -> Response {
    let (sender, receiver) = mpsc::channel(2);
    tokio::task::spawn_blocking(move || {
        let mut out = BufWriter::with_capacity(PIECE, Chunks(sender.clone()));
        if let Err(error) = write(&mut out).and_then(|()| out.flush()) {
            tracing::warn!("an archive broke off: {error}");
            // The client may be gone, which is why.
            sender.blocking_send(Err(error)).ok();
        }
    });
    archive(receiver)
}

/// Sends what is written to it.
struct Chunks(Sender<io::Result<Bytes>>);

impl Write for Chunks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = self.0.blocking_send(Ok(Bytes::copy_from_slice(bytes)));
        sent.map(|()| bytes.len()).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

async fn copy_in(State(app): State<Arc<App>>, Path(id): Path<String>, query: Query, sent: Body) -> Result<StatusCode> {
    let path = asked(&query)?;
    let container = app.engine.find(&id)?;
    let view = app.engine.view(&container, &path).await?;
    if let Some(why) = view.read_only {
        return Err(Error::Invalid(why.to_owned()));
    }
    let owner = match flag(&query, "copyUIDGID") {
        true => owner(&app, &container).await?,
        false => None,
    };
    let how = Unpacking { keep_kinds: flag(&query, "noOverwriteDirNonDir"), owner };
    let sent = SyncIoBridge::new(StreamReader::new(sent.into_data_stream().map_err(io::Error::other)));
    let put_in = move |sent: &mut _| {
        find(&view.root, &view.path, &id)?;
        if find(&view.root, &format!("{}/.", view.path), &id).is_err() {
            return Err(Error::Invalid("extraction point is not a directory".to_owned()));
        }
        let sent = decompressed(sent).map_err(|error| Error::failed("read the archive", error))?;
        unpack(&view.root, &view.path, sent, how)
    };
    blocking(move || to_its_end(sent, put_in)).await?;
    app.engine.tell(&container, "extract-to-dir", &[("path", path)]);
    Ok(StatusCode::OK)
}

/// The user of a container, when it is not root.
async fn owner(app: &App, container: &Container) -> Result<Option<(u32, u32)>> {
    let record = container.record();
    let Some(user) = record.config.user.as_deref().filter(|user| !user.is_empty()) else { return Ok(None) };
    let identity = app.engine.rootfs(container).await?.accounts().identify(user, &[])?;
    Ok(Some((identity.uid, identity.gid)))
}

async fn diff(State(app): State<Arc<App>>, Path(id): Path<String>) -> Result<Json<Vec<FilesystemChange>>> {
    let container = app.engine.find(&id)?;
    let layers = app.engine.layers(&container).await?;
    let found = blocking(move || {
        let lowers: Vec<&std::path::Path> = layers.lowers.iter().map(AsRef::as_ref).collect();
        changes(&layers.upper, &lowers).map_err(|error| Error::failed("compare the container with its image", error))
    });
    Ok(Json(found.await?.into_iter().map(shown).collect()))
}

fn shown(change: Change) -> FilesystemChange {
    let kind = match change.kind {
        Kind::Changed => ChangeType::_0,
        Kind::Added => ChangeType::_1,
        Kind::Deleted => ChangeType::_2,
    };
    FilesystemChange { path: change.path, kind }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archives_call_things_as_they_were_asked() {
        let names = ["/etc", "/etc/", "/etc/.", "/", "file"].map(called);
        assert_eq!(names, ["etc", "etc", ".", "", "file"]);
    }
}
