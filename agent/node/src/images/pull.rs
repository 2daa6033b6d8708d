//! Owns pulling: those who want the same image at the same time wait for one pull.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use crate::cri::{Cri, CriError, v1};

/// A pull that ended, and what came of it.
#[derive(Debug, Clone)]
struct Ended {
    at: Instant,
    result: Result<Pulled, String>,
}

/// An image that was pulled.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pulled {
    /// The image as the CRI describes it.
    pub image: v1::Image,
    /// How long it took.
    pub took: Duration,
}

/// One image with some credentials; who pulls it holds the lock.
type Slot = tokio::sync::Mutex<Option<Ended>>;

/// Pulls that run.
#[derive(Default)]
pub(super) struct Pulls {
    slots: Mutex<HashMap<String, Weak<Slot>>>,
}

impl Pulls {
    /// Pulls an image, trying each of the credentials, or waits for somebody who does so already. The
    /// error is containerd's words.
    pub(super) async fn pull(
        &self,
        cri: &Cri,
        image: &str,
        credentials: Vec<v1::AuthConfig>,
        sandbox: &v1::PodSandboxConfig,
    ) -> Result<Pulled, String> {
        let asked = Instant::now();
        let slot = self.slot(&key(image, &credentials));
        let mut ended = slot.lock().await;
        if let Some(ended) = ended.as_ref().filter(|ended| ended.at >= asked) {
            return ended.result.clone();
        }
        let began = Instant::now();
        let result = with_any(cri, image, credentials, sandbox).await;
        let result = result.map(|image| Pulled { image, took: began.elapsed() });
        *ended = Some(Ended { at: Instant::now(), result: result.clone() });
        result
    }

    fn slot(&self, key: &str) -> Arc<Slot> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = slots.get(key).and_then(Weak::upgrade) {
            return slot;
        }
        slots.retain(|_, slot| slot.strong_count() > 0);
        let slot = Arc::<Slot>::default();
        slots.insert(key.to_owned(), Arc::downgrade(&slot));
        slot
    }
}

/// Nobody gets what was pulled with somebody else's credentials.
fn key(image: &str, credentials: &[v1::AuthConfig]) -> String {
    let who = credentials.iter().map(|auth| format!("\n{}\n{}", auth.username, auth.password));
    std::iter::once(image.to_owned()).chain(who).collect()
}

async fn with_any(
    cri: &Cri,
    image: &str,
    credentials: Vec<v1::AuthConfig>,
    sandbox: &v1::PodSandboxConfig,
) -> Result<v1::Image, String> {
    let mut attempts: Vec<_> = credentials.into_iter().map(Some).collect();
    if attempts.is_empty() {
        attempts.push(None);
    }
    let annotations = sandbox.annotations.clone();
    let spec = v1::ImageSpec { image: image.to_owned(), annotations, ..Default::default() };
    let mut errors: Vec<String> = Vec::new();
    for auth in attempts {
        let request = v1::PullImageRequest { image: Some(spec.clone()), auth, sandbox_config: Some(sandbox.clone()) };
        match cri.pull_image(request).await {
            Ok(pulled) => return described(cri, &pulled.image_ref).await,
            Err(error) => errors.push(error.to_string()),
        }
    }
    errors.dedup();
    Err(errors.join(", "))
}

async fn described(cri: &Cri, id: &str) -> Result<v1::Image, String> {
    match status(cri, id).await {
        Ok(Some(image)) => Ok(image),
        Ok(None) => Err(format!("image {id} was pulled and is gone already")),
        Err(error) => Err(error.to_string()),
    }
}

/// An image as the CRI describes it, if it is there.
pub(super) async fn status(cri: &Cri, image: &str) -> Result<Option<v1::Image>, CriError> {
    let image = Some(v1::ImageSpec { image: image.to_owned(), ..Default::default() });
    Ok(cri.image_status(v1::ImageStatusRequest { image, verbose: false }).await?.image)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_part_pulls() {
        let auth = |username: &str| v1::AuthConfig { username: username.into(), ..Default::default() };
        assert_eq!(key("i", &[]), "i");
        assert_ne!(key("i", &[auth("a")]), key("i", &[auth("b")]));
        assert_eq!(key("i", &[auth("a")]), key("i", &[auth("a")]));
    }

    #[test]
    fn pulls_are_shared_while_they_run() {
        let pulls = Pulls::default();
        let first = pulls.slot("i");
        assert!(Arc::ptr_eq(&first, &pulls.slot("i")));
        drop(first);
        drop(pulls.slot("j"));
        assert_eq!(pulls.slots.lock().unwrap().len(), 1);
    }
}
