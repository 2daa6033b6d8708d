//! What a machine finds that has a bootstrap token and the hash of the authority's key: the way to a
//! node's certificate, what that may do, and what it may not.

use std::process::Command;

use keelson_common::command::CommandExt;
use keelson_tests::cluster::{ControlPlane, Credentials, TOKEN, program};
use serde_json::Value;

use super::{bootstrapper, kubectl, kubectl_as, node, object, register};

#[test]
fn a_bootstrap_token_speaks_for_a_bootstrapper() {
    let cluster = ControlPlane::start().unwrap();
    let machine = cluster.machine(2).unwrap();
    let from_machine = |kubeconfig: &_, words: &[&str]| {
        let mut command = machine.command(program("kubectl").unwrap());
        command.env("HOME", cluster.folder());
        kubectl(command, kubeconfig, words).unwrap()
    };
    let bootstrap = bootstrapper(&cluster).unwrap();
    let who = from_machine(&bootstrap, &["auth", "whoami", "--output=json"]).expect(0).unwrap().json().unwrap();
    let id = TOKEN.split('.').next().unwrap();
    assert_eq!(who["status"]["userInfo"]["username"], format!("system:bootstrap:{id}"), "{who}");
    let groups = who["status"]["userInfo"]["groups"].as_array().unwrap();
    assert!(groups.iter().any(|group| group == "system:bootstrappers"), "{who}");
    from_machine(&bootstrap, &["get", "nodes"]).expect(1).unwrap().says(&["Forbidden"]).unwrap();
    let wrong = Credentials::Token(format!("{id}.fedcba9876543210"));
    let wrong = cluster.kubeconfig_for("wrong", &wrong).unwrap();
    from_machine(&wrong, &["get", "nodes"]).expect(1).unwrap().says(&["Unauthorized"]).unwrap();

    // One who knows only the address finds the cluster, signed with the token.
    let url = format!("{}/api/v1/namespaces/kube-public/configmaps/cluster-info", cluster.server());
    let mut curl = machine.command("curl");
    curl.args(["--silent", "--show-error", "--fail", "--insecure", "--max-time", "10", &url]);
    let info: Value = serde_json::from_str(&curl.output_text().unwrap()).unwrap();
    assert!(info["data"][format!("jws-kubeconfig-{id}")].as_str().unwrap().contains(".."), "{info}");
    let config: Value = serde_json::from_str(info["data"]["kubeconfig"].as_str().unwrap()).unwrap();
    assert_eq!(config["clusters"][0]["cluster"]["server"], cluster.server());
    // The hash as kubeadm's manual has it computed.
    let ca = config["clusters"][0]["cluster"]["certificate-authority-data"].as_str().unwrap();
    let hash = "printf %s \"$1\" | base64 --decode | openssl x509 -pubkey -noout |
        openssl pkey -pubin -outform der | sha256sum | cut -d' ' -f1";
    let hash = Command::new("sh").args(["-c", hash, "sh", ca]).output_text().unwrap();
    assert_eq!(format!("sha256:{}", hash.trim()), cluster.ca_hash());
}

#[test]
fn a_nodes_certificate_is_for_that_node_alone() {
    let cluster = ControlPlane::start().unwrap();
    let one = node(&cluster, "one").unwrap();
    let who = kubectl_as(&cluster, &one, &["auth", "whoami", "--output=json"]).unwrap().json().unwrap();
    assert_eq!(who["status"]["userInfo"]["username"], "system:node:one", "{who}");
    register(&cluster, "one", &one).unwrap();
    assert_eq!(cluster.ok(&["get", "nodes", "--output=name"]).unwrap(), "node/one");
    // It may label itself, but not do any of what follows.
    kubectl_as(&cluster, &one, &["label", "node", "one", "rack=a"]).unwrap().expect(0).unwrap();
    let two = serde_json::json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": "two" } });
    let two = object(&cluster, "two", &two).unwrap();
    for words in [
        ["create", "--filename", &two].as_slice(),
        &["label", "node", "one", "node-restriction.kubernetes.io/rack=a"],
        &["taint", "node", "one", "key=value:NoSchedule"],
        &["get", "secrets", "--all-namespaces"],
    ] {
        let refused = kubectl_as(&cluster, &one, words).unwrap();
        assert!(
            refused.code == Some(1) && refused.stderr.to_lowercase().contains("forbidden"),
            "{words:?} {refused:?}"
        );
    }
    assert_eq!(cluster.ok(&["get", "nodes", "--output=name"]).unwrap(), "node/one");
}
