//! Owns what a worker does for a pod that shall run: its sandbox, its containers, their limits.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::Member;
use super::decide::{self, Kill, Plan};
use super::observe::{Observed, Seen};
use super::start::{self, Held, Room};
use super::worker::{Next, Worker, lock};
use crate::events::Kind;
use crate::hooks;
use crate::probes::Findings;
use crate::spec;
use crate::stats::counters;
use crate::volumes::Volumes;

/// Seconds until volumes are tried again, at first and at the most.
const VOLUMES: (i64, i64) = (1, 64);
/// Seconds until the removal of a container is tried again.
const REMOVAL: i64 = 5;
/// Seconds until limits are tried again that there was no room for.
const RESIZE: i64 = 10;

impl Worker {
    /// Brings the pod on by one step.
    pub(super) async fn advance(&mut self, observed: &Observed, findings: HashMap<String, Findings>) -> Next {
        if !observed.containers.is_empty() || observed.sandbox().is_some() {
            self.resize(observed).await;
        }
        let known = self.known(observed, findings.clone());
        let plan = decide::plan(&self.shape, observed, &known);
        self.remember(&plan, observed);
        self.publish(observed, &findings);
        for kill in &plan.kill {
            self.kill(observed, kill);
        }
        if let Some(attempt) = plan.sandbox {
            return self.sandbox(observed, attempt).await;
        }
        if plan.finished {
            return self.finish(observed, &findings).await;
        }
        if !plan.start.is_empty() {
            return self.start(observed, &plan.start).await;
        }
        self.tidy(observed).await;
        let refresh = self.refresh().await;
        let resize = (!self.memory.resize.is_empty()).then(|| seconds(RESIZE));
        Next::After(shortest([plan.again.map(seconds), refresh, resize, self.deadline()]))
    }

    /// Keeps why containers wait in step with what was decided.
    fn remember(&mut self, plan: &Plan, observed: &Observed) {
        let meta = &self.pod.metadata;
        for (name, (_, whole)) in &plan.backoff {
            let message = format!(
                "back-off {} restarting failed container={name} pod={}_{}({})",
                duration(*whole),
                meta.name.as_deref().unwrap_or_default(),
                meta.namespace.as_deref().unwrap_or_default(),
                self.uid
            );
            let held = ("CrashLoopBackOff".to_owned(), message.clone());
            if self.memory.waiting.get(name) != Some(&held) {
                let text = format!("Back-off restarting failed container {name} in pod {}", pod_text(&self.pod));
                self.parts.context.events.pod(&self.pod, Some(name), Kind::Warning, "BackOff", text);
                self.memory.waiting.insert(name.clone(), held);
            }
        }
        let running = |name: &str| observed.current(name).is_some_and(Seen::running);
        self.memory.waiting.retain(|name, _| !running(name));
        self.memory.retries.retain(|_, at| *at > Instant::now());
    }

    /// Makes the sandbox, with volumes and cgroup.
    async fn sandbox(&mut self, observed: &Observed, attempt: u32) -> Next {
        let left = observed.containers.iter().filter(|seen| seen.running());
        let kills = left.map(|seen| Kill {
            id: seen.id.clone(),
            name: seen.name.clone(),
            message: "Pod sandbox changed, it will be killed and re-created.".to_owned(),
            grace: None,
        });
        let kills: Vec<Kill> = kills.collect();
        if !kills.is_empty() {
            kills.iter().for_each(|kill| self.kill(observed, kill));
            return Next::After(Some(Duration::from_secs(1)));
        }
        let parts = self.parts.clone();
        let pod = self.pod.clone();
        for old in &observed.sandboxes {
            // Its network may be there still, and its number is taken.
            let request = crate::cri::v1::StopPodSandboxRequest { pod_sandbox_id: old.id.clone() };
            if let Err(error) = parts.context.cri.stop_pod_sandbox(request).await {
                tracing::warn!(uid = self.uid, "cannot stop the former sandbox: {error}");
            }
        }
        let made = async {
            if let Err(error) = parts.context.cgroups.apply(&pod).await {
                tracing::warn!(uid = self.uid, "{:#}", anyhow::Error::from(error));
            }
            let described = async {
                let handler = spec::runtime_handler(&parts.context, &pod).await?;
                Ok((spec::sandbox(&parts.context, &pod, attempt).await?, handler))
            };
            let (config, handler) = described.await.map_err(|error: spec::SpecError| {
                let message = format!("Failed to create pod sandbox: {}", error.message);
                parts.context.events.pod(&pod, None, Kind::Warning, "FailedCreatePodSandBox", message);
                Held { reason: error.reason.to_owned(), message: error.message, retry: 5 }
            })?;
            start::sandbox(&parts, &pod, config.clone(), handler).await.map(|id| (id, config))
        };
        let (volumes, made) = tokio::join!(parts.volumes.prepare(&pod, true), made);
        self.volumes(volumes);
        match made {
            Ok((id, config)) => {
                parts.owners.add(&id, &self.uid);
                counters::STARTED_PODS.count(&[]);
                self.memory.config = Some((attempt, config));
                Next::Again
            }
            Err(held) => {
                self.memory.retries.insert(String::new(), Instant::now() + seconds(held.retry));
                Next::After(Some(seconds(held.retry)))
            }
        }
    }

