//! Owns static pods: those that files of the host describe, which run whether there is an API or not.
//!
//! ```text
//! folder ──watch──▶ folder::Folder ──▶ manifest::parse ──▶ defaults, checks ──▶ uid → Pod
//!                                                                                 │
//!                                       API ◀── mirror::Mirrors ◀─────────────────┘
//! ```
//!
//! A static pod's UID is the hash of what its file says, so that a change of the file is another pod.
//! Its mirror in the API shows it to people; whatever the API says of the mirror, the pod runs on.

mod checks;
mod defaults;
mod folder;
mod manifest;
mod mirror;
mod notify;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use tokio::sync::watch;

use crate::context::Context;
use folder::Folder;
use notify::Notify;

pub use manifest::ManifestError;
pub use mirror::{Mirror, Mirrors};

/// Where a pod comes from: `file` for static pods.
pub const CONFIG_SOURCE: &str = "kubernetes.io/config.source";
/// The hash of a static pod's description, which is its UID too.
pub const CONFIG_HASH: &str = "kubernetes.io/config.hash";
/// When a static pod was seen first.
pub const CONFIG_SEEN: &str = "kubernetes.io/config.seen";
/// On a mirror pod: the hash of the static pod that it shows.
pub const CONFIG_MIRROR: &str = "kubernetes.io/config.mirror";

/// Static pods by UID.
pub type StaticPods = BTreeMap<String, Arc<Pod>>;

/// How often the folder is looked at though nothing told of a change.
const RESCAN: Duration = Duration::from_secs(60);
/// How long a change is let settle: whoever writes a file may not be through.
const SETTLE: Duration = Duration::from_millis(100);

/// Whether a pod of the API only shows a static pod.
pub fn is_mirror(pod: &Pod) -> bool {
    mirrored(pod).is_some()
}

/// The UID of the static pod that a pod of the API only shows.
pub fn mirrored(pod: &Pod) -> Option<&str> {
    annotation(pod, CONFIG_MIRROR)
}

fn annotation<'a>(pod: &'a Pod, name: &str) -> Option<&'a str> {
    pod.metadata.annotations.as_ref().and_then(|annotations| annotations.get(name)).map(String::as_str)
}

/// Reads the folder, and goes on reading it whenever it changes, until nobody listens any more. What
/// is returned holds the pods of the folder as it is now.
///
/// A file that cannot be used is logged and told in an event of the node, once; its former pod, if it
/// had one since the agent started, stays.
pub fn start(context: &Context) -> watch::Receiver<StaticPods> {
    let settings = &context.settings;
    let mut folder = Folder::new(settings.static_pods.clone(), settings.name.clone(), context.events.clone());
    // Watched before it is read, so that nothing changes unseen in between.
    let notify = Notify::new(folder.path());
    let (sender, receiver) = watch::channel(folder.scan());
    tokio::spawn(keep(folder, notify, sender));
    receiver
}

async fn keep(mut folder: Folder, mut notify: Option<Notify>, sender: watch::Sender<StaticPods>) {
    loop {
        tokio::select! {
            () = sender.closed() => return,
            () = notify::changed(notify.as_ref()) => tokio::time::sleep(SETTLE).await,
            () = tokio::time::sleep(RESCAN) => {}
        }
        notify = Notify::renew(notify, folder.path());
        let pods = folder.scan();
        sender.send_if_modified(|known| {
            // The UID says all of a pod.
            let changed = !known.keys().eq(pods.keys());
            *known = pods;
            changed
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::Recorder;

    fn manifest(name: &str) -> String {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec: {{containers: [{{name: a, image: b}}]}}\n"
        )
    }

    #[tokio::test]
    async fn follows_the_folder() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path().join("manifests");
        let (events, _records) = Recorder::new();
        let mut folder = Folder::new(path.clone(), "node".into(), events);
        let notify = Notify::new(&path);
        assert!(notify.is_some());
        let (sender, mut receiver) = watch::channel(folder.scan());
        let task = tokio::spawn(keep(folder, notify, sender));
        let mut names = async || {
            tokio::time::timeout(Duration::from_secs(20), receiver.changed()).await.expect("no change").unwrap();
            let pods = receiver.borrow_and_update();
            pods.values().map(|pod| pod.metadata.name.clone().unwrap()).collect::<Vec<_>>()
        };
        std::fs::write(path.join("web.yaml"), manifest("web")).unwrap();
        assert_eq!(names().await, ["web-node"]);
        std::fs::write(path.join(".hidden"), manifest("db")).unwrap();
        std::fs::rename(path.join("web.yaml"), path.join("other.yaml")).unwrap();
        assert_eq!(names().await, ["web-node"], "another file is another pod");
        std::fs::remove_dir_all(&path).unwrap();
        assert!(names().await.is_empty());
        drop(receiver);
        tokio::time::timeout(Duration::from_secs(20), task).await.expect("goes on for nobody").unwrap();
    }
}
