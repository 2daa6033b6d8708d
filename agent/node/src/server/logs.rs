//! Owns /containerLogs: which log of a container is meant, or why there is none.

use std::path::PathBuf;
use std::sync::Arc;

use hyper::StatusCode;
use k8s_openapi::api::core::v1::{ContainerState as StatusState, ContainerStatus, PodStatus};
use tokio::sync::mpsc;

use super::address::Address;
use super::reply::{self, Refusal, Response};
use super::route::Named;
use crate::context::Context;
use crate::cri::v1::ContainerState;
use crate::logs::{Options, OptionsError, Source, send};
use crate::pods::PodView;

/// Answers with a log, as it is or as it grows.
pub(super) fn answer(context: &Arc<Context>, named: Named<'_>, address: &Address) -> Result<Response, Refusal> {
    let options = Options::parse(&address.query, jiff::Timestamp::now()).map_err(|error| match error {
        OptionsError::Undecodable => Refusal::bad(error.to_string()),
        OptionsError::Invalid => Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, error.to_string()),
    })?;
    let (name, pod) = (named.container, named.pod);
    let view = context.pods.by_name(named.namespace, pod);
    let view = view.ok_or_else(|| Refusal::not_found(format!("pod {pod:?} does not exist")))?;
    if !has(&view, name) {
        return Err(Refusal::not_found(format!("container {name:?} not found in pod {pod:?}")));
    }
    let id = choose(&view.status, pod, name, options.previous).map_err(Refusal::bad)?;
    let source = path(&view, name, &id).map(|path| Source::open(path, &options));
    let Some(Ok(source)) = source else {
        tracing::debug!(?source, pod, container = name, "a log is not there");
        return Err(Refusal::bad(format!("unable to retrieve container logs for containerd://{id}")));
    };
    let (context, uid, name) = (context.clone(), view.uid().to_owned(), name.to_owned());
    let alive = move || {
        let view = context.pods.by_uid(&uid);
        let container = view.as_ref().and_then(|view| view.container(&name));
        container.is_some_and(|found| {
            found.id == id && matches!(found.state, ContainerState::ContainerCreated | ContainerState::ContainerRunning)
        })
    };
    let (sender, receiver) = mpsc::channel(4);
    tokio::spawn(async move {
        if let Err(error) = send(source, options, alive, sender.clone()).await {
            tracing::warn!(%error, "cannot read a log on");
            let _ = sender.send(Err(error)).await;
        }
    });
    Ok(reply::pieces(receiver))
}

/// Whether the pod's spec has a container of that name.
fn has(view: &PodView, name: &str) -> bool {
    let Some(spec) = &view.pod.spec else { return false };
    let ephemeral = spec.ephemeral_containers.iter().flatten().map(|container| &container.name);
    let others = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    others.map(|container| &container.name).chain(ephemeral).any(|found| found == name)
}

/// Where the log of container `id` is: of the newest, or else of the one before it.
fn path(view: &PodView, name: &str, id: &str) -> Option<PathBuf> {
    let newest = view.container(name)?;
    if newest.id == id {
        return Some(newest.log.clone());
    }
    Some(newest.log.with_file_name(format!("{}.log", newest.restarts.checked_sub(1)?)))
}

/// The id of the container whose log is meant, by the pod's status; or why there is none, in the kubelet's
/// words, which people and their tools know.
fn choose(status: &PodStatus, pod: &str, name: &str, previous: bool) -> Result<String, String> {
    let lists =
        [&status.container_statuses, &status.init_container_statuses, &status.ephemeral_container_statuses];
    let found = lists.iter().flat_map(|list| list.iter().flatten()).find(|status| status.name == name);
    let status = found.ok_or_else(|| format!("container {name:?} in pod {pod:?} is not available"))?;
    let last = status.last_state.as_ref().and_then(terminated);
    if previous {
        let missing = || format!("previous terminated container {name:?} in pod {pod:?} not found");
        return last.flatten().ok_or_else(missing);
    }
    let state = status.state.clone().unwrap_or_default();
    if state.running.is_some() {
        return current(status).ok_or_else(|| format!("container {name:?} in pod {pod:?} is not available"));
    }
    // A container that was never made ended without an id: then the one before it is meant.
    if let Some(ended) = terminated(&state).or(last) {
        let ended = ended.or(last_id(status));
        return ended.ok_or_else(|| format!("container {name:?} in pod {pod:?} is terminated"));
    }
    let waiting = format!("container {name:?} in pod {pod:?} is waiting to start");
    Err(match state.waiting {
        Some(waits) => match waits.reason.unwrap_or_default().as_str() {
            "ErrImagePull" => format!("{waiting}: image can't be pulled"),
            "ImagePullBackOff" => format!("{waiting}: trying and failing to pull image"),
            reason => format!("{waiting}: {reason}"),
        },
        None => format!("{waiting} - no logs yet"),
    })
}

