//! Owns images of pods: pull policies, credentials, backoff, events; and their garbage collection.

mod backoff;
mod collect;
mod credentials;
mod pull;
mod reference;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{Container, Pod};

use crate::context::Context;
use crate::cri::v1;
use crate::events::Kind;
use backoff::Backoff;
use collect::Ages;
pub use collect::Policy;
use credentials::Keyring;
use pull::{Pulled, Pulls};
use reference::Reference;

/// When to look again after a failure, so that the state says that the pull waits.
const SOON: Duration = Duration::from_secs(2);
/// When to try again what somebody must mend.
const LATER: Duration = Duration::from_secs(60);
/// When to try again what containerd should be able to say.
const INSPECT: Duration = Duration::from_secs(10);

/// Why a container has no image yet: reason and message of its waiting state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ImageError {
    /// As the kubelet has it: `ErrImagePull`, `ImagePullBackOff`, `ErrImageNeverPull`, `InvalidImageName`.
    pub reason: &'static str,
    /// A sentence.
    pub message: String,
    /// When it makes sense to try again.
    pub retry: Duration,
}

/// Brings images.
pub struct Images {
    context: Arc<Context>,
    pulls: Pulls,
    backoff: Mutex<Backoff>,
    ages: tokio::sync::Mutex<Ages>,
}

/// When an image is pulled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    Always,
    Missing,
    Never,
}

/// What a container asks for.
struct Wanted<'a> {
    pod: &'a Pod,
    container: &'a Container,
    /// The image as the container names it, and with its default tag.
    given: &'a str,
    name: String,
    reference: Reference,
}

impl Images {
    /// Nothing known yet.
    pub fn new(context: Arc<Context>) -> Self {
        let ages = tokio::sync::Mutex::default();
        Self { context, pulls: Pulls::default(), backoff: Mutex::default(), ages }
    }

    /// Sees to it that the container's image is there, by its pull policy; gives the image as the CRI
    /// describes it (its `id` is what a container is made with). Records `Pulling`, `Pulled`, `Failed`, `BackOff`.
    pub async fn ensure(
        &self,
        pod: &Pod,
        container: &Container,
        sandbox: &v1::PodSandboxConfig,
    ) -> Result<v1::Image, ImageError> {
        let brought = self.brought(pod, container, sandbox).await;
        if let Err(error) = &brought {
            self.tell(pod, container, Kind::Warning, "Failed", format!("Error: {}", error.reason));
        }
        brought
    }

    async fn brought(
        &self,
        pod: &Pod,
        container: &Container,
        sandbox: &v1::PodSandboxConfig,
    ) -> Result<v1::Image, ImageError> {
        let given = container.image.as_deref().unwrap_or_default();
        let reference = Reference::parse(given).map_err(|why| {
            let message = format!("Failed to apply default image tag {given:?}: {why}");
            self.tell(pod, container, Kind::Warning, "InspectFailed", message.clone());
            ImageError { reason: "InvalidImageName", message, retry: LATER }
        })?;
        let wanted = Wanted { pod, container, given, name: reference.tagged(given), reference };
        let when = when(container, &wanted.reference);
        if when != When::Always
            && let Some(image) = self.present(&wanted).await?
        {
            return Ok(image);
        }
        if when == When::Never {
            let message = format!("Container image {given:?} is not present with pull policy of Never");
            self.tell(pod, container, Kind::Warning, "ErrImageNeverPull", message.clone());
            return Err(ImageError { reason: "ErrImageNeverPull", message, retry: LATER });
        }
        self.pulled(&wanted, sandbox).await
    }

    async fn present(&self, wanted: &Wanted<'_>) -> Result<Option<v1::Image>, ImageError> {
        let Wanted { pod, container, given, name, .. } = wanted;
        let image = pull::status(&self.context.cri, name).await.map_err(|why| {
            let message = format!("Failed to inspect image {given:?}: {why}");
            self.tell(pod, container, Kind::Warning, "InspectFailed", message.clone());
            ImageError { reason: "ImageInspectError", message, retry: INSPECT }
        })?;
        if image.is_some() {
            let message = format!("Container image {given:?} already present on machine");
            self.tell(pod, container, Kind::Normal, "Pulled", message);
        }
        Ok(image)
    }

    async fn pulled(&self, wanted: &Wanted<'_>, sandbox: &v1::PodSandboxConfig) -> Result<v1::Image, ImageError> {
        let Wanted { pod, container, given, name, reference } = wanted;
        let uid = pod.metadata.uid.as_deref().unwrap_or_default();
        let waiting = self.backoff().waiting(uid, given, Instant::now());
        if let Some((retry, why)) = waiting {
            let message = format!("Back-off pulling image {given:?}");
            self.tell(pod, container, Kind::Normal, "BackOff", message.clone());
            return Err(ImageError { reason: "ImagePullBackOff", message: format!("{message}: {why}"), retry });
        }
        let credentials = self.credentials(pod, &reference.repository).await;
        self.tell(pod, container, Kind::Normal, "Pulling", format!("Pulling image {given:?}"));
        let began = Instant::now();
        match self.pulls.pull(&self.context.cri, name, credentials, sandbox).await {
            Ok(Pulled { image, took }) => {
                self.backoff().succeeded(uid, given);
                let (took, whole) = (seconds(took), seconds(began.elapsed()));
                let size = image.size;
                let message = format!(
                    "Successfully pulled image {given:?} in {took} ({whole} including waiting). \
                     Image size: {size} bytes."
                );
                self.tell(pod, container, Kind::Normal, "Pulled", message);
                Ok(image)
            }
            Err(words) => {
                let message = format!("Failed to pull image {given:?}: {words}");
                self.tell(pod, container, Kind::Warning, "Failed", message);
                let (reason, message) = explained(given, &words);
                self.backoff().failed(uid, given, format!("{reason}: {message}"), Instant::now());
                Err(ImageError { reason, message, retry: SOON })
            }
        }
    }

