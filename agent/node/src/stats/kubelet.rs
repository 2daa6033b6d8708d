//! Owns /metrics and /metrics/probes: the node about itself.

use procfs::process::{LimitValue, Process};

use super::counters;
use super::node;
use super::text::Text;
use crate::context::Context;
use crate::cri::v1::ContainerState;

/// /metrics.
pub fn kubelet(context: &Context) -> String {
    let mut text = Text::default();
    let name = "kubelet_node_name";
    text.family(name, "gauge", "The node's name. The count is always 1.").sample(&[("node", &context.settings.name)], 1);
    pods(&mut text, context);
    counters::render(&mut text);
    process(&mut text);
    text.finish()
}

/// /metrics/probes.
pub fn probes() -> String {
    let mut text = Text::default();
    if let Ok(stat) = Process::myself().and_then(|process| process.stat()) {
        start_time(&mut text, stat.starttime);
    }
    text.finish()
}

fn pods(text: &mut Text, context: &Context) {
    let pods = context.pods.list();
    let running = pods.iter().filter(|pod| pod.sandbox.is_some()).count();
    text.single("kubelet_running_pods", "gauge", "Number of pods that have a running pod sandbox", running);
    text.single("kubelet_active_pods", "gauge", "The number of pods the kubelet considers active", pods.len());
    let states = [
        ("created", ContainerState::ContainerCreated),
        ("exited", ContainerState::ContainerExited),
        ("running", ContainerState::ContainerRunning),
        ("unknown", ContainerState::ContainerUnknown),
    ];
    let mut family = text.family("kubelet_running_containers", "gauge", "Number of containers currently running");
    for (name, state) in states {
        let count = pods.iter().flat_map(|pod| &pod.containers).filter(|container| container.state == state).count();
        if count > 0 {
            family.sample(&[("container_state", name)], count);
        }
    }
}

fn process(text: &mut Text) {
    let Ok(process) = Process::myself() else { return };
    let help = "Number of open file descriptors.";
    if let Ok(open) = process.fd_count() {
        text.single("process_open_fds", "gauge", help, open);
    }
    if let Ok(LimitValue::Value(most)) = process.limits().map(|limits| limits.max_open_files.soft_limit) {
        text.single("process_max_fds", "gauge", "Maximum number of open file descriptors.", most);
    }
    let Ok(stat) = process.stat() else { return };
    #[expect(clippy::cast_precision_loss, reason = "a float is what the metric is")]
    let seconds = (stat.utime + stat.stime) as f64 / procfs::ticks_per_second() as f64;
    let help = "Total user and system CPU time spent in seconds.";
    text.single("process_cpu_seconds_total", "counter", help, seconds);
    text.single("process_resident_memory_bytes", "gauge", "Resident memory size in bytes.", stat.rss * procfs::page_size());
    text.single("process_virtual_memory_bytes", "gauge", "Virtual memory size in bytes.", stat.vsize);
    start_time(text, stat.starttime);
}

/// When the process was started, `ticks` after the host.
fn start_time(text: &mut Text, ticks: u64) {
    let Some(boot) = node::boot_time() else { return };
    #[expect(clippy::cast_precision_loss, reason = "a float is what the metric is")]
    let started = boot.as_duration().as_secs_f64() + ticks as f64 / procfs::ticks_per_second() as f64;
    let help = "Start time of the process since unix epoch in seconds.";
    text.single("process_start_time_seconds", "gauge", help, started);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_is_shown() {
        let mut text = Text::default();
        process(&mut text);
        let text = text.finish();
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.and_then(|value| value.parse::<f64>().ok()).unwrap_or_else(|| panic!("no {name} in {text}"))
        };
        assert!(value("process_resident_memory_bytes") > 1e5);
        assert!(value("process_open_fds") >= 3.0);
        let now = jiff::Timestamp::now().as_duration().as_secs_f64();
        let age = now - value("process_start_time_seconds");
        assert!((-2.0..86400.0).contains(&age), "{age}");
        assert!(probes().contains("process_start_time_seconds"));
    }
}
