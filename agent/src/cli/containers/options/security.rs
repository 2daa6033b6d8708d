//! The flags about what a container may do.

use bollard::models::{HostConfig, HostConfigCgroupnsModeEnum as CgroupNamespace};

use super::super::parse::{environment, security};
use super::{some, usage};

/// What a container may do.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Rights")]
pub struct Security {
    /// Add a capability, or ALL
    #[arg(long, value_name = "CAPABILITY")]
    cap_add: Vec<String>,
    /// Drop a capability, or ALL
    #[arg(long, value_name = "CAPABILITY")]
    cap_drop: Vec<String>,
    /// Give every capability and device of the host
    #[arg(long)]
    privileged: bool,
    /// no-new-privileges, seccomp=unconfined, seccomp=FILE, systempaths=unconfined, …
    #[arg(long, value_name = "OPTION")]
    security_opt: Vec<String>,
    /// Add the process to a group
    #[arg(long, value_name = "GROUP")]
    group_add: Vec<String>,
    /// The IPC namespace: private, shareable, host, none, container:NAME
    #[arg(long, value_name = "MODE")]
    ipc: Option<String>,
    /// The process namespace: host, container:NAME
    #[arg(long, value_name = "MODE")]
    pid: Option<String>,
    /// The namespace of host names: host
    #[arg(long, value_name = "MODE")]
    uts: Option<String>,
    /// The user namespace: host
    #[arg(long, value_name = "MODE")]
    userns: Option<String>,
    /// The cgroup namespace: host, private
    #[arg(long, value_name = "MODE", value_parser = ["host", "private"])]
    cgroupns: Option<String>,
    /// Put its cgroup below this one
    #[arg(long, value_name = "CGROUP")]
    cgroup_parent: Option<String>,
    /// Set a kernel parameter of its namespaces
    #[arg(long, value_name = "KEY=VALUE")]
    sysctl: Vec<String>,
}

impl Security {
    /// Puts the flags into the request.
    pub fn apply(self, host: &mut HostConfig) -> anyhow::Result<()> {
        let read = |path: &str| std::fs::read_to_string(path).map_err(|error| error.to_string());
        let (options, unconfined) = security::options(&self.security_opt, read).map_err(usage)?;
        if unconfined {
            host.masked_paths = Some(Vec::new());
            host.readonly_paths = Some(Vec::new());
        }
        host.security_opt = some(options);
        host.cap_add = some(self.cap_add);
        host.cap_drop = some(self.cap_drop);
        host.privileged = self.privileged.then_some(true);
        host.group_add = some(self.group_add);
        host.ipc_mode = self.ipc;
        host.pid_mode = self.pid;
        host.uts_mode = self.uts;
        host.userns_mode = self.userns;
        host.cgroupns_mode = self.cgroupns.map(|mode| match mode.as_str() {
            "host" => CgroupNamespace::HOST,
            _ => CgroupNamespace::PRIVATE,
        });
        host.cgroup_parent = self.cgroup_parent;
        host.sysctls = (!self.sysctl.is_empty()).then(|| environment::map(self.sysctl));
        Ok(())
    }
}
