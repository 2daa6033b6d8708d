//! Owns what a worker says of its pod: the status, to the API, and the view, to everyone on this node.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::observe::Observed;
use super::reporter::Target;
use super::status::{self, Facts};
use super::worker::Worker;
use super::{ContainerView, PodView};
use crate::probes::Findings;
use crate::spec::{self, Place};

impl Worker {
    /// Says how the pod is: to everyone on this node, and to the API.
    pub(super) fn publish(&mut self, observed: &Observed, findings: &HashMap<String, Findings>) {
        let starting = self.background().starting.clone();
        let host_ips = self.host_ips();
        let facts = Facts {
            pod: &self.pod,
            shape: &self.shape,
            observed,
            before: &self.status,
            findings,
            starting: &starting,
            waiting: &self.memory.waiting,
            messages: &self.memory.messages,
            applied: &self.memory.applied,
            resize: &self.memory.resize,
            host_ips: &host_ips,
            qos: spec::qos(&self.pod).as_str(),
            terminal: self.ending(),
            failed: self.failed.as_ref(),
            now: Timestamp::now(),
        };
        let mut status = status::status(&facts);
        // What ends is not over before its last container has ended.
        if observed.alive() && self.ending() && !self.over() {
            status.phase = self.status.phase.clone().or(status.phase);
        }
        crate::volumes::limit_messages(&mut status, self.shape.all().count());
        self.status = status;
        self.report();
        self.parts.context.pods.update(self.view(observed));
    }

    /// Has the API told what was last said, by what it was last seen to have.
    pub(super) fn report(&mut self) {
        let shown = match self.is_static {
            false => Some(self.pod.clone()),
            true => self.parts.mirrors.mirror_of(&self.uid).map(|mirror| mirror.pod),
        };
        let Some(shown) = shown else { return };
        if self.shown.as_ref().is_none_or(|before| !Arc::ptr_eq(before, &shown)) {
            self.parts.reporter.known(&self.uid, &shown);
        }
        self.parts.reporter.report(&self.uid, Target::of(&shown), &self.status);
        self.shown = Some(shown);
    }

    pub(super) fn host_ips(&self) -> Vec<String> {
        self.parts.context.settings.addresses.iter().map(ToString::to_string).collect()
    }

    /// Where the pod's containers are, for their environment.
    pub(super) fn place(&self, observed: &Observed) -> Place {
        let host_ips = self.host_ips();
        let host_network = self.pod.spec.as_ref().is_some_and(|spec| spec.host_network == Some(true));
        let sandbox = || observed.sandbox().map(|sandbox| sandbox.ips.clone()).unwrap_or_default();
        Place { pod_ips: if host_network { host_ips.clone() } else { sandbox() }, host_ips }
    }

    pub(super) fn view(&self, observed: &Observed) -> PodView {
        let containers = self.shape.all().filter_map(|member| {
            let seen = observed.latest(&member.spec.name)?;
            Some(ContainerView {
                name: seen.name.clone(),
                kind: member.kind,
                id: seen.id.clone(),
                state: seen.state,
                started_at: seen.status.started_at,
                restarts: seen.attempt,
                log: seen.status.log_path.clone().into(),
            })
        });
        PodView {
            containers: containers.collect(),
            pod: self.pod.clone(),
            status: self.status.clone(),
            sandbox: observed.sandbox().map(|sandbox| sandbox.id.clone()),
            ips: self.place(observed).pod_ips,
            terminating: self.ending(),
        }
    }
}
