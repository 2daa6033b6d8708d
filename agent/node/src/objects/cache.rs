//! Owns [`Cache`]: objects as they were read lately, so that many who need one at once read it once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::api::node::v1::RuntimeClass;

use super::ObjectError;

/// How old an object may be for those who do not want it fresh.
const AGE: Duration = Duration::from_secs(5);
/// How long a large object is kept after somebody asked for it.
const KEPT: Duration = Duration::from_secs(60);
/// Smaller objects, in bytes, are kept for the time when the API does not answer ...
const SMALL: usize = 4096;
/// ... as long as they are not more than this together.
const ALL: usize = 1 << 20;

/// What an object takes of memory, about.
pub(super) trait Weigh {
    /// Bytes of its content.
    fn weight(&self) -> usize;
    /// Drops what nobody reads.
    fn slim(&mut self);
}

impl Weigh for ConfigMap {
    fn weight(&self) -> usize {
        let text = self.data.iter().flatten().map(|(key, value)| key.len() + value.len());
        let binary = self.binary_data.iter().flatten().map(|(key, value)| key.len() + value.0.len());
        text.chain(binary).sum()
    }

    fn slim(&mut self) {
        self.metadata.managed_fields = None;
    }
}

impl Weigh for Secret {
    fn weight(&self) -> usize {
        self.data.iter().flatten().map(|(key, value)| key.len() + value.0.len()).sum()
    }

    fn slim(&mut self) {
        self.metadata.managed_fields = None;
    }
}

impl Weigh for RuntimeClass {
    fn weight(&self) -> usize {
        self.handler.len()
    }

    fn slim(&mut self) {
        self.metadata.managed_fields = None;
    }
}

type Key = (String, String);

/// A reading that was begun at some time, and what came of it.
struct Reading<K> {
    begun: Instant,
    result: Result<Arc<K>, ObjectError>,
    /// What was last had, which an error does not make worthless.
    last: Option<Arc<K>>,
}

/// One object; who reads it holds the lock.
type Slot<K> = tokio::sync::Mutex<Option<Reading<K>>>;

struct Entry<K> {
    slot: Arc<Slot<K>>,
    used: Instant,
    weight: usize,
}

pub(super) struct Cache<K> {
    entries: Mutex<HashMap<Key, Entry<K>>>,
}

impl<K> Default for Cache<K> {
    fn default() -> Self {
        Self { entries: Mutex::default() }
    }
}

impl<K: Weigh> Cache<K> {
    /// An object as `read` gives it, or gave it to somebody lately; when `fresh`, to somebody who began
    /// after this was asked.
    pub(super) async fn get<F>(
        &self,
        namespace: &str,
        name: &str,
        fresh: bool,
        read: impl FnOnce() -> F,
    ) -> Result<Arc<K>, ObjectError>
    where
        F: Future<Output = Result<K, ObjectError>>,
    {
        let asked = Instant::now();
        let key = (namespace.to_owned(), name.to_owned());
        let slot = self.slot(&key, asked);
        let mut reading = slot.lock().await;
        if let Some(known) = reading.as_ref().filter(|known| serves(known, asked, fresh)) {
            return known.result.clone();
        }
        let begun = Instant::now();
        let result = read().await.map(Arc::new);
        let last = match &result {
            Ok(object) => Some(object.clone()),
            Err(ObjectError::NotFound { .. }) => None,
            Err(ObjectError::Failed { .. }) => reading.take().and_then(|known| known.last),
        };
        // While the API does not answer, what it last said holds.
        let result = last.clone().map_or(result, Ok);
        let weight = last.as_ref().map(|object| object.weight());
        *reading = Some(Reading { begun, result: result.clone(), last });
        drop(reading);
        self.tidy(&key, weight);
        result
    }

    fn slot(&self, key: &Key, now: Instant) -> Arc<Slot<K>> {
        let mut entries = self.entries();
        let entry = entries.entry(key.clone()).or_insert_with(|| Entry { slot: Arc::default(), used: now, weight: 0 });
        entry.used = now;
        entry.slot.clone()
    }