    /// Takes in how making the volumes ended; true when they are there.
    fn volumes(&mut self, made: Result<(), crate::volumes::VolumeError>) -> bool {
        match made {
            Ok(()) => {
                self.memory.volumes = Some(Instant::now());
                self.memory.volume_failures = 0;
                true
            }
            Err(error) => {
                self.parts.context.events.pod(&self.pod, None, Kind::Warning, error.reason, error.message);
                self.memory.volume_failures += 1;
                false
            }
        }
    }

    /// Starts containers, one after the other.
    async fn start(&mut self, observed: &Observed, names: &[String]) -> Next {
        let parts = self.parts.clone();
        if self.memory.volumes.is_none() {
            let made = parts.volumes.prepare(&self.pod, true).await;
            if !self.volumes(made) {
                let wait = VOLUMES.0 << self.memory.volume_failures.min(16);
                return Next::After(Some(seconds(wait.min(VOLUMES.1))));
            }
        }
        let Some(sandbox) = observed.sandbox().cloned() else { return Next::Again };
        let config = match &self.memory.config {
            Some((attempt, config)) if *attempt == sandbox.attempt => config.clone(),
            _ => match spec::sandbox(&parts.context, &self.pod, sandbox.attempt).await {
                Ok(config) => config,
                Err(error) => {
                    tracing::warn!(uid = self.uid, "cannot describe the sandbox: {}", error.message);
                    return Next::After(Some(seconds(5)));
                }
            },
        };
        self.memory.config = Some((sandbox.attempt, config.clone()));
        let place = self.place(observed);
        for name in names {
            let Some(member) = self.shape.get(name).cloned() else { continue };
            let before = observed.latest(name);
            if let Some(unstarted) = before.filter(|seen| !seen.running() && !seen.exited()) {
                let request = crate::cri::v1::RemoveContainerRequest { container_id: unstarted.id.clone() };
                if let Err(error) = parts.context.cri.remove_container(request).await {
                    tracing::warn!(uid = self.uid, name, "cannot remove what was not started: {error}");
                    self.memory.retries.insert(name.clone(), Instant::now() + seconds(REMOVAL));
                    continue;
                }
            }
            let target =
                member.target.as_deref().and_then(|target| observed.current(target)).map(|seen| seen.id.as_str());
            let room = Room {
                sandbox: &sandbox.id,
                config: &config,
                place: &place,
                restart: self.restart_count(&member, before),
                target,
            };
            match start::container(&parts, &self.pod, &member, &room).await {
                Ok(id) => {
                    self.started(&member, &id, before, place.pod_ips.first().cloned());
                    // Its hook holds up what comes after.
                    if has_post_start(&member) {
                        break;
                    }
                }
                Err(held) => {
                    // It was made, and containerd has it as one that ended.
                    if held.reason == start::NOT_STARTED {
                        self.counted(name, before);
                    }
                    self.held(name, held);
                }
            }
        }
        Next::Again
    }

    /// The next wait of a container that ended `before`, and now was tried again, is a longer one.
    fn counted(&mut self, name: &str, before: Option<&Seen>) {
        if let Some(before) = before.filter(|seen| seen.exited()) {
            let finished = before.status.finished_at / 1_000_000_000;
            self.memory.backoff.started(name, finished, Timestamp::now().as_second());
        }
    }

