//! Owns ending pods with grace when the host shuts down: logind is asked to wait, pods are stopped, the
//! critical ones last, and the node says that it is not ready. Only where there is D-Bus with a logind.
//!
//! The time for it is logind's `InhibitDelayMaxSec`. It covers shutdowns that go through logind
//! (`systemctl reboot`, the power button), not units started behind its back.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::time::Instant;
use zbus::{Connection, OwnedFd};

use super::Control;
use crate::context::Context;
use crate::cri::v1::ContainerState;
use crate::events::Kind;
use crate::pods::PodView;
use crate::systemd::has_bus;

const RECONNECT: Duration = Duration::from_secs(30);
/// From this priority on a pod is critical: it ends after the others.
pub const CRITICAL: i32 = 2_000_000_000;
const REASON: &str = "Terminated";
const MESSAGE: &str = "Pod was terminated in response to imminent node shutdown.";

#[zbus::proxy(
    interface = "org.freedesktop.login1.Manager",
    default_service = "org.freedesktop.login1",
    default_path = "/org/freedesktop/login1"
)]
trait Login {
    /// Takes a lock that lasts as long as the file is open.
    fn inhibit(&self, what: &str, who: &str, why: &str, mode: &str) -> zbus::Result<OwnedFd>;

    /// How long a shutdown waits for locks, microseconds.
    #[zbus(property, name = "InhibitDelayMaxUSec")]
    fn delay(&self) -> zbus::Result<u64>;

    /// A shutdown begins, or was called off.
    #[zbus(signal)]
    fn prepare_for_shutdown(&self, start: bool) -> zbus::Result<()>;
}

/// Watches for shutdowns for ever.
pub async fn run(context: &Arc<Context>, control: &Control) {
    if !has_bus() {
        tracing::info!("there is no D-Bus here: pods are not told of a shutdown of the host");
        return std::future::pending().await;
    }
    let mut failing = false;
    loop {
        if let Err(error) = watch(context, control).await
            && !std::mem::replace(&mut failing, true)
        {
            tracing::warn!("cannot ask logind to wait for pods when the host shuts down, trying again: {error}");
        }
        tokio::time::sleep(RECONNECT).await;
    }
}

async fn watch(context: &Arc<Context>, control: &Control) -> zbus::Result<()> {
    let login = LoginProxy::new(&Connection::system().await?).await?;
    let mut signals = login.receive_prepare_for_shutdown().await?;
    let mut lock = Some(inhibit(&login).await?);
    while let Some(signal) = signals.next().await {
        let start = signal.args()?.start;
        control.shutting_down.send_replace(start);
        tell(context, start);
        if start {
            let delay = login.delay().await.map_or(Duration::from_secs(5), Duration::from_micros);
            end_pods(context, budget(delay)).await;
            lock.take();
        } else if lock.is_none() {
            lock = Some(inhibit(&login).await?);
        }
    }
    Ok(())
}

async fn inhibit(login: &LoginProxy<'_>) -> zbus::Result<OwnedFd> {
    login.inhibit("shutdown", "keelson-node", "pods are ended with grace", "delay").await
}

fn tell(context: &Context, start: bool) {
    let message = if start {
        "Shutdown manager detected shutdown event"
    } else {
        "Shutdown manager detected shutdown cancellation"
    };
    if let Some(node) = context.node.borrow().as_deref() {
        context.events.node(node, Kind::Normal, "NodeShutdown", message.to_owned());
    }
}

/// The time for ordinary pods, and for critical ones, within what logind waits; a second is left for the
/// node to say what happened.
fn budget(delay: Duration) -> (Duration, Duration) {
    let whole = delay.saturating_sub(Duration::from_secs(1));
    let critical = (whole / 3).min(Duration::from_secs(10));
    (whole - critical, critical)
}

async fn end_pods(context: &Context, (ordinary, critical): (Duration, Duration)) {
    let (last, first): (Vec<_>, Vec<_>) = context.pods.list().into_iter().partition(|pod| is_critical(pod));
    for (pods, time) in [(first, ordinary), (last, critical)] {
        for pod in &pods {
            context.pods.evict(pod.uid(), REASON, MESSAGE, grace(pod, time));
        }
        let deadline = Instant::now() + time;
        while Instant::now() < deadline && pods.iter().any(|pod| runs(context, pod.uid())) {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

fn is_critical(pod: &PodView) -> bool {
    pod.pod.spec.as_ref().and_then(|spec| spec.priority).is_some_and(|priority| priority >= CRITICAL)
}

/// What the pod asks for, as far as there is time.
fn grace(pod: &PodView, time: Duration) -> i64 {
    let time = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    let own = pod.pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds);
    own.unwrap_or(30).min(time).max(1)
}

fn runs(context: &Context, uid: &str) -> bool {
    let pod = context.pods.by_uid(uid);
    pod.is_some_and(|pod| pod.containers.iter().any(|c| c.state == ContainerState::ContainerRunning))
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::{Pod, PodSpec};

    fn view(priority: Option<i32>, grace: Option<i64>) -> PodView {
        let spec = PodSpec { priority, termination_grace_period_seconds: grace, ..PodSpec::default() };
        PodView::of(Pod { spec: Some(spec), ..Pod::default() }, Default::default())
    }

    #[test]
    fn critical_pods_get_a_third_and_ten_seconds_at_most() {
        let second = Duration::from_secs;
        assert_eq!(budget(second(31)), (second(20), second(10)));
        assert_eq!(budget(second(61)), (second(50), second(10)));
        assert_eq!(budget(second(7)), (second(4), second(2)));
        assert_eq!(budget(Duration::ZERO), (Duration::ZERO, Duration::ZERO));
    }

    #[test]
    fn grace_is_the_pods_own_as_far_as_there_is_time() {
        assert_eq!(grace(&view(None, Some(5)), Duration::from_secs(20)), 5);
        assert_eq!(grace(&view(None, None), Duration::from_secs(20)), 20);
        assert_eq!(grace(&view(None, Some(0)), Duration::from_secs(20)), 1);
        assert!(is_critical(&view(Some(2_000_001_000), None)) && !is_critical(&view(Some(7), None)));
    }
}