    /// Notes what an object takes, and lets go of what is not worth keeping.
    fn tidy(&self, key: &Key, weight: Option<usize>) {
        let mut entries = self.entries();
        match (weight, entries.get_mut(key)) {
            (Some(weight), Some(entry)) => entry.weight = weight,
            // Others may be waiting for it still; they have the slot.
            (None, _) => drop(entries.remove(key)),
            (Some(_), None) => {}
        }
        let now = Instant::now();
        entries.retain(|_, entry| entry.weight <= SMALL || now.duration_since(entry.used) < KEPT);
        let mut small: Vec<_> = entries.iter().map(|(key, entry)| (entry.used, entry.weight, key.clone())).collect();
        small.sort_by_key(|(used, ..)| std::cmp::Reverse(*used));
        let mut sum = 0;
        for (used, weight, key) in small {
            sum += weight;
            if sum > ALL && now.duration_since(used) >= KEPT {
                entries.remove(&key);
            }
        }
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<Key, Entry<K>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a reading will do for who asked at this time. What went wrong is told only to those who were
/// waiting for it.
fn serves<K>(reading: &Reading<K>, asked: Instant, fresh: bool) -> bool {
    let lately = asked.saturating_duration_since(reading.begun) < AGE;
    reading.begun >= asked || (!fresh && lately && reading.result.is_ok())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn map(value: &str) -> ConfigMap {
        ConfigMap { data: Some([("k".to_owned(), value.to_owned())].into()), ..Default::default() }
    }

    fn failed() -> ObjectError {
        ObjectError::Failed { kind: "configmap", name: "m".into(), message: "away".into() }
    }

    fn missing() -> ObjectError {
        ObjectError::NotFound { kind: "configmap", name: "m".into() }
    }

    #[tokio::test]
    async fn many_at_once_read_once() {
        let cache = Cache::<ConfigMap>::default();
        let count = AtomicUsize::new(0);
        let read = || async {
            count.fetch_add(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            Ok(map("v"))
        };
        let all = (0..30).map(|_| cache.get("ns", "m", false, read));
        assert!(futures_util::future::join_all(all).await.iter().all(Result::is_ok));
        assert_eq!(count.load(Ordering::SeqCst), 1);
        let all = (0..30).map(|_| cache.get("ns", "m", true, read));
        futures_util::future::join_all(all).await;
        assert!(count.load(Ordering::SeqCst) <= 3, "{}", count.load(Ordering::SeqCst));
    }

    #[tokio::test]
    async fn fresh_ones_are_read_anew() {
        let cache = Cache::<ConfigMap>::default();
        let get = async |value: &str, fresh| {
            let object = cache.get("ns", "m", fresh, || async { Ok(map(value)) }).await.unwrap();
            object.data.as_ref().unwrap()["k"].clone()
        };
        assert_eq!(get("1", false).await, "1");
        assert_eq!(get("2", false).await, "1");
        assert_eq!(get("2", true).await, "2");
    }

    #[tokio::test]
    async fn what_is_missing_is_asked_for_again_and_forgotten() {
        let cache = Cache::<ConfigMap>::default();
        assert!(matches!(
            cache.get("ns", "m", false, || async { Err(missing()) }).await,
            Err(ObjectError::NotFound { .. })
        ));
        assert!(cache.entries().is_empty());
        assert!(cache.get("ns", "m", false, || async { Ok(map("v")) }).await.is_ok());
        assert!(cache.get("ns", "m", true, || async { Err(missing()) }).await.is_err());
        assert!(cache.get("ns", "m", false, || async { Err(failed()) }).await.is_err());
    }

    #[tokio::test]
    async fn while_the_api_is_away_the_last_word_holds() {
        let cache = Cache::<ConfigMap>::default();
        assert!(cache.get("ns", "m", true, || async { Err(failed()) }).await.is_err());
        assert!(cache.get("ns", "m", true, || async { Ok(map("v")) }).await.is_ok());
        for _ in 0..2 {
            let held = cache.get("ns", "m", true, || async { Err(failed()) }).await.unwrap();
            assert_eq!(held.data.as_ref().unwrap()["k"], "v");
        }
    }

    #[tokio::test]
    async fn large_objects_are_let_go() {
        let cache = Cache::<ConfigMap>::default();
        let large = "x".repeat(SMALL + 1);
        cache.get("ns", "large", false, || async { Ok(map(&large)) }).await.unwrap();
        cache.get("ns", "small", false, || async { Ok(map("v")) }).await.unwrap();
        assert_eq!(cache.entries().len(), 2);
        let Some(before) = Instant::now().checked_sub(KEPT) else { return };
        cache.entries().values_mut().for_each(|entry| entry.used = before);
        cache.get("ns", "other", false, || async { Ok(map("v")) }).await.unwrap();
        let mut names: Vec<_> = cache.entries().keys().map(|(_, name)| name.clone()).collect();
        names.sort();
        assert_eq!(names, ["other", "small"]);
    }
}
