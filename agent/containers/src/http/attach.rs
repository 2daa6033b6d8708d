//! The routes of what goes in and out of containers: attach, logs, the size of terminals.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use containerd_client::services::v1::{CloseIoRequest, ResizePtyRequest};

use super::hijack::{Connection, hijack, streamed};
use super::query::{Query, flag, text};
use crate::App;
use crate::engine::{Container, Status};
use crate::error::{Error, Result};
use crate::streams::detach::Keys;
use crate::streams::logs::{self, time};
use crate::streams::session::{self, Client, Left};
use crate::streams::{Driver, Follower};

/// The routes.
pub fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/containers/{id}/attach", post(attach))
        .route("/containers/{id}/logs", get(logs))
        .route("/containers/{id}/resize", post(resize))
}

async fn attach(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    query: Query,
    request: Request,
) -> Result<Response> {
    let container = app.engine.find(&id)?;
    let refused = |why: &str| Err(Error::Conflict(format!("container {id} is {why} before attach")));
    match container.state().status {
        Status::Paused => return refused("paused, unpause the container"),
        Status::Restarting => return refused("restarting, wait until the container is running"),
        _ => {}
    }
    let keys = Keys::parse(text(&query, "detachKeys").unwrap_or_default())?;
    let config = container.record().config.clone();
    let tty = config.tty.unwrap_or(false);
    let shows = flag(&query, "stream") || flag(&query, "logs");
    let client = Client {
        wanted: ["stdout", "stderr"].map(|name| shows && flag(&query, name)),
        tty,
        keys: tty.then_some(keys),
        close: config.stdin_once.unwrap_or(false) && !tty,
    };
    // Before the answer: what the container says from then on is shown.
    let follower = app.streams.follow(container.id(), flag(&query, "logs"))?;
    let takes_input = flag(&query, "stream") && flag(&query, "stdin") && config.open_stdin.unwrap_or(false);
    app.engine.tell(&container, "attach", &[]);
    Ok(hijack(request, tty, async move |connection| {
        let follower = if flag(&query, "stream") { follower } else { follower.without_waiting() };
        serve(app, container, connection, client, follower, takes_input).await;
    }))
}

async fn serve(
    app: Arc<App>,
    container: Arc<Container>,
    connection: Box<dyn Connection>,
    client: Client,
    mut follower: Follower,
    takes_input: bool,
) {
    let input = takes_input.then(|| app.streams.input(container.id(), None));
    let close = async || close_input(&app, &container).await;
    if session::serve(connection, client, &mut follower, input, close).await == Left::Detached {
        app.engine.tell(&container, "detach", &[]);
    }
}

/// Ends the input of a container, as soon as it runs.
async fn close_input(app: &App, container: &Container) {
    let mut state = container.watch();
    let ends = state.borrow().ends;
    let runs = state.wait_for(|state| state.status.alive() || state.ends != ends || state.removed);
    if !runs.await.is_ok_and(|state| state.status.alive()) {
        return;
    }
    if let Err(error) = close(app, container.id(), "").await {
        tracing::warn!(id = container.id(), "cannot end the input: {error}");
    }
}

/// Ends the input of a process; one that is gone has none.
pub(super) async fn close(app: &App, id: &str, process: &str) -> Result<()> {
    let request = CloseIoRequest { container_id: id.to_owned(), exec_id: process.to_owned(), stdin: true };
    match app.containerd.tasks().close_io(request).await.map_err(Error::from) {
        Ok(_) | Err(Error::NotFound(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

async fn logs(State(app): State<Arc<App>>, Path(id): Path<String>, query: Query) -> Result<Response> {
    let container = app.engine.find(&id)?;
    let record = container.record();
    if app.streams.driver(record.host.log_config.as_ref())? == Driver::None {
        return Err(Error::Failed("configured logging driver does not support reading".to_owned()));
    }
    let query = asked(&query, record.config.tty.unwrap_or(false))?;
    // Who waited for its end finds all it said, as its end is dealt with to the last line.
    container.rested().await;
    Ok(streamed(query.tty, app.streams.logs(container.id(), query)))
}

fn asked(query: &Query, tty: bool) -> Result<logs::Query> {
    let wanted = ["stdout", "stderr"].map(|name| flag(query, name));
    if wanted == [false, false] {
        return Err(Error::Invalid("Bad parameters: you must choose at least one stream".to_owned()));
    }
    let moment = |name: &str| match text(query, name) {
        None | Some("0") => Ok(None),
        Some(text) => match time(text) {
            Some(time) => Ok(Some(time)),
            None => Err(Error::Invalid(format!("invalid value for \"{name}\": {text:?} is no time"))),
        },
    };
    Ok(logs::Query {
        wanted,
        since: moment("since")?,
        until: moment("until")?,
        // As Docker has it: what is no number is all.
        tail: text(query, "tail").and_then(|tail| tail.parse().ok()),
        timestamps: flag(query, "timestamps"),
        follow: flag(query, "follow"),
        tty,
    })
}

/// The size of a terminal as clients give it.
pub(super) fn size(query: &Query) -> Result<(u32, u32)> {
    let side = |name: &str| {
        let text = text(query, name).unwrap_or_default();
        text.parse().map_err(|_| Error::Invalid(format!("invalid resize {name} {text:?}: it must be a number")))
    };
    Ok((side("h")?, side("w")?))
}

async fn resize(State(app): State<Arc<App>>, Path(id): Path<String>, query: Query) -> Result<StatusCode> {
    let (height, width) = size(&query)?;
    let container = app.engine.find(&id)?;
    if !container.state().status.alive() {
        return Err(Error::Conflict(format!("container {} is not running", container.id())));
    }
    resize_process(&app, container.id(), "", height, width).await?;
    app.engine.tell(&container, "resize", &[("height", height.to_string()), ("width", width.to_string())]);
    Ok(StatusCode::OK)
}

/// Tells the terminal of a process how large it is.
pub(super) async fn resize_process(app: &App, id: &str, process: &str, height: u32, width: u32) -> Result<()> {
    let request = ResizePtyRequest { container_id: id.to_owned(), exec_id: process.to_owned(), width, height };
    app.containerd.tasks().resize_pty(request).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn query(text: &str) -> Query {
        let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
        axum::extract::Query(pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect::<HashMap<_, _>>())
    }

    #[test]
    fn logs_are_asked_for_as_docker_does() {
        let asked = |text: &str| asked(&query(text), false);
        let all = asked("stdout=1&stderr=1&tail=all&since=0").unwrap();
        assert_eq!((all.wanted, all.tail, all.since, all.until, all.follow), ([true; 2], None, None, None, false));
        let some = asked("stderr=true&tail=5&since=1.5&until=2&timestamps=1&follow=1").unwrap();
        assert_eq!((some.wanted, some.tail), ([false, true], Some(5)));
        assert_eq!((some.since, some.until), (Some(1_500_000_000), Some(2_000_000_000)));
        assert!(some.timestamps && some.follow);
        assert!(asked("tail=5").is_err());
        assert!(asked("stdout=1&since=yesterday").is_err());
    }

    #[test]
    fn a_terminal_has_two_sides() {
        assert_eq!(size(&query("h=24&w=80")).unwrap(), (24, 80));
        assert!(size(&query("h=24")).is_err());
        assert!(size(&query("h=24&w=-1")).is_err());
    }
}
