//! The reboot lock of a cluster, and the cordon for a reboot: what nodes may do by their own certificates, and
//! what they may not.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result};
use keelson_tests::cluster::ControlPlane;
use keelson_tests::keelson::{Run, finish};
use keelson_tests::paths;

use super::{kubectl_as, node, object, register};

/// A node of the cluster that is nothing but its certificate.
struct Machine<'a> {
    cluster: &'a ControlPlane,
    name: &'static str,
    kubeconfig: PathBuf,
    config: PathBuf,
}

impl<'a> Machine<'a> {
    fn new(cluster: &'a ControlPlane, name: &'static str) -> Result<Self> {
        let kubeconfig = node(cluster, name)?;
        cluster.ok(&["delete", "csr", name])?;
        register(cluster, name, &kubeconfig)?;
        let folder = cluster.folder().join(format!("machine-{name}"));
        let config = folder.join("node.toml");
        fs::create_dir_all(&folder)?;
        let place = |path: &Path| path.display().to_string();
        let text = format!(
            "name = \"{name}\"\nkubeconfig = \"{}\"\nroot = \"{}\"\nrun = \"{}\"\naddresses = [\"198.51.100.1\"]\n",
            place(&kubeconfig),
            place(&folder.join("root")),
            place(&folder.join("run")),
        );
        fs::write(&config, text)?;
        Ok(Self { cluster, name, kubeconfig, config })
    }

    /// `keeld-node WORDS` with the node's own rights.
    fn run(&self, words: &[&str]) -> Result<Run> {
        let mut command = self.cluster.command(paths::program("keeld-node")?);
        finish(command.arg("--config").arg(&self.config).args(words).stdin(Stdio::null()))
    }

    fn ok(&self, words: &[&str]) -> Result<String> {
        let run = self.run(words).and_then(|run| run.expect(0));
        Ok(run.with_context(|| format!("{}: {}", self.name, words.join(" ")))?.stdout)
    }

    fn field(&self, path: &str) -> Result<String> {
        self.cluster.ok(&["get", "node", self.name, &format!("--output=jsonpath={{{path}}}")])
    }
}

fn holder(cluster: &ControlPlane, slot: &str) -> Result<String> {
    cluster.ok(&["--namespace=keelson", "get", "configmap", slot, "--output=jsonpath={.data.holder}"])
}

#[test]
fn nodes_take_turns() -> Result<()> {
    let cluster = ControlPlane::start()?;
    let [one, two, three] = ["one", "two", "three"].map(|name| Machine::new(&cluster, name));
    let (one, two, three) = (one?, two?, three?);
    // Nobody has ever asked: the slot is made.
    one.ok(&["lock"])?;
    assert_eq!(holder(&cluster, "keelson-reboot-0")?, "one");
    one.ok(&["lock"])?;
    two.run(&["lock"])?.expect(1)?.says(&["no node may reboot now: one has keelson-reboot-0"])?;
    // Two slots are two nodes, and no third.
    two.ok(&["lock", "--slots", "2"])?;
    assert_eq!(holder(&cluster, "keelson-reboot-1")?, "two");
    three.run(&["lock", "--slots", "2"])?.expect(1)?.says(&["one has keelson-reboot-0", "two has keelson-reboot-1"])?;
    // What others have is not given back.
    assert!(three.ok(&["unlock"])?.contains("three had no slot"));
    assert!(one.ok(&["unlock"])?.contains("one gave its slot back"));
    assert_eq!(holder(&cluster, "keelson-reboot-0")?, "");
    three.ok(&["lock", "--slots", "2"])?;
    assert_eq!(holder(&cluster, "keelson-reboot-0")?, "three");
    // Who is no node any more has none.
    one.run(&["lock", "--slots", "2"])?.expect(1)?;
    cluster.ok(&["delete", "node", "two"])?;
    one.ok(&["lock", "--slots", "2"])?;
    assert_eq!(holder(&cluster, "keelson-reboot-1")?, "one");
    // A cluster that was not set up for it says how.
    cluster.ok(&["delete", "namespace", "keelson"])?;
    one.run(&["lock"])?.expect(1)?.says(&["manifests/kubernetes/joining.yaml"])?;
    Ok(())
}

