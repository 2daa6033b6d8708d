//! The routes of volumes.

use std::sync::Arc;

use axum::Router;

use crate::containers::App;

/// The routes.
pub fn routes() -> Router<Arc<App>> {
    Router::new()
}
