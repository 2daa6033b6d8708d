//! The routes of images that are here; those that come from and go to registries are in
//! [`registry`](super::registry).

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bollard::models::{ImageDeleteResponseItem, ImagePruneResponse, ImageSummary};
use futures_util::{StreamExt, TryStreamExt};
use oci_spec::image::Descriptor;
use serde_json::json;

use super::lines::answer;
use super::query::{Query, filters, flag, pairs, text};
use crate::App;
use crate::error::{Error, Result};
use crate::images::{FILTERS, Loaded, loading};

/// The routes. Names contain slashes: what follows a name is split off it here.
pub fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/images/json", get(list))
        .route("/images/load", post(load))
        .route("/images/get", get(save))
        .route("/images/prune", post(prune))
        .route("/images/{*path}", get(read).post(change).delete(remove))
}

/// The name before a word at the end of the path.
fn split(path: &str) -> Result<(&str, &str)> {
    path.rsplit_once('/').ok_or_else(|| Error::NotFound("page not found".to_owned()))
}

async fn list(State(app): State<Arc<App>>, query: Query) -> Result<Json<Vec<ImageSummary>>> {
    Ok(Json(app.images.list(&filters(&query, FILTERS)?).await?))
}

async fn prune(State(app): State<Arc<App>>, query: Query) -> Result<Json<ImagePruneResponse>> {
    Ok(Json(app.images.prune(&filters(&query, &["dangling", "label", "label!", "until"])?).await?))
}

async fn read(State(app): State<Arc<App>>, Path(path): Path<String>) -> Result<Response> {
    let (name, what) = split(&path)?;
    match what {
        "json" => Ok(Json(app.images.inspect(name).await?).into_response()),
        "history" => Ok(Json(app.images.history(name).await?).into_response()),
        "get" => archive(&app, &[name.to_owned()]).await,
        _ => Err(Error::NotFound("page not found".to_owned())),
    }
}

async fn change(
    State(app): State<Arc<App>>,
    Path(path): Path<String>,
    query: Query,
    headers: HeaderMap,
) -> Result<Response> {
    let (name, what) = split(&path)?;
    match what {
        "tag" => {
            let repository = text(&query, "repo").ok_or_else(|| Error::Invalid("repo is missing".to_owned()))?;
            let name_given = match text(&query, "tag") {
                Some(tag) => format!("{repository}:{tag}"),
                None => repository.to_owned(),
            };
            app.images.tag(name, &name_given).await?;
            Ok(StatusCode::CREATED.into_response())
        }
        "push" => super::registry::push(app, name, text(&query, "tag"), &headers).await,
        _ => Err(Error::NotFound("page not found".to_owned())),
    }
}

async fn remove(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    query: Query,
) -> Result<Json<Vec<ImageDeleteResponseItem>>> {
    Ok(Json(app.images.remove(&name, flag(&query, "force")).await?))
}

/// `docker save a b`: `names` comes several times, so the query is read by hand.
async fn save(State(app): State<Arc<App>>, RawQuery(query): RawQuery) -> Result<Response> {
    let names: Vec<String> =
        pairs(query.as_deref())?.into_iter().filter(|(key, _)| key == "names").map(|(_, name)| name).collect();
    archive(&app, &names).await
}

async fn archive(app: &App, names: &[String]) -> Result<Response> {
    let stream = app.images.save(names).await?;
    Ok(([(CONTENT_TYPE, "application/x-tar")], Body::from_stream(stream)).into_response())
}

/// `docker load`.
async fn load(State(app): State<Arc<App>>, query: Query, body: Body) -> Result<Response> {
    let stream = body.into_data_stream().map_err(std::io::Error::other).boxed();
    let quiet = flag(&query, "quiet");
    answer(|lines| async move {
        let layer = |layer: &Descriptor| {
            if !quiet {
                lines.write(&loading(layer.digest().as_ref(), layer.size()));
            }
        };
        for loaded in app.images.load(stream, layer).await? {
            let line = match loaded {
                Loaded::Name(name) => format!("Loaded image: {name}\n"),
                Loaded::Id(id) => format!("Loaded image ID: {id}\n"),
            };
            lines.write(&json!({ "stream": line }));
        }
        Ok(())
    })
    .await
}
