//! The routes of the daemon itself: is it there, and which versions.

use std::sync::Arc;

use axum::extract::State;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use bollard::models::{SystemVersion, SystemVersionComponents};
use rustix::system::uname;

use super::{API_VERSION, MIN_API_VERSION};
use crate::containers::App;
use crate::containers::error::Result;

/// The routes.
pub fn routes() -> Router<Arc<App>> {
    Router::new().route("/_ping", get(ping).head(ping)).route("/version", get(version))
}

async fn ping() -> impl IntoResponse {
    ([("Api-Version", API_VERSION), ("Ostype", "linux"), ("Cache-Control", "no-cache")], "OK")
}

async fn version(State(app): State<Arc<App>>) -> Result<Json<SystemVersion>> {
    let containerd = app.containerd.version().version(()).await?.into_inner();
    let uname = uname();
    let text = |text: &std::ffi::CStr| Some(text.to_string_lossy().into_owned());
    let component =
        SystemVersionComponents { name: "containerd".to_owned(), version: containerd.version, details: None };
    Ok(Json(SystemVersion {
        version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        api_version: Some(API_VERSION.to_owned()),
        min_api_version: Some(MIN_API_VERSION.to_owned()),
        os: Some("linux".to_owned()),
        arch: Some("amd64".to_owned()),
        kernel_version: text(uname.release()),
        components: Some(vec![component]),
        ..SystemVersion::default()
    }))
}
