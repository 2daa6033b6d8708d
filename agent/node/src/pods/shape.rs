//! Owns [`Shape`]: a pod's containers as one sees them who runs them, of all three lists of its spec.

use k8s_openapi::api::core::v1::{Container, EphemeralContainer, Pod};

use super::ContainerKind;

/// A container of a pod.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    /// Where it stands.
    pub kind: ContainerKind,
    /// What is wanted; of an ephemeral container what it shares with others.
    pub spec: Container,
    /// The container whose processes an ephemeral one sees.
    pub target: Option<String>,
}

/// When a container that ended is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// Whatever its exit code.
    Always,
    /// When that was not 0.
    OnFailure,
    /// Never.
    Never,
}

impl Policy {
    fn of(name: Option<&str>) -> Option<Self> {
        match name {
            Some("Always") => Some(Self::Always),
            Some("OnFailure") => Some(Self::OnFailure),
            Some("Never") => Some(Self::Never),
            _ => None,
        }
    }
}

/// The containers of a pod, in the order of its spec.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Shape {
    /// Init containers and sidecars.
    pub init: Vec<Member>,
    /// App containers.
    pub app: Vec<Member>,
    /// Ephemeral containers.
    pub ephemeral: Vec<Member>,
    policy: Option<Policy>,
}

impl Shape {
    /// The shape of a pod.
    pub fn of(pod: &Pod) -> Self {
        let Some(spec) = &pod.spec else { return Self::default() };
        let member = |kind, spec: &Container| Member { kind, spec: spec.clone(), target: None };
        let init = spec.init_containers.iter().flatten().map(|container| match container.restart_policy.as_deref() {
            Some("Always") => member(ContainerKind::Sidecar, container),
            _ => member(ContainerKind::Init, container),
        });
        Self {
            init: init.collect(),
            app: spec.containers.iter().map(|container| member(ContainerKind::App, container)).collect(),
            ephemeral: spec.ephemeral_containers.iter().flatten().map(ephemeral).collect(),
            policy: Policy::of(spec.restart_policy.as_deref()),
        }
    }

    /// Every container.
    pub fn all(&self) -> impl Iterator<Item = &Member> {
        self.init.iter().chain(&self.app).chain(&self.ephemeral)
    }

    /// A container by name.
    pub fn get(&self, name: &str) -> Option<&Member> {
        self.all().find(|member| member.spec.name == name)
    }

    /// The pod's `restartPolicy`.
    pub fn policy(&self) -> Policy {
        self.policy.unwrap_or(Policy::Always)
    }

    /// Whether a container that ended with `code` is started again: by its own rules, its own policy,
    /// the pod's.
    pub fn restarts(&self, member: &Member, code: i32) -> bool {
        if member.kind == ContainerKind::Ephemeral {
            return false;
        }
        for rule in member.spec.restart_policy_rules.iter().flatten() {
            let Some(codes) = &rule.exit_codes else { continue };
            let named = codes.values.iter().flatten().any(|value| *value == code);
            let matches = if codes.operator == "NotIn" { !named } else { named };
            if matches {
                return rule.action != "None";
            }
        }
        let policy = match (member.kind, Policy::of(member.spec.restart_policy.as_deref())) {
            (ContainerKind::Sidecar, _) => Policy::Always,
            (_, Some(own)) => own,
            // An init container that did its work is not asked to do it again.
            (ContainerKind::Init, None) if self.policy() == Policy::Always => Policy::OnFailure,
            (_, None) => self.policy(),
        };
        match policy {
            Policy::Always => true,
            Policy::OnFailure => code != 0,
            Policy::Never => false,
        }
    }
}

fn ephemeral(container: &EphemeralContainer) -> Member {
    let container = container.clone();
    Member {
        kind: ContainerKind::Ephemeral,
        target: container.target_container_name.filter(|name| !name.is_empty()),
        spec: Container {
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
        },
    }
}
