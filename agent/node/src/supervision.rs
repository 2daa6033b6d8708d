//! Owns what systemd is told: that the node runs, what it is about, and that its tasks still turn.

use std::time::Duration;

use libsystemd::daemon::{NotifyState, notify, watchdog_enabled};

/// Says that the service is up. It is up before it has joined: only a fault of its own is one that a
/// restart helps against.
pub fn ready() {
    tell(&[NotifyState::Ready]);
}

/// Says what is going on, for `systemctl status`.
pub fn status(text: &str) {
    tell(&[NotifyState::Status(text.to_owned())]);
}

/// Says that the service is going down.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Says again and again that tasks turn, when systemd wants to hear it.
pub async fn watchdog() {
    let Some(period) = watchdog_enabled(false) else { return };
    let mut ticks = tokio::time::interval((period / 2).max(Duration::from_millis(100)));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        tell(&[NotifyState::Watchdog]);
    }
}

fn tell(states: &[NotifyState]) {
    if let Err(error) = notify(false, states) {
        tracing::warn!(%error, "cannot notify systemd");
    }
}
