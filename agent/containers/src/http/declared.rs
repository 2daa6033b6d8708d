//! The routes of declared containers, beside Docker's: how it stands with them, and the way there.

use std::sync::Arc;

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};

use super::query::{self, Query};
use crate::App;
use crate::declared::report::Report;
use crate::error::Result;

/// The routes.
pub fn routes() -> Router<Arc<App>> {
    Router::new().route("/keelson/declared", get(status)).route("/keelson/declared/apply", post(apply))
}

async fn status(State(app): State<Arc<App>>) -> Result<Json<Report>> {
    app.declared.look().await.map(Json)
}

async fn apply(State(app): State<Arc<App>>, query: Query) -> Result<Json<Report>> {
    if query::flag(&query, "dry_run") {
        return app.declared.look().await.map(Json);
    }
    // It goes on when the client does not wait for its end.
    let (declared, update) = (app.declared.clone(), query::flag(&query, "update"));
    let applied = tokio::spawn(async move { declared.apply(update).await }).await;
    applied.map_err(|error| crate::Error::failed("apply the declarations", error))?.map(Json)
}
