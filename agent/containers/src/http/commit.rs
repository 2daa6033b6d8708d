//! The route that makes an image of a container.

use std::collections::HashMap;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use bollard::models::{ContainerConfig, IdResponse, ImageConfig};

use super::query::{Query, flag, pairs, text};
use crate::App;
use crate::engine::{Container, Status};
use crate::error::{Error, Result};
use crate::images::{Commit, changes};

/// The routes.
pub fn routes() -> Router<Arc<App>> {
    Router::new().route("/commit", post(commit))
}

/// `docker commit`: frozen meanwhile, unless `pause=0`.
async fn commit(
    State(app): State<Arc<App>>,
    RawQuery(raw): RawQuery,
    query: Query,
    body: Bytes,
) -> Result<(StatusCode, Json<IdResponse>)> {
    let name = text(&query, "container").ok_or_else(|| Error::Invalid("container is missing".to_owned()))?;
    let container = app.engine.find(name)?;
    let record = container.record();
    let changes: Vec<String> =
        pairs(raw.as_deref())?.into_iter().filter(|(key, _)| key == "changes").map(|(_, change)| change).collect();
    let given: Option<ContainerConfig> = match body.is_empty() {
        true => None,
        false => super::containers::body(&body)?,
    };
    let mut config = image_config(&record.config, given.as_ref())?;
    changes::apply(&mut config, &changes)?;
    let words = [record.config.entrypoint.clone(), record.config.cmd.clone()];
    let described = Commit {
        config,
        author: text(&query, "author").unwrap_or_default().to_owned(),
        comment: text(&query, "comment").unwrap_or_default().to_owned(),
        command: words.into_iter().flatten().flatten().collect::<Vec<_>>().join(" "),
    };
    let target = text(&query, "repo").map(|repository| match text(&query, "tag") {
        Some(tag) => format!("{repository}:{tag}"),
        None => repository.to_owned(),
    });
    let base = app.images.find(&record.image).await?;
    let pause = (query.get("pause").is_none() || flag(&query, "pause")) && container.state().status == Status::Running;
    // A client that hangs up leaves nothing frozen: the work goes on without it.
    let work = tokio::spawn(async move {
        let work = app.images.commit(&base, container.id(), described, target.as_deref());
        let image = frozen(&app, &container, pause, work).await?;
        app.engine.tell(&container, "commit", &[("imageID", image.id.clone())]);
        Ok::<_, Error>(image.id)
    });
    let id = work.await.map_err(|error| Error::failed("commit", error))??;
    Ok((StatusCode::CREATED, Json(IdResponse { id })))
}

/// Does the work while the container is frozen, and lets it go on in any case.
async fn frozen<T>(
    app: &App,
    container: &Arc<Container>,
    pause: bool,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    if !pause {
        return work.await;
    }
    app.engine.pause(container).await?;
    let done = work.await;
    app.engine.unpause(container).await?;
    done
}

/// The image's part of a container's configuration, with what the client gives upon it.
fn image_config(container: &ContainerConfig, given: Option<&ContainerConfig>) -> Result<ImageConfig> {
    let broken = |error| Error::failed("write a configuration", error);
    let mut merged = serde_json::to_value(container).map_err(broken)?;
    if let Some(given) = given {
        let given: HashMap<String, serde_json::Value> =
            serde_json::from_value(serde_json::to_value(given).map_err(broken)?).map_err(broken)?;
        for (key, value) in given.into_iter().filter(|(_, value)| !empty(value)) {
            merged[key] = value;
        }
    }
    serde_json::from_value(merged).map_err(broken)
}

fn empty(value: &serde_json::Value) -> bool {
    match value {
        serde_json::Value::Null => true,
        serde_json::Value::String(text) => text.is_empty(),
        serde_json::Value::Array(list) => list.is_empty(),
        serde_json::Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_client_gives_replaces() {
        let container = ContainerConfig {
            hostname: Some("h".to_owned()),
            cmd: Some(vec!["a".to_owned()]),
            env: Some(vec!["A=1".to_owned()]),
            exposed_ports: Some(vec!["80/tcp".to_owned()]),
            ..ContainerConfig::default()
        };
        let given =
            ContainerConfig { cmd: Some(vec!["b".to_owned()]), env: Some(Vec::new()), ..ContainerConfig::default() };
        let config = image_config(&container, Some(&given)).unwrap();
        assert_eq!(config.cmd.unwrap(), ["b"]);
        assert_eq!(config.env.unwrap(), ["A=1"]);
        assert_eq!(config.exposed_ports.unwrap(), ["80/tcp"]);
    }
}
