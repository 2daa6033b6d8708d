//! Owns having the master be a node of its own cluster, unless it is told otherwise: the API server reaches pods and
//! Services, and so webhooks, as any node does. No pods come to it that do not ask to.

use std::path::Path;

use keelson_common::provision::Master;

use super::Apply;
use super::join::{bring, is_ours, ours};
use super::master::PROGRAM;
use super::report::Outcome;
use crate::cli::files;
use crate::cli::node::Config;

/// The node's program, which an image may not have.
const NODE: &str = "/usr/libexec/keelson/keeld-node";
/// The API server, which runs here.
const SERVER: &str = "https://127.0.0.1:6443";
/// What it joins by; `keeld-master setup` writes it.
const BOOTSTRAP: &str = "/var/lib/keelson/master/node-bootstrap.kubeconfig";
/// As every master has it.
const TAINT: &str = "node-role.kubernetes.io/control-plane:NoSchedule";

/// Whether it is to be a node: a master can be one where both programs are.
pub fn wanted(master: &Master) -> bool {
    master.node.unwrap_or(true) && [PROGRAM, NODE].iter().all(|program| Path::new(program).exists())
}

/// Writes the node's configuration where it is another, and starts the node anew then.
pub async fn apply(master: &Master, args: &Apply, bus: Option<&str>, dry: bool) -> anyhow::Result<Outcome> {
    let there = files::read(&args.node)?;
    // Nobody asked for it in so many words: who has made it a node himself knows better.
    if there.as_deref().is_some_and(|there| !is_ours(there)) {
        return Ok(Outcome::Unchanged(format!("as {} says, which somebody else wrote", args.node.display())));
    }
    let told = "a node of its own cluster, which pods come to that tolerate a master".to_owned();
    bring(&args.node, there.as_deref(), &ours(&config(master)), told, bus, dry).await
}

fn config(master: &Master) -> Config {
    Config {
        // Beside the kubeconfig, which at the first boot may come later than the node looks for it.
        server: Some(SERVER.to_owned()),
        kubeconfig: Some(BOOTSTRAP.to_owned()),
        // The server's own tells of no way to others; without it, both take the one to the rest of the world.
        addresses: master.address.clone().into_iter().collect(),
        taints: vec![TAINT.to_owned()],
        ..Config::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_joins_what_runs_here_and_keeps_pods_away() {
        let text = |master: &Master| ours(&config(master));
        let told = text(&Master { address: Some("10.77.0.2".into()), ..Master::default() });
        assert!(is_ours(&told), "{told}");
        for line in [
            "server = \"https://127.0.0.1:6443\"\n",
            "kubeconfig = \"/var/lib/keelson/master/node-bootstrap.kubeconfig\"\n",
            "addresses = [\"10.77.0.2\"]\n",
            "taints = [\"node-role.kubernetes.io/control-plane:NoSchedule\"]\n",
        ] {
            assert!(told.contains(line), "{told}");
        }
        // NodeRestriction would refuse a node that calls itself a master.
        assert!(!told.contains("labels"), "{told}");
        assert!(!text(&Master::default()).contains("addresses"));
    }

    #[test]
    fn it_is_no_node_where_it_is_told_so() {
        assert!(!wanted(&Master { node: Some(false), ..Master::default() }));
    }
}
