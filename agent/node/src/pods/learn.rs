//! Owns what a worker takes in from a look at its pod: whose containers there are, their last words, their
//! limits, what their probes say.

use std::collections::HashMap;

use k8s_openapi::api::core::v1::ResourceRequirements;

use super::observe::Observed;
use super::worker::Worker;
use super::{ContainerKind, Member};
use crate::probes::Findings;
use crate::spec;

impl Worker {
    /// Takes in what was seen; gives what probes say, by container id.
    pub(super) async fn learn(&mut self, observed: &Observed) -> HashMap<String, Findings> {
        for id in observed.containers.iter().map(|seen| &seen.id) {
            self.parts.owners.add(id, &self.uid);
        }
        for id in observed.sandboxes.iter().map(|sandbox| &sandbox.id) {
            self.parts.owners.add(id, &self.uid);
        }
        {
            let mut background = self.background();
            let running = |id: &String| observed.containers.iter().any(|seen| seen.id == *id && seen.running());
            background.stopping.retain(|id, _| running(id));
            background.replace.retain(|id, _| running(id));
        }
        if observed.sandbox().is_some()
            && let Err(error) = self.parts.context.cgroups.adopt(&self.pod).await
        {
            tracing::warn!(uid = self.uid, "{:#}", anyhow::Error::from(error));
        }
        self.changed(observed);
        let known = |id: &String| observed.containers.iter().any(|seen| seen.id == *id);
        self.memory.messages.retain(|id, _| known(id));
        self.memory.applied.retain(|id, _| known(id));
        for seen in &observed.containers {
            let Some(member) = self.shape.get(&seen.name) else { continue };
            if seen.exited() && !self.memory.messages.contains_key(&seen.id) {
                let failed = seen.status.exit_code != 0;
                let log = std::path::Path::new(&seen.status.log_path);
                let message =
                    self.parts.volumes.termination_message(&self.uid, &member.spec, seen.attempt, failed, log).await;
                self.memory.messages.insert(seen.id.clone(), message);
            }
            if seen.running() && !self.memory.applied.contains_key(&seen.id) {
                let resources = self.resources_before(&seen.id).or_else(|| member.spec.resources.clone());
                self.memory.applied.insert(seen.id.clone(), resources.unwrap_or_default());
            }
        }
        let view = self.view(observed);
        self.parts.probes.update(&view);
        self.parts.context.pods.update(view);
        let running = observed.containers.iter().filter(|seen| seen.running());
        running.map(|seen| (seen.id.clone(), self.findings(&seen.name, &seen.id))).collect()
    }

    /// Has running containers started again whose definition is another than they were made by.
    pub(super) fn changed(&self, observed: &Observed) {
        for seen in observed.containers.iter().filter(|seen| seen.running()) {
            let made = seen.status.annotations.get(spec::annotations::HASH);
            let changed = |member: &&Member| made.is_some_and(|made| *made != spec::hash(&member.spec));
            if self.shape.app.iter().find(|member| member.spec.name == seen.name).as_ref().is_some_and(changed) {
                let message = format!("Container {} definition changed, will be restarted", seen.name);
                self.background().replace.entry(seen.id.clone()).or_insert(message);
            }
        }
    }

    pub(super) fn findings(&self, name: &str, id: &str) -> Findings {
        match self.shape.get(name).map(|member| member.kind) {
            Some(ContainerKind::App | ContainerKind::Sidecar) => self.parts.probes.findings(&self.uid, name, id),
            _ => Findings { started: true, ..Findings::default() },
        }
    }

    /// The limits that a container has as its status said before this daemon started.
    pub(super) fn resources_before(&self, id: &str) -> Option<ResourceRequirements> {
        let statuses = self.status.container_statuses.iter().chain(&self.status.init_container_statuses).flatten();
        let id = format!("containerd://{id}");
        statuses.filter(|status| status.container_id.as_ref() == Some(&id)).find_map(|status| status.resources.clone())
    }
}
