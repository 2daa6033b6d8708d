//! Owns [`Services`]: all services of the cluster, by one watch that whoever needs them shares.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures_util::StreamExt;
use k8s_openapi::api::core::v1::Service;
use kube::Api;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event};
use tokio::sync::watch;

type Key = (String, String);
type All = BTreeMap<Key, Arc<Service>>;

#[derive(Default)]
pub(super) struct Services {
    all: RwLock<All>,
    version: watch::Sender<u64>,
}

impl Services {
    pub(super) fn all(&self) -> Vec<Arc<Service>> {
        self.read().values().cloned().collect()
    }

    pub(super) fn get(&self, namespace: &str, name: &str) -> Option<Arc<Service>> {
        self.read().get(&(namespace.to_owned(), name.to_owned())).cloned()
    }

    pub(super) fn known(&self) -> bool {
        *self.version.borrow() > 0
    }

    pub(super) fn changed(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// Waits until they are known, but not for ever.
    pub(super) async fn known_within(&self, limit: Duration) {
        if self.known() {
            return;
        }
        let mut version = self.version.subscribe();
        let first = version.wait_for(|version| *version > 0);
        if tokio::time::timeout(limit, first).await.is_err() {
            tracing::warn!("services are not known yet");
        }
    }

    /// Follows the API for ever.
    pub(super) async fn watch(&self, client: kube::Client) {
        let events = watcher::watcher(Api::<Service>::all(client), watcher::Config::default());
        let mut events = pin!(events.default_backoff());
        let mut fresh = All::new();
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => self.take(event, &mut fresh),
                Err(error) => tracing::debug!("cannot watch services: {error}"),
            }
        }
    }

    /// Takes in one event; `fresh` is what a list that has begun brought so far.
    fn take(&self, event: Event<Service>, fresh: &mut All) {
        match event {
            Event::Init => fresh.clear(),
            Event::InitApply(service) => drop(fresh.insert(key(&service), slim(service))),
            Event::InitDone => {
                let fresh = std::mem::take(fresh);
                let same = self.known() && *self.read() == fresh;
                if !same {
                    self.change(|all| *all = fresh);
                }
            }
            Event::Apply(service) => self.change(|all| drop(all.insert(key(&service), slim(service)))),
            Event::Delete(service) => self.change(|all| drop(all.remove(&key(&service)))),
        }
    }

    fn change(&self, change: impl FnOnce(&mut All)) {
        change(&mut self.all.write().unwrap_or_else(PoisonError::into_inner));
        self.version.send_modify(|version| *version += 1);
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, All> {
        self.all.read().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(service: &Service) -> Key {
    let meta = &service.metadata;
    (meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default())
}

/// Without what takes room and nobody here reads.
fn slim(mut service: Service) -> Arc<Service> {
    service.metadata.managed_fields = None;
    if let Some(annotations) = &mut service.metadata.annotations {
        annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
    }
    Arc::new(service)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn service(name: &str, address: &str) -> Service {
        let meta = json!({"namespace": "ns", "name": name, "managedFields": [{"manager": "x"}],
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}", "kept": "1"}});
        serde_json::from_value(json!({"metadata": meta, "spec": {"clusterIP": address}})).unwrap()
    }

    fn listed(services: &Services, names: &[&str]) {
        let mut fresh = All::new();
        services.take(Event::Init, &mut fresh);
        for name in names {
            services.take(Event::InitApply(service(name, "1")), &mut fresh);
        }
        services.take(Event::InitDone, &mut fresh);
    }

    fn names(services: &Services) -> Vec<String> {
        services.all().iter().map(|service| service.metadata.name.clone().unwrap()).collect()
    }

    #[test]
    fn a_list_replaces_what_was_known_when_it_is_whole() {
        let services = Services::default();
        assert!(!services.known());
        listed(&services, &["a", "b"]);
        assert!(services.known());
        assert_eq!(names(&services), ["a", "b"]);
        let mut fresh = All::new();
        services.take(Event::Init, &mut fresh);
        services.take(Event::InitApply(service("c", "1")), &mut fresh);
        assert_eq!(names(&services), ["a", "b"]);
        services.take(Event::InitDone, &mut fresh);
        assert_eq!(names(&services), ["c"]);
    }

    #[test]
    fn who_waits_is_told_of_changes_only() {
        let services = Services::default();
        let mut changed = services.changed();
        listed(&services, &[]);
        assert!(changed.has_changed().unwrap());
        changed.mark_unchanged();
        listed(&services, &[]);
        assert!(!changed.has_changed().unwrap());
        let mut fresh = All::new();
        services.take(Event::Apply(service("a", "1")), &mut fresh);
        assert!(changed.has_changed().unwrap());
        assert!(services.get("ns", "a").is_some());
        services.take(Event::Delete(service("a", "1")), &mut fresh);
        assert!(services.get("ns", "a").is_none());
    }

    #[test]
    fn what_nobody_reads_is_dropped() {
        let services = Services::default();
        listed(&services, &["a"]);
        let meta = services.get("ns", "a").unwrap().metadata.clone();
        assert_eq!(meta.managed_fields, None);
        assert_eq!(meta.annotations.unwrap().into_keys().collect::<Vec<_>>(), ["kept"]);
    }

    #[tokio::test]
    async fn nobody_waits_for_ever() {
        let services = Services::default();
        services.known_within(Duration::from_millis(5)).await;
        assert!(!services.known());
    }
}
