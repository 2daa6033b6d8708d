//! The summary of made-up snapshots.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{EmptyDirVolumeSource, Pod, PodSpec, PodStatus, Volume};

use super::*;
use crate::pods::PodView;

pub(in crate::stats) fn snapshot() -> Snapshot {
    let volume = |name: &str, medium: Option<&str>| Volume {
        name: name.into(),
        empty_dir: Some(EmptyDirVolumeSource { medium: medium.map(str::to_owned), size_limit: None }),
        ..Default::default()
    };
    let volumes = vec![volume("disk", None), volume("memory", Some("Memory"))];
    let mut pod = Pod { spec: Some(PodSpec { volumes: Some(volumes), ..Default::default() }), ..Default::default() };
    pod.metadata.uid = Some("u".into());
    let view = PodView {
        pod: Arc::new(pod),
        status: PodStatus::default(),
        sandbox: None,
        ips: Vec::new(),
        containers: Vec::new(),
        terminating: false,
    };
    let memory = MemoryUsage { usage: 100, working_set: 60, limit: Some(200), ..Default::default() };
    let usage = Usage { cpu: Some(2_500_000_000), memory: Some(memory), pids: Some(3) };
    let container = ContainerSample {
        name: "c".into(),
        id: "id".into(),
        cgroup: "pod/id".into(),
        started: Timestamp::from_second(50).ok(),
        usage,
    };
    let pod = PodSample {
        uid: "u".into(),
        name: "p".into(),
        namespace: "n".into(),
        created: Timestamp::from_second(40).ok(),
        cgroup: "pod".into(),
        usage,
        containers: vec![container],
        view: Arc::new(view),
    };
    let memory = node::Memory { capacity: 1000, usage: 500, working_set: 300, ..Default::default() };
    Snapshot { at: Timestamp::from_second(100).expect("a time"), cpu: Some(7_000_000_000), memory, pods: vec![pod] }
}

fn extras() -> Extras {
    let size = |bytes| Space { bytes, inodes: 1 };
    let fs = FsUsage { available: 50, capacity: 90, used: 40, inodes_free: 5, inodes: 9 };
    let volumes = vec![("disk".into(), size(100), fs), ("memory".into(), size(1000), fs), ("odd".into(), size(1), fs)];
    let disk = Disk { logs: HashMap::from([("c".into(), size(10))]), volumes };
    Extras {
        nodefs: fs,
        layers: HashMap::from([("id".into(), size(1))]),
        disk: HashMap::from([("u".into(), disk)]),
        ..Default::default()
    }
}

#[test]
fn the_summary_adds_up() {
    let rates = HashMap::from([("pod/id".to_owned(), 5)]);
    let summary = summary("host", &snapshot(), &rates, Some(&extras()));
    let json = serde_json::to_value(&summary).expect("JSON");
    assert_eq!(json["node"]["nodeName"], "host");
    assert_eq!(json["node"]["memory"]["availableBytes"], 700);
    assert_eq!(json["node"]["fs"]["usedBytes"], 40);
    assert_eq!(json["node"]["fs"]["inodesUsed"], 4);
    let pod = &json["pods"][0];
    assert_eq!(pod["podRef"], serde_json::json!({"name": "p", "namespace": "n", "uid": "u"}));
    assert_eq!(pod["startTime"], "1970-01-01T00:00:40Z");
    assert_eq!(pod["ephemeral-storage"]["usedBytes"], 111, "not what is in memory");
    assert_eq!(pod["volume"].as_array().map(Vec::len), Some(2), "not what the pod does not name");
    assert_eq!(pod["cpu"].get("usageNanoCores"), None);
    let container = &pod["containers"][0];
    assert_eq!(container["cpu"]["usageNanoCores"], 5);
    assert_eq!(container["memory"]["availableBytes"], 140);
    assert_eq!(container["logs"]["usedBytes"], 10);
    assert_eq!(container["rootfs"]["usedBytes"], 1);
}

#[test]
fn only_processor_and_memory_when_asked() {
    let summary = summary("host", &snapshot(), &HashMap::new(), None);
    let json = serde_json::to_value(&summary).expect("JSON");
    assert_eq!(json["node"].get("fs"), None);
    assert_eq!(json["pods"][0]["containers"][0].get("logs"), None);
    assert_eq!(json["pods"][0]["memory"]["workingSetBytes"], 60);
}

#[test]
fn rates_come_with_the_second_sample() {
    let summaries = Summaries::default();
    let mut snapshot = snapshot();
    assert!(summaries.rates(&snapshot).is_empty());
    snapshot.at = Timestamp::from_second(110).expect("a time");
    snapshot.cpu = Some(12_000_000_000);
    let rates = summaries.rates(&snapshot);
    assert_eq!(rates.get(""), Some(&500_000_000));
    assert_eq!(rates.get("pod/id"), Some(&0));
}
