//! Owns what every part of the node is given: settings, the way to the API, the way to containerd.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Node;
use tokio::sync::watch;

use crate::cgroups::Cgroups;
use crate::config::Settings;
use crate::cri::Cri;
use crate::events::Recorder;
use crate::objects::Objects;
use crate::pods::Registry;

/// What every part of the node is given; cheap to clone by its `Arc`.
pub struct Context {
    /// The validated configuration.
    pub settings: Settings,
    /// The API. It takes a renewed certificate for new connections by itself.
    pub client: kube::Client,
    /// containerd.
    pub cri: Cri,
    /// Events that people see in `kubectl describe`.
    pub events: Recorder,
    /// Secrets, config maps, services, this node: read through a cache.
    pub objects: Objects,
    /// The pods of this node as they are now.
    pub pods: Arc<Registry>,
    /// The cgroups of pods.
    pub cgroups: Cgroups,
    /// This node as the API last showed it; nothing before it was registered.
    pub node: watch::Sender<Option<Arc<Node>>>,
}
