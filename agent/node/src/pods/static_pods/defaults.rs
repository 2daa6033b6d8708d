//! Owns the defaults that the API gives a pod and that nobody gives a static one. Pure.

use k8s_openapi::api::core::v1::{
    Container, EmptyDirVolumeSource, EnvVarSource, HTTPGetAction, PodSecurityContext, PodSpec, Probe, Volume,
};

/// The classes that every cluster has, and their priorities.
const CLASSES: [(&str, i32); 2] = [("system-node-critical", 2_000_001_000), ("system-cluster-critical", 2_000_000_000)];
/// The mode of files in volumes.
const MODE: i32 = 0o644;

/// Fills in what was left out.
pub(super) fn complete(spec: &mut PodSpec) {
    default(&mut spec.dns_policy, "ClusterFirst");
    default(&mut spec.restart_policy, "Always");
    default(&mut spec.scheduler_name, "default-scheduler");
    spec.security_context.get_or_insert_with(PodSecurityContext::default);
    spec.termination_grace_period_seconds.get_or_insert(30);
    spec.enable_service_links.get_or_insert(true);
    if spec.priority.is_none() {
        let class = CLASSES.iter().find(|(name, _)| spec.priority_class_name.as_deref() == Some(name));
        spec.priority = class.map(|(_, priority)| *priority);
    }
    let on_host = spec.host_network == Some(true);
    for of_container in spec.init_containers.iter_mut().flatten().chain(&mut spec.containers) {
        container(of_container, on_host);
    }
    spec.volumes.iter_mut().flatten().for_each(volume);
}

fn container(container: &mut Container, on_host: bool) {
    default(&mut container.image_pull_policy, pull_policy(container.image.as_deref().unwrap_or_default()));
    default(&mut container.termination_message_path, "/dev/termination-log");
    default(&mut container.termination_message_policy, "File");
    for port in container.ports.iter_mut().flatten() {
        default(&mut port.protocol, "TCP");
        if on_host {
            port.host_port = port.host_port.filter(|port| *port != 0).or(Some(port.container_port));
        }
    }
    if let Some(resources) = &mut container.resources
        && let Some(limits) = &resources.limits
    {
        let requests = resources.requests.get_or_insert_default();
        for (name, limit) in limits {
            requests.entry(name.clone()).or_insert_with(|| limit.clone());
        }
    }
    let sources = container.env.iter_mut().flatten().filter_map(|variable| variable.value_from.as_mut());
    sources.for_each(source);
    let probes = [&mut container.liveness_probe, &mut container.readiness_probe, &mut container.startup_probe];
    probes.into_iter().flatten().for_each(probe);
    if let Some(lifecycle) = &mut container.lifecycle {
        let hooks = [&mut lifecycle.post_start, &mut lifecycle.pre_stop].into_iter().flatten();
        hooks.filter_map(|hook| hook.http_get.as_mut()).for_each(http_get);
    }
}

fn source(source: &mut EnvVarSource) {
    if let Some(field) = &mut source.field_ref {
        default(&mut field.api_version, "v1");
    }
}

fn probe(probe: &mut Probe) {
    let counts = [
        (&mut probe.timeout_seconds, 1),
        (&mut probe.period_seconds, 10),
        (&mut probe.success_threshold, 1),
        (&mut probe.failure_threshold, 3),
    ];
    for (count, default) in counts {
        *count = count.filter(|count| *count != 0).or(Some(default));
    }
    if let Some(action) = &mut probe.http_get {
        http_get(action);
    }
}

fn http_get(action: &mut HTTPGetAction) {
    default(&mut action.path, "/");
    default(&mut action.scheme, "HTTP");
}

