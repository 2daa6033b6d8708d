//! Owns how a container is stopped: its `preStop` hook, its stop signal, SIGKILL.

use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{Container, Pod};

use super::decide::Kill;
use super::manager::Parts;
use super::observe::Observed;
use super::worker::{Worker, lock};
use crate::events::Kind;
use crate::hooks;

/// Seconds that a container has at least after its hook took the whole grace period.
const LEAST: i64 = 2;
/// By how much a container must have to be gone sooner than before for that to change anything: what is left
/// of a grace period is told in whole seconds.
const SOONER: Duration = Duration::from_secs(1);
/// Between two attempts to stop a container, at first and at the most.
const RETRY: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(60));

/// A container to be stopped.
struct Stop {
    /// The pod.
    pod: Arc<Pod>,
    /// The container's part of the spec, when it is known still.
    spec: Option<Container>,
    /// containerd's id.
    id: String,
    /// Its name.
    name: String,
    /// The pod's address, for the hook.
    ip: Option<String>,
    /// By when it has to be gone.
    deadline: Instant,
    /// What people are told.
    message: String,
}

/// What is done about a container that has to be gone by some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    /// It is stopped, its hook first.
    Stop,
    /// It is being stopped and has less time than it was given: its hook runs already, or ran.
    Hurry,
    /// It is being stopped as it shall be.
    Wait,
}

/// What is done about a container that has to be gone by `deadline`, and had to be by `before`.
fn order(before: Option<Instant>, deadline: Instant) -> Order {
    match before {
        None => Order::Stop,
        Some(before) if deadline + SOONER < before => Order::Hurry,
        Some(_) => Order::Wait,
    }
}

/// So many seconds; none that are negative, nor more than clocks can count.
fn period(grace: i64) -> Duration {
    Duration::from_secs(u32::try_from(grace.max(0)).unwrap_or(u32::MAX).into())
}

/// Whole seconds until then, the one that has begun among them.
fn left(deadline: Instant) -> i64 {
    let left = deadline.saturating_duration_since(Instant::now()) + Duration::from_millis(999);
    i64::try_from(left.as_secs()).unwrap_or(i64::MAX)
}

/// Stops a container, however often that has to be tried; its hook runs once. Whether it is gone is seen by
/// looking.
async fn end(parts: &Parts, stop: Stop, order: Order) {
    let context = &parts.context;
    let Stop { pod, spec, id, name, ip, deadline, message } = stop;
    let mut least = 0;
    if order == Order::Stop {
        context.events.pod(&pod, Some(&name), Kind::Normal, "Killing", message);
        if let Some(spec) = &spec {
            let whole = deadline.saturating_duration_since(Instant::now());
            least = LEAST.min(left(deadline));
            hooks::pre_stop(context, &pod, spec, &id, ip.as_deref(), whole).await;
        }
    }
    let mut pause = RETRY.0;
    while let Err(error) = context.cri.stop_container(&id, left(deadline).max(least)).await
        && !error.is_not_found()
    {
        tracing::warn!(pod = pod.metadata.name, container = name, "cannot stop the container: {error}");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(RETRY.1);
    }
}

impl Worker {
    /// Has a container stopped, beside.
    pub(super) fn kill(&self, observed: &Observed, kill: &Kill) {
        let pod_grace = self.pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds).unwrap_or(30);
        let grace = kill.grace.unwrap_or(pod_grace);
        self.stop(observed, &kill.id, &kill.name, grace, kill.message.clone());
    }

    /// Stops a container beside; again, with fewer seconds, when it is being stopped already.
    pub(super) fn stop(&self, observed: &Observed, id: &str, name: &str, grace: i64, message: String) {
        let deadline = Instant::now() + period(grace);
        let order = {
            let mut background = self.background();
            let order = order(background.stopping.get(id).copied(), deadline);
            if order == Order::Wait {
                return;
            }
            background.stopping.insert(id.to_owned(), deadline);
            order
        };
        let stop = Stop {
            pod: self.pod.clone(),
            spec: self.shape.get(name).map(|member| member.spec.clone()),
            id: id.to_owned(),
            name: name.to_owned(),
            ip: self.place(observed).pod_ips.first().cloned(),
            deadline,
            message,
        };
        let (parts, background, wake, id) =
            (self.parts.clone(), self.background.clone(), self.wake.clone(), id.to_owned());
        tokio::spawn(async move {
            end(&parts, stop, order).await;
            {
                let mut background = lock(&background);
                // Otherwise somebody is at it who was given less time.
                if background.stopping.get(&id) == Some(&deadline) {
                    background.stopping.remove(&id);
                }
            }
            wake.notify_one();
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_being_stopped_is_not_stopped_anew_at_each_look() {
        let begun = Instant::now();
        let at = |seconds: u64| begun + Duration::from_secs(seconds);
        assert_eq!(order(None, at(30)), Order::Stop);
        // What is left of the same grace period, rounded, and more than before.
        for later in [at(30), at(31), at(90), at(30) - SOONER] {
            assert_eq!(order(Some(at(30)), later), Order::Wait);
        }
        assert_eq!(order(Some(at(30)), at(28)), Order::Hurry);
    }

    #[test]
    fn a_second_that_has_begun_is_left() {
        assert_eq!(left(Instant::now()), 0);
        assert_eq!(left(Instant::now() + Duration::from_millis(29_500)), 30);
        assert_eq!(left(Instant::now() + period(i64::MAX)), i64::from(u32::MAX));
        assert_eq!(period(-1), Duration::ZERO);
    }
}
