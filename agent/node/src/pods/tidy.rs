//! Owns what a worker removes of its pod: containers and sandboxes that nobody looks at any more.

use std::collections::HashMap;
use std::path::PathBuf;

use super::observe::{Observed, Seen};
use super::orphans;
use super::worker::Worker;
use crate::cri::v1;
use crate::logs;

impl Worker {
    /// Removes containers, with their logs, and sandboxes that nobody looks at any more.
    pub(super) async fn tidy(&self, observed: &Observed) {
        for old in surplus(&observed.containers) {
            let request = v1::RemoveContainerRequest { container_id: old.id.clone() };
            if let Err(error) = self.parts.context.cri.remove_container(request).await {
                tracing::debug!(uid = self.uid, "cannot remove an old container: {error}");
                continue;
            }
            if let Some(log) = own_log(old, &observed.containers) {
                logs::remove(log).await;
            }
        }
        let used = |id: &str| observed.containers.iter().any(|container| container.sandbox == id);
        for old in observed.sandboxes.iter().skip(1).filter(|old| !old.ready && !used(&old.id)) {
            let request = v1::RemovePodSandboxRequest { pod_sandbox_id: old.id.clone() };
            if let Err(error) = self.parts.context.cri.remove_pod_sandbox(request).await {
                tracing::debug!(uid = self.uid, "cannot remove an old sandbox: {error}");
            }
        }
    }

    /// Takes the pod's sandboxes away.
    pub(super) async fn clear(&self) -> bool {
        match orphans::clear(&self.parts, &self.uid).await {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(uid = self.uid, "cannot remove the sandbox: {error}");
                false
            }
        }
    }
}

/// The containers that nobody looks at any more: of each name the newest and the one before stay, whose log
/// people ask for. The newest is the first.
fn surplus(containers: &[Seen]) -> Vec<&Seen> {
    let mut count: HashMap<&str, u32> = HashMap::new();
    let surplus = containers.iter().filter(|seen| {
        let count = count.entry(&seen.name).or_default();
        *count += 1;
        *count > 2 && seen.exited()
    });
    surplus.collect()
}

/// Where a container's log is that it shares with no other.
fn own_log(container: &Seen, all: &[Seen]) -> Option<PathBuf> {
    let log = &container.status.log_path;
    let shared = all.iter().any(|other| other.id != container.id && other.status.log_path == *log);
    (!log.is_empty() && !shared).then(|| PathBuf::from(log))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn seen(name: &str, attempt: u32, state: v1::ContainerState) -> Seen {
        let log_path = format!("/logs/{name}/{attempt}.log");
        Seen {
            id: format!("{name}{attempt}"),
            name: name.into(),
            attempt,
            state,
            created_at: attempt.into(),
            sandbox: "s".into(),
            status: Arc::new(v1::ContainerStatus { log_path, ..Default::default() }),
        }
    }

    fn ended(name: &str, attempt: u32) -> Seen {
        seen(name, attempt, v1::ContainerState::ContainerExited)
    }

    #[test]
    fn of_each_name_the_newest_two_stay() {
        let runs = seen("a", 3, v1::ContainerState::ContainerRunning);
        let all = [runs, ended("b", 0), ended("a", 2), ended("a", 1), ended("a", 0)];
        let ids: Vec<&str> = surplus(&all).iter().map(|seen| seen.id.as_str()).collect();
        assert_eq!(ids, ["a1", "a0"]);
        let older = [ended("a", 3), ended("a", 2), seen("a", 1, v1::ContainerState::ContainerRunning)];
        assert!(surplus(&older).is_empty());
    }

    #[test]
    fn a_log_that_another_container_writes_to_stays() {
        let mut again = ended("a", 1);
        again.id = "again".into();
        let all = [ended("a", 2), again, ended("a", 1), ended("a", 0)];
        assert_eq!(own_log(&all[3], &all), Some("/logs/a/0.log".into()));
        assert_eq!(own_log(&all[2], &all), None);
        let none = Seen { status: Arc::default(), ..ended("a", 0) };
        assert_eq!(own_log(&none, &[]), None);
    }
}
