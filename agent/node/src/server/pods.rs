//! Owns answers about the pods and the node itself: lists, health, configuration.

use k8s_openapi::List;
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use serde::Serialize;
use serde_json::json;

use super::reply::{self, Refusal, Response};
use crate::config::{CgroupDriver, Settings};
use crate::context::Context;
use crate::cri::v1::{ContainerState, VersionRequest};
use crate::logs;
use crate::pods::PodView;

/// /pods: the pods of this node, with their status as it knows it.
pub(super) fn list(context: &Context) -> Result<Response, Refusal> {
    let pods = context.pods.list().into_iter().map(|view| {
        let mut pod = (*view.pod).clone();
        pod.status = Some(view.status.clone());
        pod
    });
    encode(&List::<Pod> { items: pods.collect(), ..Default::default() })
}

/// /runningpods: of the pods that run, the containers that run.
pub(super) fn running(context: &Context) -> Result<Response, Refusal> {
    let pods = context.pods.list().into_iter().filter(|view| view.sandbox.is_some());
    encode(&List::<Pod> { items: pods.map(|view| shortened(&view)).collect(), ..Default::default() })
}

fn shortened(view: &PodView) -> Pod {
    let image = |name: &str| {
        let spec = view.pod.spec.as_ref()?;
        let all = spec.containers.iter().chain(spec.init_containers.iter().flatten());
        all.clone().find(|container| container.name == name)?.image.clone()
    };
    let running = view.containers.iter().filter(|container| container.state == ContainerState::ContainerRunning);
    let containers = running
        .map(|found| Container { name: found.name.clone(), image: image(&found.name), ..Default::default() })
        .collect();
    let mut pod = Pod { spec: Some(PodSpec { containers, ..Default::default() }), ..Default::default() };
    pod.metadata.name.clone_from(&view.pod.metadata.name);
    pod.metadata.namespace.clone_from(&view.pod.metadata.namespace);
    pod.metadata.uid.clone_from(&view.pod.metadata.uid);
    pod
}

/// /healthz/syncloop: pods can be brought forward, for which containerd must answer.
pub(super) async fn sync_loop(context: &Context) -> Result<Response, Refusal> {
    match context.cri.version(VersionRequest::default()).await {
        Ok(_) => Ok(reply::text(hyper::StatusCode::OK, "ok")),
        Err(error) => Err(Refusal::internal(format!("[-]syncloop failed: {error}\nhealthz check failed\n"))),
    }
}

/// /configz: the configuration in the kubelet's words.
pub(super) fn configz(settings: &Settings) -> Result<Response, Refusal> {
    encode(&configuration(settings))
}

fn configuration(settings: &Settings) -> serde_json::Value {
    let driver = match settings.cgroup_driver {
        CgroupDriver::Systemd => "systemd",
        CgroupDriver::Cgroupfs => "cgroupfs",
    };
    let taints =
        settings.taints.iter().map(|taint| json!({"key": taint.key, "value": taint.value, "effect": taint.effect}));
    json!({"kubeletconfig": {
        "kind": "KubeletConfiguration",
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "enableServer": true,
        "port": settings.port,
        "staticPodPath": settings.static_pods,
        "podLogsDir": settings.logs,
        "authentication": {"x509": {}, "webhook": {"enabled": true, "cacheTTL": "2m0s"}, "anonymous": {"enabled": false}},
        "authorization": {
            "mode": "Webhook",
            "webhook": {"cacheAuthorizedTTL": "5m0s", "cacheUnauthorizedTTL": "30s"},
        },
        "clusterDomain": settings.cluster_domain,
        "clusterDNS": settings.cluster_dns,
        "resolvConf": settings.resolv_conf,
        "cgroupDriver": driver,
        "maxPods": settings.max_pods,
        "podPidsLimit": settings.pod_pids_limit,
        "containerRuntimeEndpoint": format!("unix://{}", settings.containerd.display()),
        "containerLogMaxSize": format!("{}Mi", logs::MAX_SIZE >> 20),
        "containerLogMaxFiles": logs::MAX_FILES,
        "systemReserved": settings.reserved,
        "registerWithTaints": taints.collect::<Vec<_>>(),
        "rotateCertificates": true,
    }})
}

fn encode(value: &impl Serialize) -> Result<Response, Refusal> {
    serde_json::to_vec(value).map(reply::json).map_err(Refusal::internal)
}
