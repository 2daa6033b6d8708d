//! Owns what each machine's seed says: its user-data and its network-config. JSON is YAML too.

use anyhow::{Error, Result, ensure};
use keelson_qemu::machine::FIRST_CARD;
use keelson_qemu::seed::Seed;
use serde_json::{Map, Value, json};

use super::authority::Secrets;
use super::plan::{Machine, PREFIX, Role};
use super::state::Cluster;
use crate::seed::{check, yaml};

/// What cloud-init knows a cloud-config by.
const HEADER: &str = "#cloud-config";
/// The build machine as a guest sees it.
const HOST: &str = "10.0.2.2";
/// The user that machines let in.
pub const USER: &str = "keelson";

/// Reads user-data that a person wrote for the nodes. What becomes of it is written anew, so that cloud-init must read
/// in it what we do.
pub fn read(text: &str) -> Result<Value> {
    let config = check::read(text).map_err(Error::msg)?;
    let others = yaml::others(text).map_err(Error::msg)?;
    let problems: Vec<String> = others.iter().map(ToString::to_string).collect();
    ensure!(problems.is_empty(), "{}", problems.join("\n"));
    Ok(config)
}

/// Fails where a host would refuse what becomes of what a person wrote for the nodes.
pub fn check(cluster: &Cluster, secrets: &Secrets, extra: &Value) -> Result<()> {
    for machine in &cluster.machines {
        let seed = seed(cluster, machine, secrets, "", extra)?;
        let problems = check::ours(&seed.user_data);
        ensure!(problems.is_empty(), "for {}: {}", machine.name, problems.join("\n"));
    }
    Ok(())
}

/// The seed of a machine. `public` is the SSH key that opens it, `extra` what a person wrote for the nodes.
pub fn seed(cluster: &Cluster, machine: &Machine, secrets: &Secrets, public: &str, extra: &Value) -> Result<Seed> {
    let ours = user_data(cluster, machine, secrets, public)?;
    let all = match machine.role {
        Role::Master => ours,
        Role::Node => merge(extra.clone(), ours),
    };
    let mut seed = Seed::with_key(public);
    seed.hostname = machine.name.clone();
    seed.user_data = format!("{HEADER}\n{all:#}\n");
    seed.network_config = Some(format!("{:#}\n", network_config(machine)));
    Ok(seed)
}

fn user_data(cluster: &Cluster, machine: &Machine, secrets: &Secrets, public: &str) -> Result<Value> {
    let url = format!("http://{HOST}:{}", cluster.update_port);
    let master = cluster.master()?.address;
    let keelson = match machine.role {
        Role::Master => json!({
            "update": { "url": url },
            "master": {
                "address": machine.address,
                "token": secrets.token,
                "ca": { "certificate": secrets.authority.certificate, "key": secrets.authority.key },
                "names": [],
            },
        }),
        Role::Node => json!({
            "update": { "url": url, "lock": { "cluster": true } },
            "join": {
                "server": format!("https://{master}:6443"),
                "token": secrets.token,
                "ca-hash": [secrets.hash],
                "addresses": [machine.address],
            },
        }),
    };
    Ok(json!({
        "hostname": machine.name,
        "users": [{
            "name": USER,
            "gecos": "Keelson",
            "shell": "/bin/bash",
            "lock_passwd": true,
            "sudo": "ALL=(ALL) NOPASSWD:ALL",
            "ssh_authorized_keys": [public],
        }],
        "keelson": keelson,
    }))
}

/// The first card has what QEMU's DHCP gives, the way out among it; the second an address on the cluster's network,
/// which leads nowhere else.
fn network_config(machine: &Machine) -> Value {
    json!({
        "version": 2,
        "ethernets": {
            "uplink": { "match": { "macaddress": FIRST_CARD }, "dhcp4": true },
            "cluster": {
                "match": { "macaddress": machine.mac },
                "addresses": [format!("{}/{PREFIX}", machine.address)],
            },
        },
    })
}

/// One document of two: mappings are merged, lists put one behind the other, and of two other values the one of
/// `over` stays, without which there would be no cluster.
fn merge(base: Value, over: Value) -> Value {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            let mut all: Map<String, Value> = base;
            for (key, value) in over {
                let merged = match all.remove(&key) {
                    Some(before) => merge(before, value),
                    None => value,
                };
                all.insert(key, merged);
            }
            Value::Object(all)
        }
        (Value::Array(mut base), Value::Array(over)) => {
            base.extend(over);
            Value::Array(base)
        }
        (_, over) => over,
    }
}

