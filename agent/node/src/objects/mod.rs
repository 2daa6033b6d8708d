//! Owns reading objects of the API for pods: secrets and config maps by GET with a short cache (the
//! node authorizer allows no list), services by one shared watch.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service};

/// Why an object cannot be had.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ObjectError {
    /// There is none of that name.
    #[error("{kind} \"{name}\" not found")]
    NotFound {
        /// `configmap` or `secret`.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// The API did not say.
    #[error("cannot read {kind} \"{name}\": {message}")]
    Failed {
        /// `configmap` or `secret`.
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
}

impl Objects {
    /// Reads by way of `client`.
    pub fn new(client: kube::Client) -> Self {
        Self { client }
    }

    /// A config map; at most some seconds old, or as of now when `fresh`.
    pub async fn config_map(&self, namespace: &str, name: &str, fresh: bool) -> Result<Arc<ConfigMap>, ObjectError> {
        let _ = (&self.client, namespace, name, fresh);
        todo!()
    }

    /// A secret; at most some seconds old, or as of now when `fresh`.
    pub async fn secret(&self, namespace: &str, name: &str, fresh: bool) -> Result<Arc<Secret>, ObjectError> {
        let _ = (namespace, name, fresh);
        todo!()
    }

    /// All services of the cluster as the watch last showed them, after its first list.
    pub async fn services(&self) -> Vec<Arc<Service>> {
        todo!()
    }
}
