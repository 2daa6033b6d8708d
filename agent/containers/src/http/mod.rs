//! The Docker Engine API: one file a group of routes, each a thin translation to the parts.

mod archive;
mod attach;
mod commit;
mod containers;
mod declared;
mod exec;
mod hijack;
mod images;
mod lines;
mod networks;
mod query;
mod registry;
mod system;
mod volumes;

use std::sync::Arc;

use anyhow::Context;
use axum::Router;
use axum::extract::Request;
use axum::http::Uri;
use tokio::net::UnixListener;
use tower::Layer;

use super::daemon::App;
use super::error::Error;

/// The newest version of the API that is spoken, and the oldest.
pub const API_VERSION: &str = "1.47";
/// See [`API_VERSION`].
pub const MIN_API_VERSION: &str = "1.24";

/// Answers requests until `stopped`.
pub async fn serve(
    listener: UnixListener,
    app: Arc<App>,
    stopped: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<()> {
    let service = tower::util::MapRequestLayer::new(without_version).layer(router(app));
    let make = axum::ServiceExt::<Request>::into_make_service(service);
    let server = async move { axum::serve(listener, make).await };
    // Streams of logs and terminals have no end of their own: the end of the process is theirs.
    tokio::select! {
        served = server => served.context("cannot serve"),
        () = stopped => Ok(()),
    }
}

fn router(app: Arc<App>) -> Router {
    Router::new()
        .merge(system::routes())
        .merge(containers::routes())
        .merge(attach::routes())
        .merge(exec::routes())
        .merge(archive::routes())
        .merge(images::routes())
        .merge(registry::routes())
        .merge(commit::routes())
        .merge(networks::routes())
        .merge(volumes::routes())
        .merge(declared::routes())
        .fallback(async || Error::NotFound("page not found".to_owned()))
        .with_state(app)
}

/// Clients put the version they speak before the path: `/v1.47/containers/json`.
fn without_version(mut request: Request) -> Request {
    if let Some(uri) = stripped(request.uri()) {
        *request.uri_mut() = uri;
    }
    request
}

fn stripped(uri: &Uri) -> Option<Uri> {
    let (version, rest) = uri.path().strip_prefix("/v")?.split_once('/')?;
    if version.is_empty() || !version.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return None;
    }
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    format!("/{rest}{query}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_taken_off() {
        let path = |text: &'static str| stripped(&Uri::from_static(text)).map(|uri| uri.to_string());
        assert_eq!(path("/v1.47/containers/json?all=1").as_deref(), Some("/containers/json?all=1"));
        assert_eq!(path("/version"), None);
        assert_eq!(path("/volumes/v1.2/x"), None);
    }
}
