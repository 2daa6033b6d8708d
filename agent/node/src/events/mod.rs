//! Owns events that people see in `kubectl describe`: [`Recorder`] sends them, in the background and
//! with repetitions counted in one object, and never holds up or fails who records.

mod correlate;
mod recent;
mod send;

use jiff::Timestamp;
use std::borrow::Cow;

use k8s_openapi::api::core::v1::{Node, ObjectReference, Pod};

pub use send::run;

/// How serious an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// All is well.
    Normal,
    /// Somebody should look.
    Warning,
}

impl Kind {
    /// As the API writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// Sends events.
#[derive(Debug, Clone)]
pub struct Recorder {
    sender: tokio::sync::mpsc::Sender<Record>,
}

/// One thing that happened.
#[derive(Debug, Clone)]
pub struct Record {
    /// What it happened to.
    pub about: ObjectReference,
    /// How serious it is.
    pub kind: Kind,
    /// One word, as the kubelet has it: `Pulled`, `BackOff`, `Unhealthy`.
    pub reason: Cow<'static, str>,
    /// A sentence.
    pub message: String,
    /// When.
    pub at: Timestamp,
}

impl Recorder {
    /// A recorder, and the records it takes, for [`run`].
    pub fn new() -> (Self, tokio::sync::mpsc::Receiver<Record>) {
        let (sender, receiver) = tokio::sync::mpsc::channel(1024);
        (Self { sender }, receiver)
    }

    /// Something happened to a pod, or to one of its containers.
    pub fn pod(
        &self,
        pod: &Pod,
        container: Option<&str>,
        kind: Kind,
        reason: impl Into<Cow<'static, str>>,
        message: String,
    ) {
        self.about(reference(pod, container), kind, reason, message);
    }

    /// Something happened to this node.
    pub fn node(&self, node: &Node, kind: Kind, reason: impl Into<Cow<'static, str>>, message: String) {
        let name = node.metadata.name.clone();
        // As the kubelet does: events about a node carry its name for a UID.
        let about = ObjectReference { kind: Some("Node".into()), uid: name.clone(), name, ..Default::default() };
        self.about(about, kind, reason, message);
    }

    /// Something happened to what is referred to; for who keeps a [`reference`] rather than the pod.
    pub fn about(&self, about: ObjectReference, kind: Kind, reason: impl Into<Cow<'static, str>>, message: String) {
        let reason = reason.into();
        tracing::info!(about = about.name.as_deref().unwrap_or_default(), %reason, "{message}");
        let record = Record { about, kind, reason, message, at: Timestamp::now() };
        // Full only when the API has been away for long: then news is lost, not pods.
        let _ = self.sender.try_send(record);
    }
}

/// What events about a pod, or about a container of it, refer to.
pub fn reference(pod: &Pod, container: Option<&str>) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".into()),
        kind: Some("Pod".into()),
        name: pod.metadata.name.clone(),
        namespace: pod.metadata.namespace.clone(),
        uid: pod.metadata.uid.clone(),
        resource_version: pod.metadata.resource_version.clone(),
        field_path: container.map(|name| field_path(pod, name)),
    }
}

/// Where in the pod a container of that name stands.
fn field_path(pod: &Pod, name: &str) -> String {
    let spec = pod.spec.as_ref();
    let is_init = spec.and_then(|spec| spec.init_containers.as_ref());
    let is_init = is_init.is_some_and(|containers| containers.iter().any(|container| container.name == name));
    let is_ephemeral = spec.and_then(|spec| spec.ephemeral_containers.as_ref());
    let is_ephemeral = is_ephemeral.is_some_and(|containers| containers.iter().any(|container| container.name == name));
    let list = match (is_init, is_ephemeral) {
        (true, _) => "initContainers",
        (false, true) => "ephemeralContainers",
        (false, false) => "containers",
    };
    format!("spec.{list}{{{name}}}")
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{Container, EphemeralContainer, PodSpec};

    use super::*;

    #[test]
    fn says_where_a_container_stands() {
        let named = |name: &str| Container { name: name.into(), ..Default::default() };
        let spec = PodSpec {
            containers: vec![named("web")],
            init_containers: Some(vec![named("setup")]),
            ephemeral_containers: Some(vec![EphemeralContainer { name: "debug".into(), ..Default::default() }]),
            ..Default::default()
        };
        let pod = Pod { spec: Some(spec), ..Default::default() };
        assert_eq!(field_path(&pod, "web"), "spec.containers{web}");
        assert_eq!(field_path(&pod, "setup"), "spec.initContainers{setup}");
        assert_eq!(field_path(&pod, "debug"), "spec.ephemeralContainers{debug}");
        assert_eq!(reference(&pod, None).field_path, None);
    }

    #[tokio::test]
    async fn loses_news_rather_than_hold_up_who_records() {
        let (recorder, mut receiver) = Recorder::new();
        for count in 0..2000 {
            recorder.pod(&Pod::default(), None, Kind::Normal, "Pulled", count.to_string());
        }
        let first = receiver.recv().await.map(|record| record.message);
        assert_eq!(first.as_deref(), Some("0"));
        assert_eq!(receiver.len(), 1023);
    }
}
