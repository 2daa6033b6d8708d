//! Owns /metrics/cadvisor: containers, pods and the host under the names that dashboards ask for.

use std::collections::HashMap;

use super::cgroup::Usage;
use super::network::Interface;
use super::sample::Snapshot;
use super::text::{Text, seconds};

/// Something that is measured: a container, the whole of a pod, or the host.
struct Measured<'a> {
    labels: [(&'static str, &'a str); 6],
    usage: Usage,
    started: Option<f64>,
}

/// The metrics of a snapshot and the pods' interfaces, by UID.
pub(super) fn render(snapshot: &Snapshot, networks: &HashMap<String, Vec<Interface>>) -> String {
    let ids = Ids::of(snapshot);
    let measured = measured(snapshot, &ids);
    let mut text = Text::default();
    let mut family = text.family("container_cpu_usage_seconds_total", "counter", "Cumulative cpu time consumed in seconds.");
    for found in &measured {
        let [container, id, image, name, namespace, pod] = found.labels;
        if let Some(cpu) = found.usage.cpu {
            let labels = [container, ("cpu", "total"), id, image, name, namespace, pod];
            family.sample_at(&labels, seconds(cpu), snapshot.at);
        }
    }
    let mut family = text.family("container_start_time_seconds", "gauge", "Start time of the container since unix epoch in seconds.");
    for found in &measured {
        if let Some(started) = found.started {
            family.sample_at(&found.labels, started, snapshot.at);
        }
    }
    memory(&mut text, snapshot, &measured);
    let mut family = text.family("container_threads", "gauge", "Number of threads running inside the container");
    for found in &measured {
        if let Some(pids) = found.usage.pids {
            family.sample_at(&found.labels, pids, snapshot.at);
        }
    }
    network(&mut text, snapshot, &ids, networks);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    text.single("machine_cpu_cores", "gauge", "Number of logical CPU cores.", cores);
    text.single("machine_memory_bytes", "gauge", "Amount of memory installed on the machine.", snapshot.memory.capacity);
    text.finish()
}

/// Labels that have to be made up: paths of cgroups, images.
struct Ids(HashMap<String, (String, String)>);

impl Ids {
    fn of(snapshot: &Snapshot) -> Self {
        let mut ids = HashMap::new();
        for pod in &snapshot.pods {
            ids.insert(pod.cgroup.clone(), (format!("/{}", pod.cgroup), String::new()));
            let statuses = &pod.view.status;
            let statuses = [&statuses.container_statuses, &statuses.init_container_statuses];
            for container in &pod.containers {
                let status = statuses.iter().copied().flatten().flatten().find(|status| status.name == container.name);
                let image = status.map(|status| status.image.clone()).unwrap_or_default();
                ids.insert(container.cgroup.clone(), (format!("/{}", container.cgroup), image));
            }
        }
        Self(ids)
    }

    fn get(&self, cgroup: &str) -> (&str, &str) {
        self.0.get(cgroup).map_or(("/", ""), |(id, image)| (id, image))
    }
}

fn measured<'a>(snapshot: &'a Snapshot, ids: &'a Ids) -> Vec<Measured<'a>> {
    let labels = |container, cgroup, name, namespace, pod| {
        let (id, image) = ids.get(cgroup);
        [("container", container), ("id", id), ("image", image), ("name", name), ("namespace", namespace), ("pod", pod)]
    };
    let host = Usage { cpu: snapshot.cpu, ..Usage::default() };
    let mut all = vec![Measured { labels: labels("", "", "", "", ""), usage: host, started: None }];
    for pod in &snapshot.pods {
        let own = labels("", &pod.cgroup, "", &pod.namespace, &pod.name);
        let started = pod.created.map(|time| time.as_duration().as_secs_f64());
        all.push(Measured { labels: own, usage: pod.usage, started });
        all.extend(pod.containers.iter().map(|container| Measured {
            labels: labels(&container.name, &container.cgroup, &container.id, &pod.namespace, &pod.name),
            usage: container.usage,
            started: container.started.map(|time| time.as_duration().as_secs_f64()),
        }));
    }
    all
}

