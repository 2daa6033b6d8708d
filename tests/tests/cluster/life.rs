//! That a control plane is whole once it is started, and gone once it is dropped.

use std::fs;
use std::path::Path;

use keelson_tests::cluster::ControlPlane;
use keelson_tests::paths;

#[test]
fn a_new_cluster_is_ready_and_empty() {
    let cluster = ControlPlane::start().unwrap();
    assert_eq!(cluster.ok(&["get", "--raw=/readyz"]).unwrap(), "ok");
    assert_eq!(cluster.ok(&["get", "nodes", "--output=name"]).unwrap(), "");
    assert_eq!(cluster.ok(&["get", "pods", "--all-namespaces", "--output=name"]).unwrap(), "");
    // Both are of the version that the module names: nothing old was left in place.
    let versions = cluster.ok(&["version", "--output=json"]).unwrap();
    let versions: serde_json::Value = serde_json::from_str(&versions).unwrap();
    let module = fs::read_to_string(paths::workspace().join("manifests/kubernetes/go.mod")).unwrap();
    let wanted = module.lines().find_map(|line| line.strip_prefix("\tk8s.io/kubernetes ")).unwrap();
    for program in ["clientVersion", "serverVersion"] {
        assert_eq!(versions[program]["gitVersion"], wanted, "{versions}");
    }
}

#[test]
fn a_dropped_cluster_takes_everything_with_it() {
    let cluster = ControlPlane::start().unwrap();
    // Machines, too, even those that a test forgot.
    let machine = cluster.machine(2).unwrap();
    let (folder, namespaces) = (cluster.folder().to_owned(), [cluster.namespace().path(), machine.path()]);
    std::mem::forget(machine);
    let pids: Vec<u32> = cluster.servers().iter().map(|(_, process)| process.pid()).collect();
    let names: Vec<&str> = cluster.servers().iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"]);
    assert!(pids.iter().all(|pid| running(*pid)) && namespaces.iter().all(|path| path.exists()));
    drop(cluster);
    assert!(!pids.iter().any(|pid| running(*pid)), "{pids:?}");
    assert!(!folder.exists());
    for namespace in namespaces {
        assert!(!namespace.exists(), "{}", namespace.display());
    }
}

fn running(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}