    /// What the pod's secrets and the host's own files have for a repository. A secret that is not there may not be needed.
    async fn credentials(&self, pod: &Pod, repository: &str) -> Vec<v1::AuthConfig> {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let secrets = pod.spec.as_ref().and_then(|spec| spec.image_pull_secrets.as_deref()).unwrap_or_default();
        let mut keyring = Keyring::default();
        let mut missing = Vec::new();
        for name in secrets.iter().map(|secret| &secret.name).filter(|name| !name.is_empty()) {
            let added = match self.context.objects.secret(namespace, name, false).await {
                Ok(secret) => keyring.add(&secret),
                Err(error) => Err(error.to_string()),
            };
            if let Err(error) = added {
                tracing::warn!(namespace, secret = name, "cannot use an image pull secret: {error}");
                missing.push(name.as_str());
            }
        }
        if !missing.is_empty() {
            let message = format!(
                "Unable to retrieve some image pull secrets ({}); attempting to pull the image may not succeed.",
                missing.join(", ")
            );
            self.context.events.pod(pod, None, Kind::Warning, "FailedToRetrieveImagePullSecret", message);
        }
        // Who the host is counts after who the pod is.
        for path in &self.context.settings.registry_auth {
            let added = match tokio::fs::read(path).await {
                Ok(json) => keyring.add_file(&json),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
                Err(error) => Err(error.to_string()),
            };
            if let Err(error) = added {
                tracing::warn!(file = %path.display(), "cannot use the host's own credentials of registries: {error}");
            }
        }
        keyring.lookup(repository)
    }

    fn tell(&self, pod: &Pod, container: &Container, kind: Kind, reason: &'static str, message: String) {
        self.context.events.pod(pod, Some(&container.name), kind, reason, message);
    }

    fn backoff(&self) -> MutexGuard<'_, Backoff> {
        self.backoff.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn when(container: &Container, reference: &Reference) -> When {
    match container.image_pull_policy.as_deref() {
        Some("Always") => When::Always,
        Some("IfNotPresent") => When::Missing,
        Some("Never") => When::Never,
        _ if reference.is_latest() => When::Always,
        _ => When::Missing,
    }
}

/// Reason and message of a pull that failed; containerd's words begin with the reason where it has one.
fn explained(image: &str, words: &str) -> (&'static str, String) {
    if let Some(rest) = words.strip_prefix("RegistryUnavailable") {
        let message = format!("image pull failed for {image} because the registry is unavailable{rest}");
        return ("RegistryUnavailable", message);
    }
    if let Some(rest) = words.strip_prefix("SignatureValidationFailed") {
        let message = format!("image pull failed for {image} because the signature validation failed{rest}");
        return ("SignatureValidationFailed", message);
    }
    ("ErrImagePull", words.to_owned())
}

fn seconds(time: Duration) -> String {
    match time.as_secs() {
        0 => format!("{}ms", time.as_millis()),
        _ => format!("{:.3}s", time.as_secs_f64()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tag_decides_where_nothing_is_said() {
        let decided = |image: &str, policy: Option<&str>| {
            let container = Container { image_pull_policy: policy.map(str::to_owned), ..Default::default() };
            when(&container, &Reference::parse(image).unwrap())
        };
        assert_eq!(decided("a", None), When::Always);
        assert_eq!(decided("a:1", None), When::Missing);
        assert_eq!(decided("a:1", Some("Always")), When::Always);
        assert_eq!(decided("a", Some("IfNotPresent")), When::Missing);
        assert_eq!(decided("a", Some("Never")), When::Never);
    }

    #[test]
    fn reasons_of_containerd_are_passed_on() {
        let (reason, message) = explained("a:1", "RegistryUnavailable: no route");
        assert_eq!(reason, "RegistryUnavailable");
        assert_eq!(message, "image pull failed for a:1 because the registry is unavailable: no route");
        assert_eq!(explained("a", "SignatureValidationFailed").0, "SignatureValidationFailed");
        assert_eq!(explained("a", "not found"), ("ErrImagePull", "not found".to_owned()));
    }

    #[test]
    fn times_are_short() {
        assert_eq!(seconds(Duration::from_millis(12)), "12ms");
        assert_eq!(seconds(Duration::from_micros(1_234_567)), "1.235s");
    }
}
