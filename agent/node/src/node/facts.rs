//! Owns what does not change while the agent runs: what the machine is, where it is reached, what it
//! has and what of it pods get.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::{DaemonEndpoint, NodeAddress, NodeDaemonEndpoints, NodeSwapStatus, NodeSystemInfo};

use super::capacity::{Capacity, Resources, meminfo};
use super::labels::architecture;
use crate::config::Settings;
use crate::eviction::Thresholds;

/// The version of Kubernetes whose node API this agent implements. Control planes, schedulers and tests
/// read it for what a node can do, so it is Kubernetes' and not the agent's own; the build metadata,
/// which all of them ignore, tells whose node it is.
pub const KUBELET_VERSION: &str = "v1.36.3+keelson";

/// Features that the scheduler and admission want a node to declare before they let a pod use them. None
/// of those that Kubernetes 1.36 knows (restarting all containers when one exits, resizing pod-level
/// resources and init containers, WebSockets to the kubelet, host network in a user namespace) is
/// implemented; resizing containers in place needs no declaration.
pub const DECLARED_FEATURES: [&str; 0] = [];

/// What does not change.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The machine and its system; the container runtime's version is left out.
    pub info: NodeSystemInfo,
    /// Where it is reached.
    pub addresses: Vec<NodeAddress>,
    /// The kubelet API's port.
    pub endpoints: NodeDaemonEndpoints,
    /// What it has.
    pub capacity: Resources,
    /// What pods get.
    pub allocatable: Resources,
}

impl Facts {
    /// Reads them.
    pub fn gather(settings: &Settings) -> Self {
        let capacity = Capacity::read(&settings.root);
        Self {
            info: info(),
            addresses: addresses(&settings.addresses, &settings.name),
            endpoints: NodeDaemonEndpoints {
                kubelet_endpoint: Some(DaemonEndpoint { port: i32::from(settings.port) }),
            },
            capacity: capacity.resources(settings.max_pods),
            allocatable: capacity
                .allocatable(&settings.reserved, &Thresholds::new(&settings.eviction))
                .resources(settings.max_pods),
        }
    }
}

fn addresses(ips: &[IpAddr], name: &str) -> Vec<NodeAddress> {
    let address = |type_: &str, address: String| NodeAddress { type_: type_.to_owned(), address };
    let internal = ips.iter().map(|ip| address("InternalIP", ip.to_string()));
    internal.chain([address("Hostname", name.to_owned())]).collect()
}

fn info() -> NodeSystemInfo {
    let text = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let line = |paths: &[&str]| {
        let lines = paths.iter().map(|path| text(path).trim().to_owned());
        lines.into_iter().find(|line| !line.is_empty()).unwrap_or_default()
    };
    let machine = ["/etc/machine-id", "/var/lib/dbus/machine-id"];
    let system = ["/sys/class/dmi/id/product_uuid", "/proc/device-tree/vm,uuid", machine[0], machine[1]];
    let swap = meminfo(&text("/proc/meminfo"), "SwapTotal").filter(|swap| *swap > 0);
    NodeSystemInfo {
        architecture: architecture(std::env::consts::ARCH).to_owned(),
        boot_id: line(&["/proc/sys/kernel/random/boot_id"]),
        container_runtime_version: String::new(),
        kernel_version: rustix::system::uname().release().to_string_lossy().into_owned(),
        kube_proxy_version: String::new(),
        kubelet_version: KUBELET_VERSION.to_owned(),
        machine_id: line(&machine),
        operating_system: "linux".to_owned(),
        os_image: pretty_name(&text("/etc/os-release")).unwrap_or_else(|| "Linux".to_owned()),
        swap: swap.map(|swap| NodeSwapStatus { capacity: Some(swap) }),
        system_uuid: line(&system),
    }
}

/// The system's name as `/etc/os-release` has it for people.
fn pretty_name(os_release: &str) -> Option<String> {
    let value = os_release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="))?.trim();
    Some(value.trim_matches(['"', '\'']).to_owned()).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_name_is_read() {
        let text = "ID=debian\nPRETTY_NAME=\"Keelson 1 (on Debian)\"\n";
        assert_eq!(pretty_name(text).as_deref(), Some("Keelson 1 (on Debian)"));
        assert_eq!(pretty_name("PRETTY_NAME=''\n"), None);
        assert_eq!(pretty_name("NAME=x\n"), None);
    }

    #[test]
    fn this_machine_is_described() {
        let info = info();
        assert!(!info.boot_id.is_empty() && !info.kernel_version.is_empty());
        assert_eq!(info.operating_system, "linux");
    }
}
