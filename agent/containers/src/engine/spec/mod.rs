//! Translates what was asked of a container to what the runtime takes: Docker's words to an OCI
//! spec, with Docker's defaults. What has to be looked up comes in as facts.

mod caps;
mod cgroups;
pub mod devices;
mod mounts;
pub mod resources;
pub mod seccomp;
mod user;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use bollard::models::HostConfigCgroupnsModeEnum;
use oci_spec::runtime::{
    BoxBuilder, Capability, Linux, LinuxCapabilities, LinuxNamespace, LinuxNamespaceType, LinuxSeccomp, Process, Root,
    Spec, User,
};

pub use self::cgroups::Cgroups;
pub use self::devices::Devices;
pub use self::mounts::{SHM_SIZE, Shm};
pub use self::user::{Accounts, Identity};
use super::record::Record;
use super::stop::PATIENCE;
use super::{config, signal};
use crate::error::{Error, Result};

/// What begins the annotations that runtimes hand on to systemd.
const SYSTEMD: &str = "org.systemd.property.";
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Where the program for `--init` is put.
const INIT: &str = "/sbin/docker-init";

/// Not for containers to see …
const MASKED: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];
/// … or to change.
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// A namespace of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Space {
    /// Its own.
    Own,
    /// The host's.
    Host,
    /// The one at this path.
    At(PathBuf),
}

/// What had to be looked up.
#[derive(Debug)]
pub struct Facts<'a> {
    /// Its name in its network, also in `/etc/hostname`.
    pub hostname: &'a str,
    /// Its cgroup.
    pub cgroup: PathBuf,
    /// Has this host cgroup v2 alone?
    pub unified: bool,
    /// Who its process is.
    pub identity: Identity,
    /// Variables for links.
    pub variables: Vec<String>,
    /// Its network.
    pub network: Space,
    /// Its System V and POSIX queues.
    pub ipc: Space,
    /// Its shared memory.
    pub shm: Shm,
    /// Its processes.
    pub pid: Space,
    /// The folder with the `hosts`, `hostname` and `resolv.conf` made for it.
    pub files: Option<&'a Path>,
    /// Its devices.
    pub devices: Devices,
    /// Its filter of system calls.
    pub seccomp: Option<LinuxSeccomp>,
    /// What it may do.
    pub capabilities: HashSet<Capability>,
    /// The program of the host to put before its own, for `--init`.
    pub init: Option<&'a str>,
}

/// What is asked about the security of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Security {
    /// The seccomp profile: none is the default one.
    pub seccomp: Option<String>,
    /// May its processes gain no privileges?
    pub no_new_privileges: bool,
    /// Are no paths of /proc hidden?
    pub unmasked: bool,
}

impl Security {
    /// Reads `--security-opt`.
    pub fn parse(options: &[String]) -> Result<Self> {
        let mut security = Self::default();
        for option in options {
            let (key, value) = option.split_once(['=', ':']).unwrap_or((option, ""));
            match (key, value) {
                ("seccomp", value) if !value.is_empty() => security.seccomp = Some(value.to_owned()),
                ("no-new-privileges", "" | "true") => security.no_new_privileges = true,
                ("no-new-privileges", "false") => security.no_new_privileges = false,
                ("systempaths", "unconfined") => security.unmasked = true,
                // There is neither AppArmor nor SELinux to be free of.
                ("apparmor", "unconfined") | ("label", "disable") => {}
                _ => return Err(Error::Invalid(format!("invalid --security-opt: \"{option}\""))),
            }
        }
        Ok(security)
    }
}

/// The capabilities of a container on a host that has these, a bit each.
pub fn capabilities(record: &Record, there: u64) -> Result<HashSet<Capability>> {
    let host = &record.host;
    let list = |list: &Option<Vec<String>>| list.clone().unwrap_or_default();
    caps::decide(&list(&host.cap_add), &list(&host.cap_drop), host.privileged.unwrap_or(false), there)
}

/// All capabilities of a host that has these, a bit each.
pub fn all_capabilities(there: u64) -> Result<HashSet<Capability>> {
    caps::decide(&[], &[], true, there)
}