    fn held(&mut self, name: &str, held: Held) {
        self.memory.retries.insert(name.to_owned(), Instant::now() + seconds(held.retry));
        self.memory.waiting.insert(name.to_owned(), (held.reason, held.message));
    }

    fn restart_count(&self, member: &Member, before: Option<&Seen>) -> u32 {
        match before {
            Some(seen) if seen.exited() || seen.running() => seen.attempt + 1,
            Some(seen) => seen.attempt,
            None => {
                let status = &self.status;
                let mut statuses = status.container_statuses.iter().chain(&status.init_container_statuses).flatten();
                let old = statuses.find(|status| status.name == member.spec.name);
                old.map_or(0, |old| {
                    u32::try_from(old.restart_count).unwrap_or_default() + u32::from(old.container_id.is_some())
                })
            }
        }
    }

    /// A container came up: its hook is run beside.
    fn started(&mut self, member: &Member, id: &str, before: Option<&Seen>, ip: Option<String>) {
        let name = &member.spec.name;
        self.parts.owners.add(id, &self.uid);
        self.memory.waiting.remove(name);
        self.memory.retries.remove(name);
        self.memory.applied.insert(id.to_owned(), member.spec.resources.clone().unwrap_or_default());
        self.counted(name, before);
        if !has_post_start(member) {
            return;
        }
        self.background().starting.push(id.to_owned());
        let (parts, pod, spec) = (self.parts.clone(), self.pod.clone(), member.spec.clone());
        let (background, wake, id) = (self.background.clone(), self.wake.clone(), id.to_owned());
        tokio::spawn(async move {
            let ended = hooks::post_start(&parts.context, &pod, &spec, &id, ip.as_deref()).await;
            {
                let mut background = lock(&background);
                background.starting.retain(|starting| *starting != id);
                if let Err(error) = &ended {
                    let name = &spec.name;
                    background
                        .replace
                        .insert(id.clone(), format!("Container {name} failed its postStart hook: {error}"));
                }
            }
            wake.notify_one();
        });
    }

    /// Brings volumes up to date when it is time; gives when that is next.
    async fn refresh(&mut self) -> Option<Duration> {
        if !Volumes::needs_refresh(&self.pod) {
            return None;
        }
        let interval = self.parts.context.settings.volume_refresh;
        let since = self.memory.volumes.map_or(interval, |at| at.elapsed());
        if since < interval && !std::mem::take(&mut self.memory.stale) {
            return Some(interval - since);
        }
        let made = self.parts.volumes.prepare(&self.pod, false).await;
        if !self.volumes(made) {
            self.memory.volumes = Some(Instant::now());
        }
        Some(interval)
    }

    /// All is done that there was to do: what is left is ended, and the pod is over.
    async fn finish(&mut self, observed: &Observed, findings: &HashMap<String, Findings>) -> Next {
        if self.over() {
            return Next::Again;
        }
        self.end_containers(observed);
        if observed.alive() {
            return Next::After(None);
        }
        self.publish(observed, findings);
        if self.over() {
            return Next::Again;
        }
        // Its sandbox is gone, and its policy wants no other: what has not run yet never will. Unless it fails,
        // whoever waits for it waits for ever.
        let message = "The pod's sandbox is gone, and its policy of restarts allows no other".to_owned();
        self.parts.context.events.pod(&self.pod, None, Kind::Warning, "SandboxLost", message.clone());
        self.failed = Some(("SandboxLost".to_owned(), message));
        Next::Again
    }
}

fn has_post_start(member: &Member) -> bool {
    member.spec.lifecycle.as_ref().is_some_and(|lifecycle| lifecycle.post_start.is_some())
}

fn pod_text(pod: &k8s_openapi::api::core::v1::Pod) -> String {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    format!("{}_{}({})", text(&pod.metadata.name), text(&pod.metadata.namespace), text(&pod.metadata.uid))
}

/// Seconds as Go prints a duration.
fn duration(seconds: i64) -> String {
    match (seconds / 60, seconds % 60) {
        (0, seconds) => format!("{seconds}s"),
        (minutes, seconds) => format!("{minutes}m{seconds}s"),
    }
}

fn seconds(seconds: i64) -> Duration {
    Duration::from_secs(u64::try_from(seconds).unwrap_or_default())
}

fn shortest<const N: usize>(limits: [Option<Duration>; N]) -> Option<Duration> {
    limits.into_iter().flatten().min()
}
