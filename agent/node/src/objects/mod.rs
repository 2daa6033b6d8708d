//! Owns reading objects of the API for pods: secrets and config maps by GET with a short [`cache`] (the
//! node authorizer allows no list), services by one shared watch.

mod cache;
mod services;

use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service};
use k8s_openapi::api::node::v1::RuntimeClass;
use k8s_openapi::{ClusterResourceScope, NamespaceResourceScope};
use kube::Api;
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use cache::{Cache, Weigh};
use services::Services;

/// How long who asks first waits for services to be listed.
const FIRST_LIST: Duration = Duration::from_secs(5);
/// How long to go on asking for what the API does not yet know that this node may read: it learns of a
/// pod's binding about when the node does.
const NOT_YET: [Duration; 5] = [
    Duration::from_millis(20),
    Duration::from_millis(60),
    Duration::from_millis(150),
    Duration::from_millis(300),
    Duration::from_millis(600),
];

/// Why an object cannot be had.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ObjectError {
    /// There is none of that name.
    #[error("{kind} \"{name}\" not found")]
    NotFound {
        /// `configmap`, `secret` or `runtimeclass`.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// The API did not say.
    #[error("cannot read {kind} \"{name}\": {message}")]
    Failed {
        /// `configmap`, `secret` or `runtimeclass`.
        kind: &'static str,
        /// Its name.
        name: String,
        /// The API's words.
        message: String,
    },
}

/// Reads objects of the API.
pub struct Objects {
    client: kube::Client,
    config_maps: Cache<ConfigMap>,
    secrets: Cache<Secret>,
    runtime_classes: Cache<RuntimeClass>,
    services: Services,
}

impl Objects {
    /// Reads by way of `client`.
    pub fn new(client: kube::Client) -> Self {
        Self {
            client,
            config_maps: Cache::default(),
            secrets: Cache::default(),
            runtime_classes: Cache::default(),
            services: Services::default(),
        }
    }

    /// A config map; at most some seconds old, or as of now when `fresh`. While the API does not answer
    /// it is as it was last read.
    pub async fn config_map(&self, namespace: &str, name: &str, fresh: bool) -> Result<Arc<ConfigMap>, ObjectError> {
        let api = self.namespaced(namespace);
        self.config_maps.get(namespace, name, fresh, || get(&api, "configmap", name)).await
    }

    /// A secret; at most some seconds old, or as of now when `fresh`. While the API does not answer it is
    /// as it was last read.
    pub async fn secret(&self, namespace: &str, name: &str, fresh: bool) -> Result<Arc<Secret>, ObjectError> {
        let api = self.namespaced(namespace);
        self.secrets.get(namespace, name, fresh, || get(&api, "secret", name)).await
    }

    /// A RuntimeClass; at most some seconds old.
    pub async fn runtime_class(&self, name: &str) -> Result<Arc<RuntimeClass>, ObjectError> {
        let api = self.cluster_wide();
        self.runtime_classes.get("", name, false, || get(&api, "runtimeclass", name)).await
    }

    /// All services of the cluster as the watch last showed them, after its first list; if that does not
    /// come within some seconds, none.
    pub async fn services(&self) -> Vec<Arc<Service>> {
        self.services.known_within(FIRST_LIST).await;
        self.services.all()
    }

    /// One service, as [`Self::services`] has it.
    pub async fn service(&self, namespace: &str, name: &str) -> Option<Arc<Service>> {
        self.services.known_within(FIRST_LIST).await;
        self.services.get(namespace, name)
    }

    /// Whether services were listed at least once, after some seconds in which they may be.
    pub async fn services_listed(&self) -> bool {
        self.services.known_within(FIRST_LIST).await;
        self.services.known()
    }

    /// Whether services were listed at least once.
    pub fn services_known(&self) -> bool {
        self.services.known()
    }

    /// Changes whenever a service does, and when they are all known for the first time; the value counts
    /// changes and is 0 before that.
    pub fn services_changed(&self) -> watch::Receiver<u64> {
        self.services.changed()
    }

    /// Watches services for ever. To be run once, beside everything else.
    pub async fn watch_services(&self) {
        self.services.watch(self.client.clone()).await;
    }

    fn namespaced<K>(&self, namespace: &str) -> Api<K>
    where
        K: kube::Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), namespace)
    }

    fn cluster_wide<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = ClusterResourceScope, DynamicType = ()>,
    {
        Api::all(self.client.clone())
    }
}

/// Reads one object.
async fn get<K>(api: &Api<K>, kind: &'static str, name: &str) -> Result<K, ObjectError>
where
    K: Clone + DeserializeOwned + std::fmt::Debug + Weigh,
{
    let mut pauses = NOT_YET.iter();
    let began = Instant::now();
    loop {
        let error = match api.get(name).await {
            Ok(mut object) => {
                object.slim();
                return Ok(object);
            }
            Err(error) => error,
        };
        let code = match &error {
            kube::Error::Api(status) => status.code,
            _ => 0,
        };
        match (code, pauses.next()) {
            (404, _) => return Err(ObjectError::NotFound { kind, name: name.to_owned() }),
            (403, Some(pause)) => tokio::time::sleep(*pause).await,
            _ => {
                let took = began.elapsed();
                tracing::debug!(kind, name, ?took, "the API did not give an object: {error}");
                return Err(ObjectError::Failed { kind, name: name.to_owned(), message: words(&error) });
            }
        }
    }
}

/// What the API, or the way to it, says.
fn words(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}