/// Whether it ended, and then its id, if it was made at all.
fn terminated(state: &StatusState) -> Option<Option<String>> {
    let ended = state.terminated.as_ref()?;
    Some(ended.container_id.as_deref().and_then(bare))
}

fn last_id(status: &ContainerStatus) -> Option<String> {
    status.last_state.as_ref().and_then(terminated).flatten()
}

fn current(status: &ContainerStatus) -> Option<String> {
    status.container_id.as_deref().and_then(bare)
}

/// The id in `containerd://ID`.
fn bare(id: &str) -> Option<String> {
    let id = id.split_once("://").map_or(id, |(_, id)| id);
    (!id.is_empty()).then(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting};

    use super::*;

    fn ended(id: &str) -> StatusState {
        let id = (!id.is_empty()).then(|| format!("containerd://{id}"));
        let terminated = ContainerStateTerminated { container_id: id, ..Default::default() };
        StatusState { terminated: Some(terminated), ..Default::default() }
    }

    fn waits(reason: &str) -> StatusState {
        let waiting = ContainerStateWaiting { reason: Some(reason.into()), message: None };
        StatusState { waiting: Some(waiting), ..Default::default() }
    }

    fn runs() -> StatusState {
        StatusState { running: Some(ContainerStateRunning::default()), ..Default::default() }
    }

    fn chosen(state: StatusState, last: Option<StatusState>, previous: bool) -> Result<String, String> {
        let status = ContainerStatus {
            name: "c".into(),
            container_id: Some("containerd://now".into()),
            state: Some(state),
            last_state: last,
            ..Default::default()
        };
        let status = PodStatus { init_container_statuses: Some(vec![status]), ..Default::default() };
        choose(&status, "p", "c", previous)
    }

    #[test]
    fn the_log_that_is_meant() {
        assert_eq!(chosen(runs(), Some(ended("old")), false).as_deref(), Ok("now"));
        assert_eq!(chosen(runs(), Some(ended("old")), true).as_deref(), Ok("old"));
        assert_eq!(chosen(ended("now"), None, false).as_deref(), Ok("now"));
        assert_eq!(chosen(ended(""), Some(ended("old")), false).as_deref(), Ok("old"));
        assert_eq!(chosen(waits("CrashLoopBackOff"), Some(ended("old")), false).as_deref(), Ok("old"));
    }

    #[test]
    fn why_there_is_none() {
        for (result, expected) in [
            (chosen(waits("ContainerCreating"), None, false), "container \"c\" in pod \"p\" is waiting to start: ContainerCreating"),
            (chosen(waits("ErrImagePull"), None, false), "container \"c\" in pod \"p\" is waiting to start: image can't be pulled"),
            (
                chosen(waits("ImagePullBackOff"), None, false),
                "container \"c\" in pod \"p\" is waiting to start: trying and failing to pull image",
            ),
            (chosen(StatusState::default(), None, false), "container \"c\" in pod \"p\" is waiting to start - no logs yet"),
            (chosen(runs(), None, true), "previous terminated container \"c\" in pod \"p\" not found"),
            (chosen(ended(""), None, false), "container \"c\" in pod \"p\" is terminated"),
            (choose(&PodStatus::default(), "p", "c", false), "container \"c\" in pod \"p\" is not available"),
        ] {
            assert_eq!(result.expect_err("none"), expected);
        }
    }
}