#[cfg(test)]
mod tests {
    use super::super::state::tests::cluster;
    use super::*;
    use keelson_common::provision::from_value;

    fn documents(index: usize, extra: &Value) -> (Value, Value) {
        let cluster = cluster();
        let secrets = Secrets::new().unwrap();
        let seed = seed(&cluster, &cluster.machines[index], &secrets, "ssh-ed25519 AAAA me", extra).unwrap();
        assert!(seed.user_data.starts_with("#cloud-config\n"));
        let network = serde_saphyr::from_str(&seed.network_config.unwrap()).unwrap();
        (serde_saphyr::from_str(&seed.user_data).unwrap(), network)
    }

    #[test]
    fn a_node_is_told_where_to_join() {
        let (user, network) = documents(1, &json!({}));
        assert_eq!(user["hostname"], "one-node1");
        assert_eq!(user["users"][0]["ssh_authorized_keys"][0], "ssh-ed25519 AAAA me");
        assert_eq!(user["keelson"]["update"]["lock"]["cluster"], true);
        let config = from_value(&user["keelson"]).unwrap();
        let join = config.join.unwrap();
        assert_eq!((&*join.server, &*join.addresses[0]), ("https://10.77.0.2:6443", "10.77.0.11"));
        assert_eq!(config.update.unwrap().url.unwrap(), "http://10.0.2.2:21000");
        assert_eq!(network["ethernets"]["cluster"]["addresses"][0], "10.77.0.11/24");
        assert_eq!(network["ethernets"]["cluster"]["match"]["macaddress"], "52:54:00:4b:00:0b");
        assert_eq!(network["ethernets"]["uplink"]["dhcp4"], true);
    }

    #[test]
    fn the_master_gets_the_authority() {
        let (user, network) = documents(0, &json!({ "packages": ["never"] }));
        from_value(&user["keelson"]).unwrap();
        let master = &user["keelson"]["master"];
        assert_eq!(master["address"], "10.77.0.2");
        // Line ends and all.
        let key = master["ca"]["key"].as_str().unwrap();
        assert!(key.starts_with("-----BEGIN PRIVATE KEY-----\n"), "{key}");
        assert!(user["keelson"]["join"].is_null() && user["packages"].is_null());
        assert_eq!(network["ethernets"]["cluster"]["addresses"][0], "10.77.0.2/24");
    }

    #[test]
    fn what_a_person_wrote_is_added_and_the_cluster_wins() {
        let text =
            "#cloud-config\nhostname: mine\nusers: [{name: me}]\nkeelson:\n  join: {labels: {rack: a1}, server: x}\n";
        let (user, _) = documents(2, &read(text).unwrap());
        assert_eq!(user["hostname"], "one-node2");
        assert_eq!((&user["users"][0]["name"], &user["users"][1]["name"]), (&json!("me"), &json!(USER)));
        assert_eq!(user["keelson"]["join"]["labels"]["rack"], "a1");
        assert_eq!(user["keelson"]["join"]["server"], "https://10.77.0.2:6443");
        assert!(read("users: []\n").is_err() && read("#cloud-config\n- a\n").is_err());
        assert_eq!(read("#cloud-config\n").unwrap(), json!({}));
    }

    #[test]
    fn what_would_be_another_value_once_it_is_written_anew_is_refused() {
        let text = |mode: &str| format!("#cloud-config\nwrite_files:\n- {{path: /x, permissions: {mode}}}\n");
        let error = read(&text("0644")).unwrap_err().to_string();
        assert!(error.starts_with("line 3: `write_files[0].permissions`") && error.ends_with("quotes"), "{error}");
        assert_eq!(read(&text("\"0644\"")).unwrap()["write_files"][0]["permissions"], "0644");
    }

    #[test]
    fn what_nodes_would_refuse_is_told_before_there_are_any() {
        let (cluster, secrets) = (cluster(), Secrets::new().unwrap());
        let extra = |keelson: &str| read(&format!("#cloud-config\nkeelson:\n  {keelson}\n")).unwrap();
        check(&cluster, &secrets, &json!({})).unwrap();
        check(&cluster, &secrets, &extra("join: {labels: {rack: a1}}")).unwrap();
        let error = check(&cluster, &secrets, &extra("join: {lables: {rack: a1}}")).unwrap_err().to_string();
        assert!(error.contains("for one-node1: keelson: unknown key `lables` in [join]"), "{error}");
    }
}
