//! Owns a container as the CRI is asked for it, and what its annotations tell later agents.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{Container, EphemeralContainer, Pod};
use serde::Serialize;

use super::expand::expand;
use super::host::Host;
use super::security::ImageUser;
use super::{resources, sandbox, security};
use crate::cri::{labels, v1};

/// Annotations of containers by which an agent knows after a restart what they are; the kubelet's.
pub mod annotations {
    /// What [`super::hash`] gave when the container was made.
    pub const HASH: &str = "io.kubernetes.container.hash";
    /// How often it had been made before.
    pub const RESTART_COUNT: &str = "io.kubernetes.container.restartCount";
    /// Where in the container it writes its last words.
    pub const TERMINATION_MESSAGE_PATH: &str = "io.kubernetes.container.terminationMessagePath";
    /// Whether the log serves when there are none.
    pub const TERMINATION_MESSAGE_POLICY: &str = "io.kubernetes.container.terminationMessagePolicy";
    /// The hook that runs before it is stopped, as JSON.
    pub const PRE_STOP: &str = "io.kubernetes.container.preStopHandler";
    /// Its ports, as JSON.
    pub const PORTS: &str = "io.kubernetes.container.ports";
    /// The grace period of the pod when it was being deleted already.
    pub const DELETION_GRACE: &str = "io.kubernetes.pod.deletionGracePeriod";
    /// The grace period of the pod.
    pub const GRACE: &str = "io.kubernetes.pod.terminationGracePeriod";
}

/// Where a container writes its last words unless it says otherwise.
const TERMINATION_LOG: &str = "/dev/termination-log";

/// What a container is made from besides the pod.
pub(super) struct Parts<'a> {
    pub image: &'a v1::Image,
    pub environment: &'a [(String, String)],
    pub mounts: Vec<v1::Mount>,
    pub restart: u32,
    /// Where the node keeps its things.
    pub root: &'a Path,
}

pub(super) fn assemble(
    pod: &Pod,
    container: &Container,
    parts: Parts,
    host: &Host,
) -> Result<v1::ContainerConfig, String> {
    let user = ImageUser::of(parts.image);
    let security = security::container(pod, container, &user, parts.root, host)?;
    let (command, args) = command(container, parts.environment);
    let envs = parts.environment.iter();
    Ok(v1::ContainerConfig {
        metadata: Some(v1::ContainerMetadata { name: container.name.clone(), attempt: parts.restart }),
        image: Some(v1::ImageSpec {
            image: parts.image.id.clone(),
            user_specified_image: container.image.clone().unwrap_or_default(),
            ..Default::default()
        }),
        command,
        args,
        working_dir: container.working_dir.clone().unwrap_or_default(),
        envs: envs.map(|(key, value)| v1::KeyValue { key: key.clone(), value: value.clone().into() }).collect(),
        mounts: parts.mounts,
        labels: own_labels(pod, container),
        annotations: own_annotations(pod, container, parts.restart),
        log_path: log_path(container, parts.restart).to_string_lossy().into_owned(),
        stdin: container.stdin.unwrap_or_default(),
        stdin_once: container.stdin_once.unwrap_or_default(),
        tty: container.tty.unwrap_or_default(),
        linux: Some(v1::LinuxContainerConfig {
            resources: Some(resources::container(pod, container, host)),
            security_context: Some(security),
        }),
        ..Default::default()
    })
}

/// Where a container logs, below its pod's folder.
pub fn log_path(container: &Container, restart: u32) -> PathBuf {
    Path::new(&container.name).join(format!("{restart}.log"))
}

/// Has a container see the processes of container `id` of its pod, unless the pod shares them anyway. For
/// ephemeral containers with `targetContainerName`.
pub fn target(config: &mut v1::ContainerConfig, id: &str) {
    let security = config.linux.as_mut().and_then(|linux| linux.security_context.as_mut());
    if let Some(options) = security.and_then(|security| security.namespace_options.as_mut())
        && options.pid() == v1::NamespaceMode::Container
    {
        options.set_pid(v1::NamespaceMode::Target);
        id.clone_into(&mut options.target_id);
    }
}

