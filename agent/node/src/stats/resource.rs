//! Owns /metrics/resource, which metrics-server reads.

use super::sample::Snapshot;
use super::text::{Text, seconds};

/// The metrics of a snapshot.
pub(super) fn render(snapshot: &Snapshot) -> String {
    let mut text = Text::default();
    let at = snapshot.at;
    let name = "node_cpu_usage_seconds_total";
    let mut family = text.family(name, "counter", "Cumulative cpu time consumed by the node in core-seconds");
    if let Some(cpu) = snapshot.cpu {
        family.sample_at(&[], seconds(cpu), at);
    }
    let name = "node_memory_working_set_bytes";
    let mut family = text.family(name, "gauge", "Current working set of the node in bytes");
    family.sample_at(&[], snapshot.memory.working_set, at);
    let mut family = text.family("node_swap_usage_bytes", "gauge", "Current swap usage of the node in bytes");
    family.sample_at(&[], snapshot.memory.swap_total.saturating_sub(snapshot.memory.swap_free), at);
    containers(&mut text, snapshot);
    pods(&mut text, snapshot);
    let failed = u8::from(snapshot.cpu.is_none() || snapshot.memory.capacity == 0);
    let help = "1 if there was an error while getting container metrics, 0 otherwise";
    text.single("scrape_error", "gauge", help, failed);
    text.single("resource_scrape_error", "gauge", help, failed);
    text.finish()
}

fn containers(text: &mut Text, snapshot: &Snapshot) {
    let all = || snapshot.pods.iter().flat_map(|pod| pod.containers.iter().map(move |container| (pod, container)));
    let name = "container_start_time_seconds";
    let mut family = text.family(name, "gauge", "Start time of the container since unix epoch in seconds");
    for (pod, container) in all() {
        let labels = [("container", &*container.name), ("namespace", &*pod.namespace), ("pod", &*pod.name)];
        if let Some(started) = container.started {
            family.sample(&labels, started.as_duration().as_secs_f64());
        }
    }
    let name = "container_cpu_usage_seconds_total";
    let mut family = text.family(name, "counter", "Cumulative cpu time consumed by the container in core-seconds");
    for (pod, container) in all() {
        let labels = [("container", &*container.name), ("namespace", &*pod.namespace), ("pod", &*pod.name)];
        if let Some(cpu) = container.usage.cpu {
            family.sample_at(&labels, seconds(cpu), snapshot.at);
        }
    }
    let name = "container_memory_working_set_bytes";
    let mut family = text.family(name, "gauge", "Current working set of the container in bytes");
    for (pod, container) in all() {
        let labels = [("container", &*container.name), ("namespace", &*pod.namespace), ("pod", &*pod.name)];
        if let Some(memory) = container.usage.memory {
            family.sample_at(&labels, memory.working_set, snapshot.at);
        }
    }
    let name = "container_swap_usage_bytes";
    let mut family = text.family(name, "gauge", "Current amount of the container swap usage in bytes");
    for (pod, container) in all() {
        let labels = [("container", &*container.name), ("namespace", &*pod.namespace), ("pod", &*pod.name)];
        if let Some(memory) = container.usage.memory {
            family.sample_at(&labels, memory.swap, snapshot.at);
        }
    }
}

fn pods(text: &mut Text, snapshot: &Snapshot) {
    let running = || snapshot.pods.iter().filter(|pod| !pod.containers.is_empty());
    let name = "pod_cpu_usage_seconds_total";
    let mut family = text.family(name, "counter", "Cumulative cpu time consumed by the pod in core-seconds");
    for pod in running() {
        if let Some(cpu) = pod.usage.cpu {
            family.sample_at(&[("namespace", &pod.namespace), ("pod", &pod.name)], seconds(cpu), snapshot.at);
        }
    }
    let mut family =
        text.family("pod_memory_working_set_bytes", "gauge", "Current working set of the pod in bytes");
    for pod in running() {
        if let Some(memory) = pod.usage.memory {
            family.sample_at(&[("namespace", &pod.namespace), ("pod", &pod.name)], memory.working_set, snapshot.at);
        }
    }
    let mut family = text.family("pod_swap_usage_bytes", "gauge", "Current amount of the pod swap usage in bytes");
    for pod in running() {
        if let Some(memory) = pod.usage.memory {
            family.sample_at(&[("namespace", &pod.namespace), ("pod", &pod.name)], memory.swap, snapshot.at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::summary::tests::snapshot;

    #[test]
    fn metrics_server_finds_what_it_reads() {
        let text = render(&snapshot());
        for line in [
            "node_cpu_usage_seconds_total 7 100000",
            "node_memory_working_set_bytes 300 100000",
            "container_start_time_seconds{container=\"c\",namespace=\"n\",pod=\"p\"} 50",
            "container_cpu_usage_seconds_total{container=\"c\",namespace=\"n\",pod=\"p\"} 2.5 100000",
            "container_memory_working_set_bytes{container=\"c\",namespace=\"n\",pod=\"p\"} 60 100000",
            "pod_cpu_usage_seconds_total{namespace=\"n\",pod=\"p\"} 2.5 100000",
            "resource_scrape_error 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }

    #[test]
    fn a_host_that_cannot_be_read_is_an_error() {
        let broken = Snapshot { cpu: None, pods: Vec::new(), ..snapshot() };
        let text = render(&broken);
        assert!(text.contains("\nresource_scrape_error 1\n"));
        assert!(!text.contains("node_cpu_usage_seconds_total"));
    }
}
