//! The routes of networks. There are Docker's three built-in ones; links and shared networks join
//! containers, so none is made or changed.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use bollard::models::{NetworkConnectRequest, NetworkCreateRequest, NetworkInspect, NetworkPruneResponse};

use super::query::{self, Query};
use crate::App;
use crate::error::{Error, Result};
use crate::network::listing;

/// The routes.
pub fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/networks", get(list))
        .route("/networks/create", post(create))
        .route("/networks/prune", post(prune))
        .route("/networks/{id}", get(inspect).delete(remove))
        .route("/networks/{id}/connect", post(change))
        .route("/networks/{id}/disconnect", post(change))
}

async fn list(State(app): State<Arc<App>>, query: Query) -> Result<Json<Vec<NetworkInspect>>> {
    let filters = query::filters(&query, &listing::FILTERS)?;
    let mut chosen = Vec::new();
    // A list does not tell who is on a network.
    for network in app.network.list(|_| None) {
        if listing::matches(&network, &filters)? {
            chosen.push(network);
        }
    }
    Ok(Json(chosen))
}

async fn inspect(State(app): State<Arc<App>>, Path(id): Path<String>) -> Result<Json<NetworkInspect>> {
    lookup(&app, &id).map(Json)
}

fn lookup(app: &App, reference: &str) -> Result<NetworkInspect> {
    app.network.lookup(reference, |id| app.engine.find(id).ok().map(|container| container.name()))
}

async fn create(State(app): State<Arc<App>>, Json(request): Json<NetworkCreateRequest>) -> Result<()> {
    let name = request.name;
    if app.network.lookup(&name, |_| None).is_ok() {
        return Err(Error::Conflict(format!("network with name {name} already exists")));
    }
    Err(Error::Forbidden(format!(
        "cannot create network {name}: this host has the networks bridge, host and none; join containers with \
         --link or --network container:NAME"
    )))
}

async fn remove(State(app): State<Arc<App>>, Path(id): Path<String>) -> Result<()> {
    let name = lookup(&app, &id)?.name.unwrap_or_default();
    Err(Error::Forbidden(format!("{name} is a pre-defined network and cannot be removed")))
}

async fn change(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Json(request): Json<NetworkConnectRequest>,
) -> Result<()> {
    let name = lookup(&app, &id)?.name.unwrap_or_default();
    app.engine.find(&request.container)?;
    Err(Error::Forbidden(format!(
        "the network of a container is chosen when it is created: create it with --network {name}"
    )))
}

async fn prune() -> Json<NetworkPruneResponse> {
    Json(NetworkPruneResponse { networks_deleted: Some(Vec::new()) })
}
