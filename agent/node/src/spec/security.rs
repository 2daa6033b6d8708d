//! Owns as whom and how confined containers and sandboxes run. Pure but for facts of the host.

use std::path::Path;

use k8s_openapi::api::core::v1::{
    AppArmorProfile, Container, Pod, PodSecurityContext, SELinuxOptions, SeccompProfile, SecurityContext,
};

use super::host::Host;
use crate::cri::v1;
use crate::cri::v1::security_profile::ProfileType;

/// What containers do not see of /proc and /sys.
const MASKED: [&str; 12] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];
/// What they see and cannot change.
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// The user that an image runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ImageUser {
    Id(i64),
    Name(String),
}

impl ImageUser {
    /// The image's, root where it says nothing.
    pub(super) fn of(image: &v1::Image) -> Self {
        match &image.uid {
            Some(uid) => Self::Id(uid.value),
            None if !image.username.is_empty() => Self::Name(image.username.clone()),
            None => Self::Id(0),
        }
    }
}

/// How a container is confined. `root` is where the node keeps its things, seccomp profiles among them.
pub(super) fn container(
    pod: &Pod,
    container: &Container,
    user: &ImageUser,
    root: &Path,
    host: &Host,
) -> Result<v1::LinuxContainerSecurityContext, String> {
    let of_pod = pod_context(pod);
    let own = container.security_context.clone().unwrap_or_default();
    let chosen = effective(of_pod, &own);
    non_root(pod, container, &chosen, user)?;
    let apparmor = own.app_armor_profile.as_ref().or(of_pod.and_then(|pod| pod.app_armor_profile.as_ref()));
    let seccomp = own.seccomp_profile.as_ref().or(of_pod.and_then(|pod| pod.seccomp_profile.as_ref()));
    let unmasked = own.proc_mount.as_deref() == Some("Unmasked");
    let mut context = v1::LinuxContainerSecurityContext {
        capabilities: own.capabilities.map(|capabilities| v1::Capability {
            add_capabilities: capabilities.add.unwrap_or_default(),
            drop_capabilities: capabilities.drop.unwrap_or_default(),
            ..Default::default()
        }),
        privileged: own.privileged.unwrap_or_default(),
        namespace_options: Some(namespaces(pod)?),
        selinux_options: chosen.se_linux_options.as_ref().map(selinux),
        run_as_user: chosen.run_as_user.map(|value| v1::Int64Value { value }),
        run_as_group: chosen.run_as_group.map(|value| v1::Int64Value { value }),
        readonly_rootfs: own.read_only_root_filesystem.unwrap_or_default(),
        supplemental_groups: groups(of_pod),
        supplemental_groups_policy: groups_policy(of_pod)?,
        no_new_privs: own.allow_privilege_escalation == Some(false),
        masked_paths: if unmasked { Vec::new() } else { masked(host) },
        readonly_paths: if unmasked { Vec::new() } else { READ_ONLY.map(str::to_owned).to_vec() },
        seccomp: Some(seccomp_profile(seccomp, root)?),
        apparmor: apparmor.map(apparmor_profile).transpose()?,
        ..Default::default()
    };
    if context.run_as_user.is_none() {
        match user {
            ImageUser::Id(value) => context.run_as_user = Some(v1::Int64Value { value: *value }),
            ImageUser::Name(name) => context.run_as_username.clone_from(name),
        }
    }
    Ok(context)
}

/// How a sandbox is confined.
pub(super) fn sandbox(pod: &Pod) -> Result<v1::LinuxSandboxSecurityContext, String> {
    let of_pod = pod_context(pod);
    Ok(v1::LinuxSandboxSecurityContext {
        namespace_options: Some(namespaces(pod)?),
        selinux_options: of_pod.and_then(|pod| pod.se_linux_options.as_ref()).map(selinux),
        run_as_user: of_pod.and_then(|pod| pod.run_as_user).map(|value| v1::Int64Value { value }),
        run_as_group: of_pod.and_then(|pod| pod.run_as_group).map(|value| v1::Int64Value { value }),
        supplemental_groups: groups(of_pod),
        supplemental_groups_policy: groups_policy(of_pod)?,
        privileged: has_privileged(pod),
        // The pause container needs nothing beyond that, whatever the pod's own containers need.
        seccomp: Some(profile(ProfileType::RuntimeDefault, String::new())),
        ..Default::default()
    })
}

/// Which of its namespaces a pod shares with the host, and its containers with each other.
fn namespaces(pod: &Pod) -> Result<v1::NamespaceOption, String> {
    use v1::NamespaceMode::{Container, Node, Pod};
    let spec = pod.spec.as_ref();
    let is = |flag: Option<bool>| flag.unwrap_or_default();
    if spec.and_then(|spec| spec.host_users) == Some(false) {
        return Err("this node does not run pods in user namespaces (hostUsers: false)".to_owned());
    }
    let host = |flag: Option<bool>| if is(flag) { Node } else { Pod };
    let pid = match spec {
        Some(spec) if is(spec.host_pid) => Node,
        Some(spec) if is(spec.share_process_namespace) => Pod,
        _ => Container,
    };
    Ok(v1::NamespaceOption {
        network: host(spec.and_then(|spec| spec.host_network)).into(),
        pid: pid.into(),
        ipc: host(spec.and_then(|spec| spec.host_ipc)).into(),
        ..Default::default()
    })
}

fn pod_context(pod: &Pod) -> Option<&PodSecurityContext> {
    pod.spec.as_ref().and_then(|spec| spec.security_context.as_ref())
}

