//! Owns events that people see in `kubectl describe`: [`Recorder`] sends them, in the background and
//! with repetitions counted in one object, and never holds up or fails who records.

use k8s_openapi::api::core::v1::{Node, ObjectReference, Pod};

/// How serious an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// All is well.
    Normal,
    /// Somebody should look.
    Warning,
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
    pub reason: &'static str,
    /// A sentence.
    pub message: String,
}

impl Recorder {
    /// A recorder, and the records it takes, for [`run`].
    pub fn new() -> (Self, tokio::sync::mpsc::Receiver<Record>) {
        let (sender, receiver) = tokio::sync::mpsc::channel(1024);
        (Self { sender }, receiver)
    }

    /// Something happened to a pod, or to one of its containers.
    pub fn pod(&self, pod: &Pod, container: Option<&str>, kind: Kind, reason: &'static str, message: String) {
        let about = ObjectReference {
            api_version: Some("v1".into()),
            kind: Some("Pod".into()),
            name: pod.metadata.name.clone(),
            namespace: pod.metadata.namespace.clone(),
            uid: pod.metadata.uid.clone(),
            resource_version: pod.metadata.resource_version.clone(),
            field_path: container.map(|name| format!("spec.containers{{{name}}}")),
        };
        self.send(Record { about, kind, reason, message });
    }

    /// Something happened to this node.
    pub fn node(&self, node: &Node, kind: Kind, reason: &'static str, message: String) {
        let name = node.metadata.name.clone();
        // As the kubelet does: events about a node carry its name for a UID.
        let about = ObjectReference { kind: Some("Node".into()), uid: name.clone(), name, ..Default::default() };
        self.send(Record { about, kind, reason, message });
    }

    fn send(&self, record: Record) {
        tracing::info!(
            about = record.about.name.as_deref().unwrap_or_default(),
            reason = record.reason,
            "{}",
            record.message
        );
        // Full only when the API has been away for long: then old news is lost, not pods.
        let _ = self.sender.try_send(record);
    }
}
