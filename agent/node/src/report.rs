//! Owns what `keelctl node status` is told: one JSON document a line on a Unix socket, at once and
//! then whenever something changed, for as long as the other side listens.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Node;
use keelson_common::node::{Lasting, Report};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;

use crate::Context;
use crate::config::Settings;
use crate::join::{Credentials, Validity};

/// How far the node is.
#[derive(Clone)]
pub enum Stage {
    /// It has no certificate yet.
    Joining {
        /// What is in the way.
        problem: Option<String>,
    },
    /// It is a node.
    Joined {
        /// Its parts.
        context: Arc<Context>,
        /// Its certificates.
        credentials: Credentials,
    },
}

fn lasting(validity: Validity) -> Lasting {
    Lasting { not_before: validity.not_before.to_string(), not_after: validity.not_after.to_string() }
}

/// The socket.
pub fn socket(settings: &Settings) -> PathBuf {
    settings.run.join("status.sock")
}

/// Serves the socket for as long as the process runs.
pub async fn serve(settings: Settings, stages: watch::Receiver<Stage>) {
    let path = socket(&settings);
    let listener = match listen(&path) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::warn!("`keelctl node status` will know nothing: cannot listen on {}: {error}", path.display());
            return;
        }
    };
    let settings = Arc::new(settings);
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(tell(stream, settings.clone(), stages.clone()));
            }
            Err(error) => {
                tracing::debug!(%error, "cannot take a connection");
                tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            }
        }
    }
}

fn listen(path: &std::path::Path) -> io::Result<UnixListener> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    if let Err(error) = std::fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error);
    }
    let listener = UnixListener::bind(path)?;
    // Nothing secret is told.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666))?;
    Ok(listener)
}

/// Tells one listener; ends when it goes.
async fn tell(stream: UnixStream, settings: Arc<Settings>, mut stages: watch::Receiver<Stage>) {
    let (mut from, mut to) = stream.into_split();
    let mut last = None;
    loop {
        let stage = stages.borrow_and_update().clone();
        let mut nodes = match &stage {
            Stage::Joined { context, .. } => Some(context.node.subscribe()),
            Stage::Joining { .. } => None,
        };
        let report = report(&settings, &stage);
        if last.as_ref() != Some(&report) {
            let Ok(mut line) = serde_json::to_vec(&report) else { return };
            line.push(b'\n');
            if to.write_all(&line).await.is_err() {
                return;
            }
            last = Some(report);
        }
        let node = async {
            match &mut nodes {
                Some(nodes) => nodes.changed().await.is_ok(),
                None => std::future::pending().await,
            }
        };
        let goes_on = tokio::select! {
            changed = node => changed,
            changed = stages.changed() => changed.is_ok(),
            _ = from.read_u8() => false,
        };
        if !goes_on {
            return;
        }
    }
}

fn report(settings: &Settings, stage: &Stage) -> Report {
    let base = Report {
        state: "joining".to_owned(),
        name: settings.name.clone(),
        server: settings.server.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        addresses: settings.addresses.iter().map(ToString::to_string).collect(),
        ..Report::default()
    };
    match stage {
        Stage::Joining { problem } => Report { problem: problem.clone(), ..base },
        Stage::Joined { context, credentials } => {
            let identity = &credentials.identity;
            let node = context.node.borrow().clone();
            let (ready, message, cordoned) = node.as_deref().map(standing).unwrap_or_default();
            Report {
                state: "joined".to_owned(),
                ready,
                message,
                cordoned,
                certificate: Some(lasting(identity.client_validity())),
                serving_certificate: identity.serving_validity().map(lasting),
                pods: context.pods.list().len(),
                ..base
            }
        }
    }
}

/// Whether a Node is ready, why it is not, and whether it is cordoned.
fn standing(node: &Node) -> (Option<bool>, Option<String>, bool) {
    let cordoned = node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true);
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let Some(ready) = conditions.into_iter().find(|condition| condition.type_ == "Ready") else {
        return (None, None, cordoned);
    };
    let is_ready = ready.status == "True";
    let message = if is_ready { None } else { ready.message.clone().or_else(|| ready.reason.clone()) };
    (Some(is_ready), message, cordoned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn how_a_node_stands() {
        let node = |status: &str| {
            let ready = json!({ "type": "Ready", "status": status, "message": "no network" });
            serde_json::from_value(json!({ "spec": { "unschedulable": true }, "status": { "conditions": [ready] } }))
                .unwrap()
        };
        assert_eq!(standing(&node("True")), (Some(true), None, true));
        assert_eq!(standing(&node("False")), (Some(false), Some("no network".into()), true));
        assert_eq!(standing(&Node::default()), (None, None, false));
    }
}
