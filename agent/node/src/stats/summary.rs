//! Owns /stats/summary: what the host, pods and containers use, with rates and what they take of the disk.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use jiff::Timestamp;

use super::cgroup::{MemoryUsage, Usage};
use super::network;
use super::node::{self, FsUsage};
use super::rates::Rates;
use super::sample::{self, ContainerSample, PodSample, Snapshot};
use super::storage;
use super::types::{self, ContainerStats, Cpu, Fs, Memory, Network, NodeStats, PodStats, Summary, Swap, Time, Volume};
use crate::context::Context;
use crate::disk::{self, Space};

/// How long an answer is given again.
const LASTS: Duration = Duration::from_secs(10);
/// Between two samples when there is none from before.
const APART: Duration = Duration::from_millis(100);

/// Answers /stats/summary; keeps what rates are computed from.
#[derive(Default)]
pub struct Summaries {
    rates: Mutex<Rates>,
    last: tokio::sync::Mutex<Option<(Instant, Bytes)>>,
}

impl Summaries {
    /// The summary as JSON, at most some seconds old.
    pub async fn full(&self, context: &Context) -> Result<Bytes, serde_json::Error> {
        // Who asks meanwhile waits for the same answer.
        let mut last = self.last.lock().await;
        if let Some((_, answer)) = last.as_ref().filter(|(at, _)| at.elapsed() < LASTS) {
            return Ok(answer.clone());
        }
        let (snapshot, rates) = self.sample(context).await;
        let extras = Extras::gather(context, &snapshot).await;
        let summary = summary(&context.settings.name, &snapshot, &rates, Some(&extras));
        let answer = Bytes::from(serde_json::to_vec(&summary)?);
        *last = Some((Instant::now(), answer.clone()));
        Ok(answer)
    }

    /// Only processor and memory, as of now.
    pub async fn cpu_and_memory(&self, context: &Context) -> Result<Bytes, serde_json::Error> {
        let (snapshot, rates) = self.sample(context).await;
        let summary = summary(&context.settings.name, &snapshot, &rates, None);
        serde_json::to_vec(&summary).map(Bytes::from)
    }

    /// What is used now, and how fast processor time grows, by cgroup.
    async fn sample(&self, context: &Context) -> (Snapshot, HashMap<String, u64>) {
        let snapshot = sample::collect(context).await;
        let rates = self.rates(&snapshot);
        if rates.contains_key("") {
            return (snapshot, rates);
        }
        tokio::time::sleep(APART).await;
        let snapshot = sample::collect(context).await;
        let rates = self.rates(&snapshot);
        (snapshot, rates)
    }

    fn rates(&self, snapshot: &Snapshot) -> HashMap<String, u64> {
        let at = u64::try_from(snapshot.at.as_nanosecond()).unwrap_or_default();
        let mut rates = self.rates.lock().unwrap_or_else(PoisonError::into_inner);
        let pods = snapshot.pods.iter().map(|pod| (pod.cgroup.as_str(), pod.usage.cpu));
        let containers = snapshot.pods.iter().flat_map(|pod| &pod.containers);
        let containers = containers.map(|container| (container.cgroup.as_str(), container.usage.cpu));
        let all = [("", snapshot.cpu)].into_iter().chain(pods).chain(containers);
        let found = all.filter_map(|(key, total)| Some((key.to_owned(), rates.observe(key, at, total?)?))).collect();
        rates.prune(at);
        found
    }
}

/// What is not in a [`Snapshot`], because it takes longer to have.
#[derive(Debug, Default)]
struct Extras {
    nodefs: FsUsage,
    imagefs: FsUsage,
    images: Space,
    layers: HashMap<String, Space>,
    pids: (u64, u64),
    host: Vec<network::Interface>,
    networks: HashMap<String, Vec<network::Interface>>,
    /// Logs by container, volumes by name; by UID.
    disk: HashMap<String, Disk>,
}

/// What a pod takes of the disk, without layers.
#[derive(Debug, Default)]
struct Disk {
    logs: HashMap<String, Space>,
    volumes: Vec<(String, Space, FsUsage)>,
}