#[test]
fn what_one_node_gave_up_no_other_goes_over_to() -> Result<()> {
    let cluster = ControlPlane::start()?;
    let (one, two) = (Machine::new(&cluster, "one")?, Machine::new(&cluster, "two")?);
    let [bad, good] = ["b", "c"].map(|digit| digit.repeat(64));
    one.ok(&["lock", "--version", &bad])?;
    // Twice, as after an answer that was lost.
    for _ in 0..2 {
        one.ok(&["gave-up", &bad, "--version", "1.1", "--why", "broken.service failed"])?;
    }
    one.ok(&["unlock"])?;
    let refused = ["one gave 1.1 up as unhealthy (broken.service failed)", "keelson-given-up", "keelctl updates apply"];
    two.run(&["lock", "--version", &bad])?.expect(1)?.says(&refused)?;
    assert_eq!(holder(&cluster, "keelson-reboot-0")?, "", "it keeps nobody from another version");
    two.ok(&["lock", "--version", &good])?;
    two.ok(&["unlock"])?;
    // A person asks for no version in particular.
    two.ok(&["lock"])?;
    two.ok(&["unlock"])?;
    // An operator lets all try it again.
    let patch = format!("{{\"data\":{{\"{bad}\":null}}}}");
    cluster.ok(&[
        "--namespace=keelson",
        "patch",
        "configmap",
        "keelson-given-up",
        "--type=merge",
        "--patch",
        &patch,
    ])?;
    two.ok(&["lock", "--version", &bad])?;
    two.run(&["lock", "--version", "1.1"])?.expect(2)?.says(&["64 hexadecimal digits"])?;
    Ok(())
}

#[test]
fn a_cordon_for_a_reboot_is_taken_back_and_nobody_elses() -> Result<()> {
    let cluster = ControlPlane::start()?;
    let one = Machine::new(&cluster, "one")?;
    let mark = r".metadata.annotations.keelson\.io/cordoned-for-reboot";
    one.ok(&["drain", "--mark"])?;
    assert_eq!((one.field(".spec.unschedulable")?.as_str(), one.field(mark)?.as_str()), ("true", "true"));
    one.ok(&["drain", "--mark"])?;
    assert!(one.ok(&["uncordon"])?.contains("new pods come to one again"));
    assert_eq!((one.field(".spec.unschedulable")?, one.field(mark)?), (String::new(), String::new()));
    assert!(one.ok(&["uncordon"])?.contains("one was not cordoned"));
    // A person's stays.
    cluster.ok(&["cordon", "one"])?;
    one.ok(&["drain", "--mark"])?;
    assert!(one.ok(&["uncordon"])?.contains("stays cordoned"));
    assert_eq!((one.field(".spec.unschedulable")?.as_str(), one.field(mark)?.as_str()), ("true", ""));
    Ok(())
}

#[test]
fn the_rights_are_for_the_lock_alone() -> Result<()> {
    let cluster = ControlPlane::start()?;
    let one = Machine::new(&cluster, "one")?;
    let map = serde_json::json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "mine" } });
    let map = object(&cluster, "map", &map)?;
    let lease = serde_json::json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": { "name": "keelson-reboot-0" },
    });
    let lease = object(&cluster, "lease", &lease)?;
    for words in [
        ["--namespace=default", "create", "--filename", &map].as_slice(),
        &["--namespace=kube-system", "get", "configmaps"],
        &["--namespace=keelson", "get", "secrets"],
        &["--namespace=keelson", "delete", "configmap", "keelson-reboot-0"],
        // Why the lock is no Lease, as one would expect.
        &["--namespace=keelson", "create", "--filename", &lease],
    ] {
        let refused = kubectl_as(&cluster, &one.kubeconfig, words)?;
        assert!(
            refused.code == Some(1) && refused.stderr.to_lowercase().contains("forbidden"),
            "{words:?} {refused:?}"
        );
    }
    Ok(())
}