fn volume(volume: &mut Volume) {
    let bare = Volume { name: volume.name.clone(), ..Default::default() };
    if *volume == bare {
        volume.empty_dir = Some(EmptyDirVolumeSource::default());
    }
    if let Some(path) = &mut volume.host_path {
        path.type_.get_or_insert_default();
    }
    if let Some(image) = &mut volume.image {
        default(&mut image.pull_policy, pull_policy(image.reference.as_deref().unwrap_or_default()));
    }
    if let Some(projected) = &mut volume.projected {
        projected.default_mode.get_or_insert(MODE);
    }
    let whole = volume.downward_api.as_mut();
    let items = whole.map(|whole| {
        whole.default_mode.get_or_insert(MODE);
        &mut whole.items
    });
    let parts = volume.projected.iter_mut().flat_map(|projected| projected.sources.iter_mut().flatten());
    let parts = parts.filter_map(|part| part.downward_api.as_mut()).map(|part| &mut part.items);
    for item in items.into_iter().chain(parts).flatten().flatten() {
        if let Some(field) = &mut item.field_ref {
            default(&mut field.api_version, "v1");
        }
    }
}

/// An image without a tag or digest, or of the tag `latest`, may be another one every time.
fn pull_policy(image: &str) -> &'static str {
    let name = image.rsplit('/').next().unwrap_or_default();
    let tag = match (name.contains('@'), name.split_once(':')) {
        (true, _) => "",
        (false, Some((_, tag))) => tag,
        (false, None) => "latest",
    };
    if tag == "latest" { "Always" } else { "IfNotPresent" }
}

fn default(field: &mut Option<String>, value: &str) {
    if field.as_deref().unwrap_or_default().is_empty() {
        *field = Some(value.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pulls_what_may_change() {
        assert_eq!(pull_policy("registry:5000/proxy"), "Always");
        assert_eq!(pull_policy("proxy:latest"), "Always");
        assert_eq!(pull_policy("registry:5000/proxy:1.2"), "IfNotPresent");
        assert_eq!(pull_policy("proxy@sha256:00"), "IfNotPresent");
    }

    #[test]
    fn fills_in_what_the_api_would() {
        let text = r#"{
            "hostNetwork": true, "priorityClassName": "system-node-critical",
            "containers": [{"name": "a", "image": "b:1", "ports": [{"containerPort": 80}],
                "resources": {"limits": {"cpu": "2", "memory": "1Gi"}, "requests": {"cpu": "1"}},
                "env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
                "livenessProbe": {"httpGet": {"port": 80}, "periodSeconds": 3}}],
            "volumes": [{"name": "v"}, {"name": "h", "hostPath": {"path": "/"}},
                {"name": "d", "downwardAPI": {"items": [{"path": "p", "fieldRef": {"fieldPath": "metadata.name"}}]}}]
        }"#;
        let mut spec: PodSpec = serde_json::from_str(text).unwrap();
        complete(&mut spec);
        let spec = serde_json::to_value(spec).unwrap();
        let expected = [
            ("/dnsPolicy", "\"ClusterFirst\""),
            ("/restartPolicy", "\"Always\""),
            ("/terminationGracePeriodSeconds", "30"),
            ("/priority", "2000001000"),
            ("/securityContext", "{}"),
            ("/containers/0/imagePullPolicy", "\"IfNotPresent\""),
            ("/containers/0/ports/0/hostPort", "80"),
            ("/containers/0/ports/0/protocol", "\"TCP\""),
            ("/containers/0/resources/requests/cpu", "\"1\""),
            ("/containers/0/resources/requests/memory", "\"1Gi\""),
            ("/containers/0/env/0/valueFrom/fieldRef/apiVersion", "\"v1\""),
            ("/containers/0/livenessProbe/periodSeconds", "3"),
            ("/containers/0/livenessProbe/failureThreshold", "3"),
            ("/containers/0/livenessProbe/httpGet/scheme", "\"HTTP\""),
            ("/volumes/0/emptyDir", "{}"),
            ("/volumes/1/hostPath/type", "\"\""),
            ("/volumes/2/downwardAPI/defaultMode", "420"),
            ("/volumes/2/downwardAPI/items/0/fieldRef/apiVersion", "\"v1\""),
        ];
        for (path, value) in expected {
            assert_eq!(spec.pointer(path).map(ToString::to_string).as_deref(), Some(value), "{path}");
        }
    }
}