impl Extras {
    async fn gather(context: &Context, snapshot: &Snapshot) -> Self {
        let images = node::image_fs(context).await.unwrap_or_default();
        let value = |value: Option<crate::cri::v1::UInt64Value>| value.map(|value| value.value).unwrap_or_default();
        let root = context.settings.root.clone();
        let views: Vec<_> = snapshot.pods.iter().map(|pod| pod.view.clone()).collect();
        let measure = move || views.iter().map(|view| (view.uid().to_owned(), disk(&root, view))).collect();
        let nodefs = node::fs_usage(&context.settings.root).unwrap_or_default();
        Self {
            nodefs,
            imagefs: node::fs_usage(&node::images_path()).unwrap_or(nodefs),
            images: Space { bytes: value(images.used_bytes), inodes: value(images.inodes_used) },
            layers: storage::layers(context).await,
            pids: node::pids().unwrap_or_default(),
            host: network::of_host(),
            networks: network::of_pods(context.settings.cgroup_driver, &snapshot.pods).await,
            disk: tokio::task::spawn_blocking(measure).await.unwrap_or_default(),
        }
    }
}

fn disk(root: &Path, view: &crate::pods::PodView) -> Disk {
    let logs = view
        .containers
        .iter()
        .filter_map(|container| Some((container.name.clone(), disk::space(container.log.parent()?))));
    let volumes = storage::volumes(root, view.uid()).into_iter();
    let volumes = volumes.map(|(name, path)| (name, disk::space(&path), node::fs_usage(&path).unwrap_or_default()));
    Disk { logs: logs.collect(), volumes: volumes.collect() }
}

fn summary(name: &str, snapshot: &Snapshot, rates: &HashMap<String, u64>, extras: Option<&Extras>) -> Summary {
    let at = Time(Some(snapshot.at));
    let pods = snapshot.pods.iter().filter(|pod| !pod.containers.is_empty());
    let memory = &snapshot.memory;
    let node = NodeStats {
        node_name: name.to_owned(),
        system_containers: Vec::new(),
        start_time: Time(node::boot_time()),
        cpu: snapshot.cpu.map(|total| cpu(at, "", total, rates)),
        memory: Memory {
            time: at,
            available_bytes: Some(memory.capacity.saturating_sub(memory.working_set)),
            usage_bytes: memory.usage,
            working_set_bytes: memory.working_set,
            rss_bytes: memory.rss,
            page_faults: memory.faults.0,
            major_page_faults: memory.faults.1,
        },
        network: extras.and_then(|extras| network(at, &extras.host)),
        fs: extras.map(|extras| whole(at, &extras.nodefs)),
        runtime: extras.map(|extras| {
            let images = part(at, &extras.imagefs, extras.images);
            types::Runtime { image_fs: images.clone(), container_fs: images }
        }),
        rlimit: extras.map(|extras| types::Rlimit { time: at, maxpid: extras.pids.1, curproc: extras.pids.0 }),
        swap: Some(Swap {
            time: at,
            swap_available_bytes: Some(memory.swap_free),
            swap_usage_bytes: memory.swap_total.saturating_sub(memory.swap_free),
        }),
    };
    Summary { node, pods: pods.map(|pod| pod_stats(snapshot.at, pod, rates, extras)).collect() }
}

fn pod_stats(at: Timestamp, pod: &PodSample, rates: &HashMap<String, u64>, extras: Option<&Extras>) -> PodStats {
    let at = Time(Some(at));
    let disk = extras.and_then(|extras| extras.disk.get(&pod.uid));
    let containers = pod.containers.iter().map(|container| container_stats(at, container, rates, extras, disk));
    PodStats {
        pod_ref: types::PodRef { name: pod.name.clone(), namespace: pod.namespace.clone(), uid: pod.uid.clone() },
        start_time: Time(pod.created),
        containers: containers.collect(),
        cpu: pod.usage.cpu.map(|total| cpu(at, &pod.cgroup, total, rates)),
        memory: pod.usage.memory.map(|usage| memory(at, &usage)),
        network: extras.and_then(|extras| network(at, extras.networks.get(&pod.uid)?)),
        volume: disk.map(|disk| volumes(at, pod, disk)).unwrap_or_default(),
        ephemeral_storage: extras.zip(disk).map(|(extras, disk)| ephemeral(at, pod, extras, disk)),
        process_stats: pod.usage.pids.map(|process_count| types::Processes { process_count }),
        swap: swap(at, &pod.usage),
    }
}

