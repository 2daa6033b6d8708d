//! Owns watching objects of the API of which only little is kept: each is reduced as it comes in.

use std::collections::HashSet;
use std::fmt::Debug;
use std::future::ready;

use futures_util::{Stream, StreamExt};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;

/// Objects of one page of a list: what is parsed at once.
const PAGE: u32 = 100;

/// What changed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change<T> {
    /// This is the newest state of an object.
    Put(String, T),
    /// An object is gone, or of no interest any more.
    Gone(String),
    /// All there is has been told of; what is not among these is gone.
    Listed(HashSet<String>),
}

/// Changes of objects, from a first list on and without end: an API that is away only delays them.
///
/// Objects are known by [`key`]; `reduce` gives what is kept of one, nothing where it is of no interest.
pub(super) fn changes<K, T>(
    api: Api<K>,
    config: watcher::Config,
    what: &'static str,
    reduce: impl Fn(K) -> Option<T>,
) -> impl Stream<Item = Change<T>>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let mut listed = HashSet::new();
    let mut failing = false;
    watcher(api, config.page_size(PAGE)).default_backoff().filter_map(move |event| {
        let event = event.inspect_err(|error| {
            if !std::mem::replace(&mut failing, true) {
                complain(what, error);
            }
        });
        ready(event.ok().and_then(|event| {
            // A list begins before the API is asked for it.
            if !matches!(event, watcher::Event::Init) && std::mem::take(&mut failing) {
                tracing::info!("{what} can be watched again");
            }
            take(event, &mut listed, &reduce)
        }))
    })
}

/// `NAMESPACE/NAME`, or `NAME` of what has no namespace.
pub(super) fn key(object: &impl Resource) -> String {
    let name = object.meta().name.as_deref().unwrap_or_default();
    match &object.meta().namespace {
        Some(namespace) => format!("{namespace}/{name}"),
        None => name.to_owned(),
    }
}

/// Has a type be read in place of a kind of the API, of which it has fewer fields; its `metadata` is whole.
macro_rules! reads {
    ($type:ty as $kind:ty) => {
        impl kube::Resource for $type {
            type DynamicType = ();
            type Scope = <$kind as kube::Resource>::Scope;

            fn kind((): &()) -> std::borrow::Cow<'_, str> {
                <$kind as kube::Resource>::kind(&())
            }

            fn group((): &()) -> std::borrow::Cow<'_, str> {
                <$kind as kube::Resource>::group(&())
            }

            fn version((): &()) -> std::borrow::Cow<'_, str> {
                <$kind as kube::Resource>::version(&())
            }

            fn plural((): &()) -> std::borrow::Cow<'_, str> {
                <$kind as kube::Resource>::plural(&())
            }

            fn meta(&self) -> &ObjectMeta {
                &self.metadata
            }

            fn meta_mut(&mut self) -> &mut ObjectMeta {
                &mut self.metadata
            }
        }
    };
}
pub(super) use reads;

fn take<K: Resource, T>(
    event: watcher::Event<K>,
    listed: &mut HashSet<String>,
    reduce: &impl Fn(K) -> Option<T>,
) -> Option<Change<T>> {
    let put = |object: K| {
        let key = key(&object);
        match reduce(object) {
            Some(kept) => Change::Put(key, kept),
            None => Change::Gone(key),
        }
    };
    match event {
        watcher::Event::Apply(object) => Some(put(object)),
        watcher::Event::Delete(object) => Some(Change::Gone(key(&object))),
        watcher::Event::Init => {
            listed.clear();
            None
        }
        watcher::Event::InitApply(object) => {
            listed.insert(key(&object));
            Some(put(object))
        }
        watcher::Event::InitDone => Some(Change::Listed(std::mem::take(listed))),
    }
}

fn complain(what: &str, error: &watcher::Error) {
    let forbidden = match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status)) => status.code == 403,
        _ => false,
    };
    if forbidden {
        tracing::error!(
            "nodes may not read {what}, so pods of other nodes and Services cannot be reached; once for the cluster: \
             kubectl create clusterrolebinding keelson-nodes --clusterrole=system:node-proxier --group=system:nodes"
        );
    } else {
        tracing::warn!(%error, "cannot watch {what}; what is known stays in force");
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Service;
    use kube::runtime::watcher::Event;

    use super::*;

    fn named(name: &str) -> Service {
        let mut service = Service::default();
        service.metadata.name = Some(name.into());
        service.metadata.namespace = Some("d".into());
        service
    }

    #[test]
    fn a_list_tells_what_there_is_and_in_the_end_what_there_is_not() {
        let mut listed = HashSet::new();
        let reduce = |service: Service| (service.metadata.name.as_deref() != Some("dull")).then_some(());
        let mut take = |event| take(event, &mut listed, &reduce);
        assert_eq!(take(Event::Init), None);
        assert_eq!(take(Event::InitApply(named("a"))), Some(Change::Put("d/a".into(), ())));
        assert_eq!(take(Event::InitApply(named("dull"))), Some(Change::Gone("d/dull".into())));
        let all = HashSet::from(["d/a".to_owned(), "d/dull".to_owned()]);
        assert_eq!(take(Event::InitDone), Some(Change::Listed(all)));
        assert_eq!(take(Event::Delete(named("a"))), Some(Change::Gone("d/a".into())));
    }
}
