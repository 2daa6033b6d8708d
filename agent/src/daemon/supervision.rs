//! Owns what systemd is told: readiness, what is going on, and that the main loop still turns.

use std::time::Duration;

use libsystemd::daemon::{NotifyState, notify, watchdog_enabled};
use tokio::time::{Interval, MissedTickBehavior, interval};

/// Says something to systemd; without systemd, to nobody.
pub fn tell(states: &[NotifyState]) {
    if let Err(error) = notify(false, states) {
        tracing::warn!(%error, "cannot notify systemd");
    }
}

/// Says that the service is up.
pub fn ready() {
    tell(&[NotifyState::Ready, NotifyState::Status("Idle".into())]);
}

/// Says what is going on, for `systemctl status`.
pub fn status(text: &str) {
    tell(&[NotifyState::Status(text.to_owned())]);
}

/// Says that the service is going down.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Says that the main loop turns.
pub fn alive() {
    tell(&[NotifyState::Watchdog]);
}

/// Ticks twice per watchdog period; without a watchdog, once an hour.
pub fn heartbeat() -> Interval {
    let period = watchdog_enabled(false).map_or(Duration::from_secs(3600), |period| period / 2);
    let mut heartbeat = interval(period.max(Duration::from_millis(100)));
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    heartbeat
}