/// The spec of a container.
pub fn build(record: &Record, facts: Facts<'_>) -> Result<Spec> {
    let host = &record.host;
    let wanted =
        mounts::Wanted { host, points: &record.mounts, files: facts.files, init: facts.init, shm: facts.shm.clone() };
    let mut root = Root::default();
    root.set_path("rootfs".into()).set_readonly(host.readonly_rootfs);
    let mut spec = Spec::default();
    spec.set_version("1.0.2".to_owned());
    spec.set_root(Some(root));
    spec.set_mounts(Some(mounts::decide(&wanted)?));
    spec.set_hostname(Some(facts.hostname.to_owned()).filter(|_| host.uts_mode.as_deref() != Some("host")));
    spec.set_process(Some(process(record, &facts)?));
    spec.set_annotations(Some(annotations(record)?));
    spec.set_linux(Some(linux(record, facts)?));
    Ok(spec)
}

/// What was asked for, and for systemd, which ends the container when the host goes down, how that is done: by
/// the container's own signal, and in its own time. By itself it would wait 90 seconds for each that takes no
/// notice of SIGTERM, as the first process of a container does unless it says otherwise.
fn annotations(record: &Record) -> Result<HashMap<String, String>> {
    let config = &record.config;
    let signal = signal::parse(config.stop_signal.as_deref().unwrap_or_default(), signal::TERM)?;
    let mut annotations = HashMap::from([(format!("{SYSTEMD}KillSignal"), format!("int32 {signal}"))]);
    // Who is never to be killed is waited for as long as systemd waits.
    if let Ok(seconds) = u64::try_from(config.stop_timeout.unwrap_or(PATIENCE)) {
        // Nothing at all would be for ever.
        let micros = seconds.max(1).saturating_mul(1_000_000);
        annotations.insert(format!("{SYSTEMD}TimeoutStopUSec"), format!("uint64 {micros}"));
    }
    annotations.extend(record.host.annotations.clone().unwrap_or_default());
    Ok(annotations)
}

fn process(record: &Record, facts: &Facts<'_>) -> Result<Process> {
    let (config, host) = (&record.config, &record.host);
    let security = Security::parse(host.security_opt.as_deref().unwrap_or_default())?;
    let mut user = User::default();
    user.set_uid(facts.identity.uid).set_gid(facts.identity.gid);
    user.set_additional_gids(Some(facts.identity.groups.clone()));
    let mut args = config::arguments(config)?;
    if facts.init.is_some() {
        args.splice(0..0, [INIT.to_owned(), "--".to_owned()]);
    }
    let mut process = Process::default();
    process.set_terminal(config.tty.filter(|tty| *tty));
    process.set_user(user);
    process.set_args(Some(args));
    process.set_env(Some(environment(record, facts)));
    process.set_cwd(config.working_dir.as_deref().filter(|path| !path.is_empty()).unwrap_or("/").into());
    process.set_no_new_privileges(Some(security.no_new_privileges));
    process.set_capabilities(Some(held(&facts.capabilities, facts.identity.uid)));
    process.set_rlimits(resources::rlimits(host.ulimits.as_deref().unwrap_or_default())?);
    // Said also when nobody asked: what is not said is inherited from containerd's shim, which the kernel
    // is told to spare, and then the services of the host die for a container that takes all memory.
    process.set_oom_score_adj(Some(host.oom_score_adj.and_then(|score| i32::try_from(score).ok()).unwrap_or(0)));
    if let Some([height, width]) = host.console_size.as_deref()
        && *height > 0
    {
        let size = BoxBuilder::default().height(*height as u64).width(*width as u64).build();
        process.set_console_size(size.ok());
    }
    Ok(process)
}

/// Root has them at once; others may get them by executing a file that has them.
pub fn held(set: &HashSet<Capability>, uid: u32) -> LinuxCapabilities {
    let mut held = LinuxCapabilities::default();
    let now = if uid == 0 { set.clone() } else { HashSet::new() };
    held.set_bounding(Some(set.clone())).set_effective(Some(now.clone())).set_permitted(Some(now));
    held.set_inheritable(None).set_ambient(None);
    held
}

