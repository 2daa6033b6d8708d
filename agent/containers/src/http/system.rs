//! The routes of the daemon itself: is it there, what is it, what happens.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use bollard::models::{EventMessage, SystemInfo, SystemVersion, SystemVersionComponents};
use futures_util::StreamExt;
use rustix::system::uname;
use serde_json::{Value, json};

use super::query::{Query, filters, text};
use super::{API_VERSION, MIN_API_VERSION};
use crate::App;
use crate::engine::{Moment, until};
use crate::error::Result;
use crate::filters::Filters;

const EVENT_FILTERS: &[&str] =
    &["container", "daemon", "event", "image", "label", "label!", "network", "scope", "type", "volume"];

/// The routes.
pub fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/_ping", get(ping).head(ping))
        .route("/version", get(version))
        .route("/info", get(info))
        .route("/system/df", get(df))
        .route("/events", get(events))
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
        arch: Some(arch().to_owned()),
        kernel_version: text(uname.release()),
        components: Some(vec![component]),
        ..SystemVersion::default()
    }))
}

/// This machine's architecture, in Go's word.
fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

async fn info(State(app): State<Arc<App>>) -> Result<Json<SystemInfo>> {
    let images = app.images.list(&Filters::default()).await?.len();
    let os = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let uname = uname();
    Ok(Json(SystemInfo {
        images: i64::try_from(images).ok(),
        docker_root_dir: Some(app.paths.root().display().to_string()),
        system_time: Some(Moment::now().to_string()),
        kernel_version: Some(uname.release().to_string_lossy().into_owned()),
        name: Some(uname.nodename().to_string_lossy().into_owned()),
        architecture: Some(uname.machine().to_string_lossy().into_owned()),
        os_type: Some("linux".to_owned()),
        operating_system: os_release(&os, "PRETTY_NAME"),
        os_version: os_release(&os, "VERSION_ID"),
        server_version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        ncpu: std::thread::available_parallelism().ok().and_then(|count| i64::try_from(count.get()).ok()),
        ..app.engine.info()
    }))
}

fn os_release(text: &str, key: &str) -> Option<String> {
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
    Some(value.trim_matches('"').to_owned())
}

/// What is used on the disk.
async fn df(State(app): State<Arc<App>>) -> Result<Json<Value>> {
    let images = app.images.list(&Filters::default()).await?;
    let layers: i64 = images.iter().map(|image| image.size).sum();
    let containers = app.engine.usage().await?;
    let engine = app.engine.clone();
    let volumes = tokio::task::spawn_blocking(move || engine.volume_usage()).await.unwrap_or_default();
    Ok(Json(json!({
        "LayersSize": layers,
        "Images": images,
        "Containers": containers,
        "Volumes": volumes,
        "BuildCache": [],
    })))
}

/// What happened `since`, and what happens, `until` then.
async fn events(State(app): State<Arc<App>>, query: Query) -> Result<impl IntoResponse> {
    let time = |name| text(&query, name).map(|text| until(text, Moment::now())).transpose();
    let (since, end) = (time("since")?, time("until")?);
    let filters = filters(&query, EVENT_FILTERS)?;
    let (past, live) = app.events.subscribe();
    let past = since.map(|since| past.into_iter().filter(|event| at(event) >= since).collect::<Vec<_>>());
    let past = futures_util::stream::iter(past.unwrap_or_default());
    let live = futures_util::stream::unfold(live, async |mut live| {
        loop {
            match live.recv().await {
                Ok(event) => return Some((event, live)),
                // A client that reads too slowly misses some.
                Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => {}
                Err(tokio::sync::broadcast::error::RecvError::Closed) => return None,
            }
        }
    });
    let over = async move {
        match end {
            Some(end) => tokio::time::sleep(end.since(Moment::now())).await,
            None => std::future::pending().await,
        }
    };
    let chosen = past.chain(live).filter(move |event| {
        let chosen = chosen(event, &filters) && end.is_none_or(|end| at(event) <= end);
        async move { chosen }
    });
    let lines = chosen.map(|event| line(&event)).take_until(Box::pin(over));
    Ok(([(CONTENT_TYPE, "application/json")], Body::from_stream(lines)))
}

