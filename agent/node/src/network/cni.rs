//! Owns our configuration in the CNI's folder: what it says, and that it is there only as long as
//! nobody else's is.
//!
//! Pods are attached by `ptp`: each has a link of its own to the host, which routes. So every packet
//! between pods of one node passes the host's packet filter, and answers of Services find their way
//! back, without a bridge that would have to be made to call it.

use std::io;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use keelson_common::fs::atomic_write;
use serde_json::json;

/// Our file. containerd takes the first by name.
const FILE: &str = "10-keelson.conflist";
/// What the CNI, and `crictl`, know the network by.
const NAME: &str = "keelson";

/// The configuration as CNI plugins from 1.0 on read it; `leases` is where addresses in use are
/// written down.
pub(super) fn conflist(nets: &[IpNet], mtu: Option<u32>, leases: &Path) -> String {
    let ranges: Vec<_> = nets.iter().map(|net| json!([{"subnet": net.trunc().to_string()}])).collect();
    let default = |net: &IpNet| if net.addr().is_ipv4() { "0.0.0.0/0" } else { "::/0" };
    let routes: Vec<_> = nets.iter().map(|net| json!({"dst": default(net)})).collect();
    let mut link = json!({
        "type": "ptp",
        "ipMasq": false,
        "ipam": {"type": "host-local", "dataDir": leases, "ranges": ranges, "routes": routes},
    });
    if let Some(mtu) = mtu {
        link["mtu"] = mtu.into();
    }
    let ports = json!({"type": "portmap", "capabilities": {"portMappings": true}});
    let list = json!({"cniVersion": "1.0.0", "name": NAME, "plugins": [link, ports]});
    format!("{list:#}\n")
}

/// Somebody else's configuration, if there is any.
pub(super) fn foreign(folder: &Path) -> Option<PathBuf> {
    let entries = std::fs::read_dir(folder).ok()?;
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut foreign: Vec<_> = paths.filter(|path| is_configuration(path) && !path.ends_with(FILE)).collect();
    foreign.sort();
    foreign.into_iter().next()
}

fn is_configuration(path: &Path) -> bool {
    path.extension().is_some_and(|kind| kind == "conf" || kind == "conflist" || kind == "json")
}

/// Writes our configuration, unless it is there as it should be. Gives whether it was not.
pub(super) fn write(folder: &Path, content: &str) -> io::Result<bool> {
    let path = folder.join(FILE);
    if std::fs::read(&path).is_ok_and(|found| found == content.as_bytes()) {
        return Ok(false);
    }
    std::fs::create_dir_all(folder)?;
    atomic_write(&path, content.as_bytes(), 0o644)?;
    Ok(true)
}

/// Takes our configuration away. Gives whether there was one.
pub(super) fn remove(folder: &Path) -> io::Result<bool> {
    match std::fs::remove_file(folder.join(FILE)) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_family_has_a_range_and_a_way_out() {
        let nets = ["10.244.1.0/24".parse().unwrap(), "fd00:1::/64".parse().unwrap()];
        let text = conflist(&nets, Some(1450), Path::new("/run/k/cni"));
        let list: serde_json::Value = serde_json::from_str(&text).unwrap();
        let link = &list["plugins"][0];
        assert_eq!(link["ipam"]["ranges"], json!([[{"subnet": "10.244.1.0/24"}], [{"subnet": "fd00:1::/64"}]]));
        assert_eq!(link["ipam"]["routes"], json!([{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]));
        assert_eq!((&link["mtu"], &link["ipam"]["dataDir"]), (&json!(1450), &json!("/run/k/cni")));
        assert!(!conflist(&nets, None, Path::new("/run/k/cni")).contains("mtu"));
    }

    #[test]
    fn ours_is_written_once_and_is_not_foreign() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("net.d");
        assert!(!remove(&folder).unwrap());
        assert!(write(&folder, "a").unwrap());
        assert!(!write(&folder, "a").unwrap());
        assert!(write(&folder, "b").unwrap());
        std::fs::write(folder.join("README"), "").unwrap();
        assert_eq!(foreign(&folder), None);
        std::fs::write(folder.join("20-calico.conflist"), "").unwrap();
        std::fs::write(folder.join("05-cilium.conf"), "").unwrap();
        assert_eq!(foreign(&folder), Some(folder.join("05-cilium.conf")));
        assert!(remove(&folder).unwrap());
        assert!(!folder.join(FILE).exists());
    }
}