/// An ephemeral container as one of the others: all that it shares with them.
pub fn ephemeral(container: &EphemeralContainer) -> Container {
    let container = container.clone();
    Container {
        args: container.args,
        command: container.command,
        env: container.env,
        env_from: container.env_from,
        image: container.image,
        image_pull_policy: container.image_pull_policy,
        lifecycle: container.lifecycle,
        liveness_probe: container.liveness_probe,
        name: container.name,
        ports: container.ports,
        readiness_probe: container.readiness_probe,
        resize_policy: container.resize_policy,
        resources: container.resources,
        restart_policy: container.restart_policy,
        restart_policy_rules: container.restart_policy_rules,
        security_context: container.security_context,
        startup_probe: container.startup_probe,
        stdin: container.stdin,
        stdin_once: container.stdin_once,
        termination_message_path: container.termination_message_path,
        termination_message_policy: container.termination_message_policy,
        tty: container.tty,
        volume_devices: container.volume_devices,
        volume_mounts: container.volume_mounts,
        working_dir: container.working_dir,
    }
}

/// What changes when the container must be made anew: its name or its image did. The same as the
/// kubelet's, in hexadecimal, so that either knows the other's containers.
pub fn hash(container: &Container) -> String {
    #[derive(Serialize)]
    struct Picked<'a> {
        image: &'a str,
        name: &'a str,
    }
    let picked = Picked { image: container.image.as_deref().unwrap_or_default(), name: &container.name };
    let json = serde_json::to_string(&picked).unwrap_or_default();
    // The kubelet hashes the bytes of the JSON as Go prints them.
    let bytes: Vec<_> = json.bytes().map(|byte| byte.to_string()).collect();
    let printed = format!("([]uint8)[{}]", bytes.join(" "));
    let fnv = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    format!("{:x}", printed.bytes().fold(0x811c_9dc5, fnv))
}

fn command(container: &Container, environment: &[(String, String)]) -> (Vec<String>, Vec<String>) {
    let values: HashMap<&str, &str> = environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let value = |name: &str| values.get(name).map(|value| (*value).to_owned());
    let expanded = |words: &Option<Vec<String>>| words.iter().flatten().map(|word| expand(word, value)).collect();
    (expanded(&container.command), expanded(&container.args))
}

fn own_labels(pod: &Pod, container: &Container) -> HashMap<String, String> {
    let name = (labels::CONTAINER_NAME.to_owned(), container.name.clone());
    sandbox::identity(pod).into_iter().chain([name]).collect()
}