/// What can be said of both, of the container where it says it, else of the pod.
fn effective(pod: Option<&PodSecurityContext>, own: &SecurityContext) -> SecurityContext {
    SecurityContext {
        run_as_user: own.run_as_user.or(pod.and_then(|pod| pod.run_as_user)),
        run_as_group: own.run_as_group.or(pod.and_then(|pod| pod.run_as_group)),
        run_as_non_root: own.run_as_non_root.or(pod.and_then(|pod| pod.run_as_non_root)),
        se_linux_options: own.se_linux_options.clone().or(pod.and_then(|pod| pod.se_linux_options.clone())),
        ..Default::default()
    }
}

/// Refuses a container that would run as root and must not.
fn non_root(pod: &Pod, container: &Container, chosen: &SecurityContext, user: &ImageUser) -> Result<(), String> {
    if chosen.run_as_non_root != Some(true) {
        return Ok(());
    }
    let (name, namespace) = (pod.metadata.name.as_deref(), pod.metadata.namespace.as_deref());
    let (name, namespace) = (name.unwrap_or_default(), namespace.unwrap_or_default());
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    let at = format!("(pod: \"{name}_{namespace}({uid})\", container: {})", container.name);
    match (chosen.run_as_user, user) {
        (Some(0), _) => Err(format!("container's runAsUser breaks non-root policy {at}")),
        (Some(_), _) => Ok(()),
        (None, ImageUser::Id(0)) => Err(format!("container has runAsNonRoot and image will run as root {at}")),
        (None, ImageUser::Id(id)) if !(0..=i64::from(i32::MAX)).contains(id) => {
            Err(format!("container has runAsNonRoot and image has an invalid user id ({id}) {at}"))
        }
        (None, ImageUser::Id(_)) => Ok(()),
        (None, ImageUser::Name(name)) => Err(format!(
            "container has runAsNonRoot and image has non-numeric user ({name}), cannot verify user is non-root {at}"
        )),
    }
}

fn groups(pod: Option<&PodSecurityContext>) -> Vec<i64> {
    let more = pod.and_then(|pod| pod.supplemental_groups.as_ref());
    pod.and_then(|pod| pod.fs_group).into_iter().chain(more.into_iter().flatten().copied()).collect()
}

fn groups_policy(pod: Option<&PodSecurityContext>) -> Result<i32, String> {
    match pod.and_then(|pod| pod.supplemental_groups_policy.as_deref()) {
        None | Some("Merge") => Ok(v1::SupplementalGroupsPolicy::Merge.into()),
        Some("Strict") => Ok(v1::SupplementalGroupsPolicy::Strict.into()),
        Some(other) => Err(format!("unsupported supplementalGroupsPolicy: {other}")),
    }
}

fn masked(host: &Host) -> Vec<String> {
    MASKED.map(str::to_owned).into_iter().chain(host.thermal.iter().cloned()).collect()
}

fn selinux(options: &SELinuxOptions) -> v1::SeLinuxOption {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    v1::SeLinuxOption {
        user: text(&options.user),
        role: text(&options.role),
        r#type: text(&options.type_),
        level: text(&options.level),
    }
}

fn profile(kind: ProfileType, localhost_ref: String) -> v1::SecurityProfile {
    v1::SecurityProfile { profile_type: kind.into(), localhost_ref }
}

fn seccomp_profile(wanted: Option<&SeccompProfile>, root: &Path) -> Result<v1::SecurityProfile, String> {
    let Some(wanted) = wanted else { return Ok(profile(ProfileType::Unconfined, String::new())) };
    match wanted.type_.as_str() {
        "RuntimeDefault" => Ok(profile(ProfileType::RuntimeDefault, String::new())),
        "Localhost" => match wanted.localhost_profile.as_deref() {
            None | Some("") => Err("localhostProfile must be set if seccompProfile type is Localhost.".to_owned()),
            Some(name) => {
                let path = root.join("seccomp").join(name);
                Ok(profile(ProfileType::Localhost, path.to_string_lossy().into_owned()))
            }
        },
        _ => Ok(profile(ProfileType::Unconfined, String::new())),
    }
}

fn apparmor_profile(wanted: &AppArmorProfile) -> Result<v1::SecurityProfile, String> {
    match wanted.type_.as_str() {
        "RuntimeDefault" => Ok(profile(ProfileType::RuntimeDefault, String::new())),
        "Unconfined" => Ok(profile(ProfileType::Unconfined, String::new())),
        "Localhost" => {
            let name = wanted.localhost_profile.clone().ok_or("missing localhost apparmor profile name")?;
            Ok(profile(ProfileType::Localhost, name))
        }
        other => Err(format!("unknown apparmor profile type: {other:?}")),
    }
}

/// Whether AppArmor must confine any of the pod's containers.
pub(super) fn wants_apparmor(pod: &Pod) -> bool {
    let confines = |profile: Option<&AppArmorProfile>| profile.is_some_and(|profile| profile.type_ != "Unconfined");
    contexts(pod).any(|context| confines(context.app_armor_profile.as_ref()))
        || confines(pod_context(pod).and_then(|pod| pod.app_armor_profile.as_ref()))
}

fn has_privileged(pod: &Pod) -> bool {
    contexts(pod).any(|context| context.privileged.unwrap_or_default())
}

/// What all containers of a pod say of their own confinement.
fn contexts(pod: &Pod) -> impl Iterator<Item = &SecurityContext> {
    let spec = pod.spec.as_ref();
    let containers = spec.into_iter().flat_map(|spec| spec.containers.iter());
    let init = spec.into_iter().flat_map(|spec| spec.init_containers.iter().flatten());
    let ephemeral = spec.into_iter().flat_map(|spec| spec.ephemeral_containers.iter().flatten());
    let ephemeral = ephemeral.filter_map(|container| container.security_context.as_ref());
    containers.chain(init).filter_map(|container| container.security_context.as_ref()).chain(ephemeral)
}

#[cfg(test)]
mod tests;