fn container_stats(
    at: Time,
    container: &ContainerSample,
    rates: &HashMap<String, u64>,
    extras: Option<&Extras>,
    disk: Option<&Disk>,
) -> ContainerStats {
    let layer = |extras: &Extras| extras.layers.get(&container.id).copied().unwrap_or_default();
    let log = |disk: &Disk| disk.logs.get(&container.name).copied().unwrap_or_default();
    ContainerStats {
        name: container.name.clone(),
        start_time: Time(container.started),
        cpu: container.usage.cpu.map(|total| cpu(at, &container.cgroup, total, rates)),
        memory: container.usage.memory.map(|usage| memory(at, &usage)),
        rootfs: extras.map(|extras| part(at, &extras.imagefs, layer(extras))),
        logs: extras.zip(disk).map(|(extras, disk)| part(at, &extras.nodefs, log(disk))),
        swap: swap(at, &container.usage),
    }
}

fn cpu(time: Time, cgroup: &str, total: u64, rates: &HashMap<String, u64>) -> Cpu {
    Cpu { time, usage_nano_cores: rates.get(cgroup).copied(), usage_core_nano_seconds: total }
}

fn memory(time: Time, usage: &MemoryUsage) -> Memory {
    Memory {
        time,
        available_bytes: usage.limit.map(|limit| limit.saturating_sub(usage.working_set)),
        usage_bytes: usage.usage,
        working_set_bytes: usage.working_set,
        rss_bytes: usage.rss,
        page_faults: usage.faults,
        major_page_faults: usage.major_faults,
    }
}

fn swap(time: Time, usage: &Usage) -> Option<Swap> {
    Some(Swap { time, swap_available_bytes: None, swap_usage_bytes: usage.memory?.swap })
}

fn network(time: Time, interfaces: &[network::Interface]) -> Option<Network> {
    let shown = interfaces.iter().map(|interface| types::Interface {
        name: interface.name.clone(),
        rx_bytes: interface.rx_bytes,
        rx_errors: interface.rx_errors,
        tx_bytes: interface.tx_bytes,
        tx_errors: interface.tx_errors,
    });
    let interfaces: Vec<_> = shown.collect();
    let first = interfaces.iter().find(|interface| interface.name == "eth0").or(interfaces.first())?.clone();
    Some(Network { time, first, interfaces })
}

/// A whole file system.
fn whole(time: Time, fs: &FsUsage) -> Fs {
    part(time, fs, Space { bytes: fs.used, inodes: fs.inodes.saturating_sub(fs.inodes_free) })
}

/// What something takes of a file system.
fn part(time: Time, fs: &FsUsage, size: Space) -> Fs {
    Fs {
        time,
        available_bytes: fs.available,
        capacity_bytes: fs.capacity,
        used_bytes: size.bytes,
        inodes_free: fs.inodes_free,
        inodes: fs.inodes,
        inodes_used: size.inodes,
    }
}

fn volumes(time: Time, pod: &PodSample, disk: &Disk) -> Vec<Volume> {
    let spec = pod.view.pod.spec.as_ref().and_then(|spec| spec.volumes.as_deref()).unwrap_or_default();
    let known = disk.volumes.iter().filter_map(|(name, size, fs)| {
        let volume = spec.iter().find(|volume| volume.name == *name)?;
        let claim = volume.persistent_volume_claim.as_ref();
        Some(Volume {
            fs: part(time, fs, *size),
            name: name.clone(),
            pvc_ref: claim
                .map(|claim| types::PvcRef { name: claim.claim_name.clone(), namespace: pod.namespace.clone() }),
        })
    });
    known.collect()
}

/// What a pod takes of the node's disk in all: layers, logs, `emptyDir` volumes that are not in memory.
fn ephemeral(time: Time, pod: &PodSample, extras: &Extras, disk: &Disk) -> Fs {
    let mut total = Space::default();
    for container in &pod.containers {
        total += extras.layers.get(&container.id).copied().unwrap_or_default();
    }
    disk.logs.values().for_each(|size| total += *size);
    for (name, _) in storage::empty_dirs(&pod.view).iter().filter(|(_, memory)| !memory) {
        let found = disk.volumes.iter().find(|(volume, ..)| volume == name);
        total += found.map(|(_, size, _)| *size).unwrap_or_default();
    }
    part(time, &extras.nodefs, total)
}

#[cfg(test)]
pub(super) mod tests;