fn own_annotations(pod: &Pod, container: &Container, restart: u32) -> HashMap<String, String> {
    let path = container.termination_message_path.as_deref().unwrap_or(TERMINATION_LOG);
    let policy = container.termination_message_policy.as_deref().unwrap_or("File");
    let mut all = vec![
        (annotations::HASH, hash(container)),
        (annotations::RESTART_COUNT, restart.to_string()),
        (annotations::TERMINATION_MESSAGE_PATH, path.to_owned()),
        (annotations::TERMINATION_MESSAGE_POLICY, policy.to_owned()),
    ];
    let deletion = pod.metadata.deletion_grace_period_seconds;
    all.extend(deletion.map(|seconds| (annotations::DELETION_GRACE, seconds.to_string())));
    let grace = pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds);
    all.extend(grace.map(|seconds| (annotations::GRACE, seconds.to_string())));
    let hook = container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.pre_stop.as_ref());
    let hook = hook.and_then(|hook| serde_json::to_string(hook).ok());
    all.extend(hook.map(|hook| (annotations::PRE_STOP, hook)));
    let ports = container.ports.as_ref().filter(|ports| !ports.is_empty());
    let ports = ports.and_then(|ports| serde_json::to_string(ports).ok());
    all.extend(ports.map(|ports| (annotations::PORTS, ports)));
    all.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn assembled(own: Value) -> v1::ContainerConfig {
        let meta = json!({"name": "p", "namespace": "ns", "uid": "u", "labels": {"app": "web"}});
        let spec = json!({"containers": [own], "terminationGracePeriodSeconds": 30});
        let pod: Pod = serde_json::from_value(json!({"metadata": meta, "spec": spec})).unwrap();
        let image = v1::Image { id: "sha256:abc".into(), ..Default::default() };
        let environment = [("A".to_owned(), "a".to_owned())];
        let root = Path::new("/root");
        let parts = Parts { image: &image, environment: &environment, mounts: Vec::new(), restart: 3, root };
        assemble(&pod, &pod.spec.as_ref().unwrap().containers[0], parts, &Host::default()).unwrap()
    }

    #[test]
    fn a_container_is_described() {
        let config = assembled(json!({
            "name": "c", "image": "busybox:1", "command": ["sh", "$(A)"], "args": ["$(B)", "$$(A)"],
            "workingDir": "/w", "tty": true, "stdin": true,
        }));
        assert_eq!(config.command, ["sh", "a"]);
        assert_eq!(config.args, ["$(B)", "$(A)"]);
        let image = config.image.unwrap();
        assert_eq!((image.image.as_str(), image.user_specified_image.as_str()), ("sha256:abc", "busybox:1"));
        assert_eq!(config.envs, [v1::KeyValue { key: "A".into(), value: "a".into() }]);
        assert_eq!(config.log_path, "c/3.log");
        assert_eq!(config.working_dir, "/w");
        assert!(config.tty && config.stdin && !config.stdin_once);
        assert_eq!(config.metadata.unwrap().attempt, 3);
        assert_eq!(config.linux.unwrap().resources.unwrap().oom_score_adj, 1000);
    }

    #[test]
    fn a_later_agent_finds_what_it_must_know() {
        let config = assembled(json!({
            "name": "c", "image": "i", "terminationMessagePath": "/m", "ports": [{"containerPort": 80}],
            "lifecycle": {"preStop": {"exec": {"command": ["x"]}}},
        }));
        assert_eq!(config.labels[labels::CONTAINER_NAME], "c");
        assert_eq!(config.labels[labels::POD_UID], "u");
        assert!(!config.labels.contains_key("app"));
        let annotation = |name: &str| config.annotations[name].as_str();
        assert_eq!(annotation(annotations::RESTART_COUNT), "3");
        assert_eq!(annotation(annotations::TERMINATION_MESSAGE_PATH), "/m");
        assert_eq!(annotation(annotations::TERMINATION_MESSAGE_POLICY), "File");
        assert_eq!(annotation(annotations::GRACE), "30");
        assert_eq!(annotation(annotations::PRE_STOP), r#"{"exec":{"command":["x"]}}"#);
        assert_eq!(annotation(annotations::PORTS), r#"[{"containerPort":80}]"#);
        assert!(!config.annotations.contains_key(annotations::DELETION_GRACE));
    }

    #[test]
    fn the_hash_is_the_kubelets() {
        let container = Container { name: "c".into(), image: Some("nginx:1".into()), ..Default::default() };
        assert_eq!(hash(&container), "a26a39cd");
        let other = Container { image: Some("nginx:2".into()), ..container };
        assert_ne!(hash(&other), "a26a39cd");
    }

    #[test]
    fn a_target_is_joined_unless_all_share() {
        let mut config = assembled(json!({"name": "c"}));
        target(&mut config, "id");
        let options = |config: &v1::ContainerConfig| {
            let security = config.linux.as_ref().unwrap().security_context.as_ref().unwrap();
            security.namespace_options.clone().unwrap()
        };
        assert_eq!(options(&config).pid(), v1::NamespaceMode::Target);
        assert_eq!(options(&config).target_id, "id");
        let security = config.linux.as_mut().unwrap().security_context.as_mut().unwrap();
        let shared = v1::NamespaceOption { pid: v1::NamespaceMode::Pod.into(), ..Default::default() };
        security.namespace_options = Some(shared.clone());
        target(&mut config, "id");
        assert_eq!(options(&config), shared);
    }
}
