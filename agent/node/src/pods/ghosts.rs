//! Owns finding containers that containerd's CRI takes for running for good though their process has ended.
//!
//! Before 2.2, it misses an end that comes while it starts, between its first look at a container and its
//! entering the container in its books. It then neither tells of the end, nor lets go of the pod. Another
//! start of containerd is the only remedy; containers run on under it.

use std::collections::HashSet;
use std::time::Duration;

use containerd_client::services::v1::ListTasksRequest;
use containerd_client::services::v1::tasks_client::TasksClient;
use containerd_client::types::v1::Status;
use containerd_client::with_namespace;
use tokio::time::Instant;
use tonic::Request;

use super::relist::NAMESPACE;
use crate::context::Context;
use crate::events::Kind;
use crate::systemd::{ManagerProxy, has_bus};

const UNIT: &str = "containerd.service";
/// How far apart two looks are that both have to find the same; the CRI needs a moment for an end.
pub const APART: Duration = Duration::from_secs(5);
/// Looks after containerd started: later it misses nothing.
const LOOKS: u8 = 3;
/// Between two restarts of containerd.
const PATIENCE: Duration = Duration::from_secs(10 * 60);

/// Looks for ghosts after containerd has started.
#[derive(Debug, Default)]
pub struct Ghosts {
    left: u8,
    suspects: HashSet<String>,
    restarted: Option<Instant>,
}

impl Ghosts {
    /// containerd may have started anew.
    pub fn expect(&mut self) {
        self.left = LOOKS;
        self.suspects.clear();
    }

    /// Whether there is still something to look for.
    pub fn expected(&self) -> bool {
        self.left > 0
    }

    /// Has containerd started anew when one of `running`, which the CRI says run, was found without a process
    /// by this look and by the one before.
    pub async fn look(&mut self, context: &Context, running: HashSet<String>) {
        let alive = match tasks(context).await {
            Ok(alive) => alive,
            Err(error) => return tracing::debug!("cannot look at containerd's tasks: {error}"),
        };
        let found = self.judge(running, &alive);
        if found.is_empty() || self.restarted.is_some_and(|at| at.elapsed() < PATIENCE) {
            return;
        }
        self.restarted = Some(Instant::now());
        let ids = found.iter().map(|id| id.get(..13).unwrap_or(id)).collect::<Vec<_>>().join(", ");
        let missed = format!("containerd missed the end of {ids} while it started");
        let message = match restart().await {
            Ok(()) => format!("{missed}; it is restarted to look again"),
            Err(error) => format!("{missed} and has to be restarted, which failed: {error}"),
        };
        tracing::warn!("{message}");
        if let Some(node) = context.node.borrow().as_deref() {
            context.events.node(node, Kind::Warning, "ContainerEndMissed", message);
        }
    }

    /// Those that were without a process before and still are.
    fn judge(&mut self, running: HashSet<String>, alive: &HashSet<String>) -> Vec<String> {
        let now: HashSet<String> = running.into_iter().filter(|id| !alive.contains(id)).collect();
        let mut ghosts: Vec<String> = now.intersection(&self.suspects).cloned().collect();
        ghosts.sort();
        // Whoever is new here is looked at once more.
        self.left = if now.is_empty() { self.left.saturating_sub(1) } else { LOOKS };
        self.suspects = now;
        ghosts
    }
}

/// The containers and sandboxes that have a process.
async fn tasks(context: &Context) -> Result<HashSet<String>, Box<dyn std::error::Error + Send + Sync>> {
    let channel = containerd_client::connect(&context.settings.containerd).await?;
    let request = with_namespace!(ListTasksRequest::default(), NAMESPACE);
    let tasks = TasksClient::new(channel).list(request).await?.into_inner().tasks;
    let alive = tasks.into_iter().filter(|task| task.status != Status::Stopped as i32);
    Ok(alive.map(|task| task.id).collect())
}

async fn restart() -> anyhow::Result<()> {
    anyhow::ensure!(has_bus(), "there is no D-Bus here");
    let manager = ManagerProxy::new(&zbus::Connection::system().await?).await?;
    manager.restart_unit(UNIT, "replace").await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(ids: &[&str]) -> HashSet<String> {
        ids.iter().map(|&id| id.to_owned()).collect()
    }

    #[test]
    fn who_is_without_a_process_twice_is_a_ghost() {
        let mut ghosts = Ghosts::default();
        ghosts.expect();
        assert!(ghosts.judge(set(&["a", "b", "c"]), &set(&["a"])).is_empty());
        assert_eq!(ghosts.judge(set(&["a", "b", "d"]), &set(&["a"])), ["b"]);
    }

    #[test]
    fn looking_ends_when_nobody_is_suspected() {
        let mut ghosts = Ghosts::default();
        assert!(!ghosts.expected());
        ghosts.expect();
        for _ in 0..LOOKS {
            assert!(ghosts.expected());
            assert!(ghosts.judge(set(&["a"]), &set(&["a"])).is_empty());
        }
        assert!(!ghosts.expected());
    }
}
