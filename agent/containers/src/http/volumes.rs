//! The routes of volumes.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Json, Router};
use bollard::models::{Volume, VolumeListResponse, VolumePruneResponse};

use super::containers::body;
use super::query::{Query, filters, flag};
use crate::App;
use crate::error::{Error, Result};

/// The routes.
pub fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/volumes", get(list))
        .route("/volumes/create", post(create))
        .route("/volumes/prune", post(prune))
        .route("/volumes/{name}", get(inspect).delete(remove))
}

async fn list(State(app): State<Arc<App>>, query: Query) -> Result<Json<VolumeListResponse>> {
    let filters = filters(&query, &["dangling", "driver", "label", "label!", "name"])?;
    let dangling = filters.flag("dangling")?;
    let any = |key: &str, test: &dyn Fn(&str) -> bool| {
        filters.get(key).is_empty() || filters.get(key).iter().any(|value| test(value))
    };
    let chosen = |volume: &Volume| {
        filters.labels_match(&volume.labels)
            && any("name", &|name| volume.name.contains(name))
            && any("driver", &|driver| volume.driver == driver)
            && dangling.is_none_or(|dangling| app.engine.users_of_volume(&volume.name).is_empty() == dangling)
    };
    let volumes = app.engine.volumes().all().into_iter().filter(chosen).collect();
    Ok(Json(VolumeListResponse { volumes: Some(volumes), warnings: None }))
}

async fn create(State(app): State<Arc<App>>, bytes: Bytes) -> Result<impl IntoResponse> {
    Ok((StatusCode::CREATED, Json(app.engine.create_volume(body(&bytes)?)?)))
}

async fn inspect(State(app): State<Arc<App>>, Path(name): Path<String>) -> Result<Json<Volume>> {
    Ok(Json(app.engine.volumes().find(&name)?))
}

async fn remove(State(app): State<Arc<App>>, Path(name): Path<String>, query: Query) -> Result<StatusCode> {
    match app.engine.remove_volume(&name) {
        Err(Error::NotFound(_)) if flag(&query, "force") => {}
        removed => removed?,
    }
    Ok(StatusCode::NO_CONTENT)
}

async fn prune(State(app): State<Arc<App>>, query: Query) -> Result<Json<VolumePruneResponse>> {
    let filters = filters(&query, &["all", "label", "label!"])?;
    let pruned = tokio::task::spawn_blocking(move || app.engine.prune_volumes(&filters)).await;
    pruned.map_err(|error| Error::failed("remove volumes", error))?.map(Json)
}