fn memory(text: &mut Text, snapshot: &Snapshot, measured: &[Measured<'_>]) {
    type Read = fn(&super::cgroup::MemoryUsage) -> u64;
    let families: [(&str, &str, Read); 6] = [
        ("container_memory_usage_bytes", "Current memory usage in bytes, including all memory.", |memory| memory.usage),
        ("container_memory_working_set_bytes", "Current working set in bytes.", |memory| memory.working_set),
        ("container_memory_rss", "Size of RSS in bytes.", |memory| memory.rss),
        ("container_memory_cache", "Number of bytes of page cache memory.", |memory| memory.cache),
        ("container_memory_swap", "Container swap usage in bytes.", |memory| memory.swap),
        // 0 where there is none.
        ("container_spec_memory_limit_bytes", "Memory limit for the container.", |memory| memory.limit.unwrap_or(0)),
    ];
    for (name, help, read) in families {
        let mut family = text.family(name, "gauge", help);
        for found in measured {
            if let Some(memory) = &found.usage.memory {
                family.sample_at(&found.labels, read(memory), snapshot.at);
            }
        }
    }
}

fn network(text: &mut Text, snapshot: &Snapshot, ids: &Ids, networks: &HashMap<String, Vec<Interface>>) {
    type Read = fn(&Interface) -> u64;
    let families: [(&str, &str, Read); 8] = [
        ("container_network_receive_bytes_total", "Cumulative count of bytes received", |found| found.rx_bytes),
        ("container_network_receive_packets_total", "Cumulative count of packets received", |found| found.rx_packets),
        ("container_network_receive_errors_total", "Cumulative count of errors while receiving", |found| found.rx_errors),
        ("container_network_receive_packets_dropped_total", "Packets dropped while receiving", |found| found.rx_dropped),
        ("container_network_transmit_bytes_total", "Cumulative count of bytes transmitted", |found| found.tx_bytes),
        ("container_network_transmit_packets_total", "Cumulative count of packets sent", |found| found.tx_packets),
        ("container_network_transmit_errors_total", "Cumulative count of errors while sending", |found| found.tx_errors),
        ("container_network_transmit_packets_dropped_total", "Packets dropped while sending", |found| found.tx_dropped),
    ];
    for (name, help, read) in families {
        let mut family = text.family(name, "counter", help);
        for pod in &snapshot.pods {
            let (id, image) = ids.get(&pod.cgroup);
            for found in networks.get(&pod.uid).into_iter().flatten() {
                let labels = [
                    ("container", ""),
                    ("id", id),
                    ("image", image),
                    ("interface", &*found.name),
                    ("name", ""),
                    ("namespace", &*pod.namespace),
                    ("pod", &*pod.name),
                ];
                family.sample_at(&labels, read(found), snapshot.at);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::summary::tests::snapshot;

    #[test]
    fn dashboards_find_what_they_ask_for() {
        let eth0 = Interface { name: "eth0".into(), rx_bytes: 10, ..Default::default() };
        let text = render(&snapshot(), &HashMap::from([("u".to_owned(), vec![eth0])]));
        let container = "container=\"c\",id=\"/pod/id\",image=\"\",name=\"id\",namespace=\"n\",pod=\"p\"";
        let cpu = container.replace(",id=", ",cpu=\"total\",id=");
        let pod = "container=\"\",id=\"/pod\",image=\"\",interface=\"eth0\",name=\"\",namespace=\"n\",pod=\"p\"";
        for line in [
            format!("container_cpu_usage_seconds_total{{{cpu}}} 2.5 100000"),
            format!("container_memory_working_set_bytes{{{container}}} 60 100000"),
            format!("container_spec_memory_limit_bytes{{{container}}} 200 100000"),
            format!("container_network_receive_bytes_total{{{pod}}} 10 100000"),
            "machine_memory_bytes 1000".to_owned(),
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        let host = "container_cpu_usage_seconds_total{container=\"\",cpu=\"total\",id=\"/\"";
        assert!(text.contains(host), "{text}");
    }
}
