//! The routes of images.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use futures_util::{StreamExt, TryStreamExt};
use serde_json::json;

use crate::containers::App;
use crate::containers::error::Result;
use crate::containers::images::Loaded;

/// The routes.
pub fn routes() -> Router<Arc<App>> {
    Router::new().route("/images/load", post(load))
}

/// `docker load`.
async fn load(State(app): State<Arc<App>>, body: Body) -> Result<Response> {
    let stream = body.into_data_stream().map_err(std::io::Error::other).boxed();
    let loaded = app.images.load(stream, |_| {}).await?;
    let lines = loaded.iter().map(|loaded| match loaded {
        Loaded::Name(name) => format!("Loaded image: {name}\n"),
        Loaded::Id(id) => format!("Loaded image ID: {id}\n"),
    });
    let lines: String = lines.map(|line| format!("{}\r\n", json!({ "stream": line }))).collect();
    Ok(([(CONTENT_TYPE, "application/json")], lines).into_response())
}