fn at(event: &EventMessage) -> Moment {
    Moment::at(0, event.time_nano.unwrap_or(0))
}

/// With the three fields that older clients read.
fn line(event: &EventMessage) -> serde_json::Result<Bytes> {
    let mut value = serde_json::to_value(event)?;
    let actor = event.actor.clone().unwrap_or_default();
    value["status"] = json!(event.action);
    value["id"] = json!(actor.id);
    value["from"] = json!(actor.attributes.and_then(|attributes| attributes.get("image").cloned()));
    let mut line = serde_json::to_vec(&value)?;
    line.push(b'\n');
    Ok(Bytes::from(line))
}

fn chosen(event: &EventMessage, filters: &Filters) -> bool {
    let actor = event.actor.clone().unwrap_or_default();
    let (id, attributes) = (actor.id.unwrap_or_default(), actor.attributes.unwrap_or_default());
    let kind = event.typ.map(|kind| kind.to_string()).unwrap_or_default();
    let any = |key: &str, test: &dyn Fn(&str) -> bool| {
        filters.get(key).is_empty() || filters.get(key).iter().any(|value| test(value))
    };
    let action = event.action.as_deref().unwrap_or_default();
    let name = attributes.get("name").map(String::as_str).unwrap_or_default();
    let image = attributes.get("image").map(String::as_str).unwrap_or_default();
    let named = |wanted: &str| id.starts_with(wanted) || name == wanted.trim_start_matches('/');
    any("type", &|wanted| wanted == kind)
        // `exec_start: sh` is an `exec_start`.
        && any("event", &|wanted| action == wanted || action.split(':').next() == Some(wanted))
        && any("container", &|wanted| kind == "container" && named(wanted))
        && any("network", &|wanted| kind == "network" && named(wanted))
        && any("volume", &|wanted| kind == "volume" && named(wanted))
        && any("daemon", &|wanted| kind == "daemon" && named(wanted))
        && any("image", &|wanted| [image, name, id.as_str()].iter().any(|text| *text == wanted || text.split(':').next() == Some(wanted)))
        && any("scope", &|wanted| wanted == "local")
        && filters.labels_match(&attributes)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use bollard::models::{EventActor, EventMessageTypeEnum};

    use super::*;

    fn event() -> EventMessage {
        let attributes =
            HashMap::from([("name".to_owned(), "web".to_owned()), ("image".to_owned(), "nginx:1".to_owned())]);
        EventMessage {
            typ: Some(EventMessageTypeEnum::CONTAINER),
            action: Some("exec_start: sh".to_owned()),
            actor: Some(EventActor { id: Some("abc".to_owned()), attributes: Some(attributes) }),
            ..EventMessage::default()
        }
    }

    #[test]
    fn events_are_chosen() {
        let is = |filters: &str| chosen(&event(), &Filters::parse(filters, EVENT_FILTERS).unwrap());
        assert!(is("{}"));
        assert!(is(r#"{"container":["web"]}"#) && is(r#"{"container":["ab"]}"#) && !is(r#"{"container":["db"]}"#));
        assert!(is(r#"{"event":["exec_start","die"]}"#) && !is(r#"{"event":["die"]}"#));
        assert!(is(r#"{"type":["container"]}"#) && !is(r#"{"type":["image"]}"#));
        assert!(is(r#"{"image":["nginx"]}"#) && !is(r#"{"image":["redis"]}"#));
        assert!(!is(r#"{"volume":["web"]}"#));
    }

    #[test]
    fn a_line_has_what_older_clients_read() {
        let line: Value = serde_json::from_slice(&line(&event()).unwrap()).unwrap();
        assert_eq!((&line["id"], &line["from"]), (&json!("abc"), &json!("nginx:1")));
        assert_eq!(line["Type"], "container");
    }

    #[test]
    fn the_release_is_read() {
        assert_eq!(os_release("A=1\nPRETTY_NAME=\"Debian 13\"\n", "PRETTY_NAME").as_deref(), Some("Debian 13"));
    }
}