/// What everyone gets, what links say, and what was asked for, the later replacing the earlier.
fn environment(record: &Record, facts: &Facts<'_>) -> Vec<String> {
    let mut all = vec![PATH.to_owned(), format!("HOSTNAME={}", facts.hostname)];
    if record.config.tty.unwrap_or(false) {
        all.push("TERM=xterm".to_owned());
    }
    all.extend(facts.variables.iter().cloned());
    for entry in record.config.env.iter().flatten() {
        let (key, value) = entry.split_once('=').map_or((entry.as_str(), None), |(key, value)| (key, Some(value)));
        all.retain(|known| known.split('=').next() != Some(key));
        // A name alone takes the variable away.
        all.extend(value.map(|_| entry.clone()));
    }
    all
}

fn linux(record: &Record, facts: Facts<'_>) -> Result<Linux> {
    let host = &record.host;
    let privileged = host.privileged.unwrap_or(false);
    let security = Security::parse(host.security_opt.as_deref().unwrap_or_default())?;
    let paths = |asked: &Option<Vec<String>>, usual: &[&str]| match asked {
        Some(paths) => Some(paths.clone()),
        None if privileged || security.unmasked => None,
        None => Some(usual.iter().map(|path| (*path).to_owned()).collect()),
    };
    let mut linux = Linux::default();
    linux.set_sysctl(host.sysctls.clone().filter(|sysctls| !sysctls.is_empty()));
    linux.set_resources(Some(resources::limits(host, facts.devices.rules.clone())?));
    linux.set_cgroups_path(Some(facts.cgroup.clone()));
    linux.set_namespaces(Some(namespaces(record, &facts)));
    linux.set_devices(Some(facts.devices.nodes).filter(|nodes| !nodes.is_empty()));
    linux.set_seccomp(facts.seccomp);
    linux.set_masked_paths(paths(&host.masked_paths, &MASKED));
    linux.set_readonly_paths(paths(&host.readonly_paths, &READ_ONLY));
    linux.set_rootfs_propagation(propagation(record).map(str::to_owned));
    Ok(linux)
}

/// Mounts are seen on the other side only when the root lets them through.
fn propagation(record: &Record) -> Option<&'static str> {
    let has = |word: &str| {
        record.mounts.iter().any(|point| point.propagation.as_deref().is_some_and(|text| text.ends_with(word)))
    };
    if has("shared") {
        Some("shared")
    } else if has("slave") {
        Some("rslave")
    } else {
        None
    }
}

fn namespaces(record: &Record, facts: &Facts<'_>) -> Vec<LinuxNamespace> {
    let host = &record.host;
    let uts = if host.uts_mode.as_deref() == Some("host") { Space::Host } else { Space::Own };
    let cgroup = match host.cgroupns_mode {
        Some(HostConfigCgroupnsModeEnum::HOST) => Space::Host,
        Some(HostConfigCgroupnsModeEnum::PRIVATE) => Space::Own,
        _ if facts.unified && !host.privileged.unwrap_or(false) => Space::Own,
        _ => Space::Host,
    };
    let all = [
        (LinuxNamespaceType::Mount, Space::Own),
        (LinuxNamespaceType::Uts, uts),
        (LinuxNamespaceType::Ipc, facts.ipc.clone()),
        (LinuxNamespaceType::Pid, facts.pid.clone()),
        (LinuxNamespaceType::Network, facts.network.clone()),
        (LinuxNamespaceType::Cgroup, cgroup),
    ];
    let one = |(typ, space)| {
        let path = match space {
            Space::Host => return None,
            Space::Own => None,
            Space::At(path) => Some(path),
        };
        let mut namespace = LinuxNamespace::default();
        namespace.set_typ(typ).set_path(path);
        Some(namespace)
    };
    all.into_iter().filter_map(one).collect()
}

#[cfg(test)]
mod tests;
