//! The routes of copying files in and out of containers, and what they changed.

use std::sync::Arc;

use axum::Router;

use crate::containers::App;

/// The routes.
pub fn routes() -> Router<Arc<App>> {
    Router::new()
}
