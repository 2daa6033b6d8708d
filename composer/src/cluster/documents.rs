//! Owns what each machine's seed says: its user-data and its network-config. JSON is YAML too.

use anyhow::{Context, Result, ensure};
use keelson_qemu::machine::FIRST_CARD;
use keelson_qemu::seed::Seed;
use serde_json::{Map, Value, json};

use super::authority::Secrets;
use super::plan::{Machine, PREFIX, Role};
use super::state::Cluster;

/// What cloud-init knows a cloud-config by.
const HEADER: &str = "#cloud-config";
/// The build machine as a guest sees it.
const HOST: &str = "10.0.2.2";
/// The user that machines let in.
pub const USER: &str = "keelson";

/// Reads user-data that a person wrote for the nodes.
pub fn read(text: &str) -> Result<Value> {
    let first = text.lines().next().map(str::trim_end);
    ensure!(first == Some(HEADER), "its first line must be `{HEADER}`: cloud-init does not read it otherwise");
    let config: Value = serde_saphyr::from_str(text).context("it is no YAML")?;
    match config {
        Value::Null => Ok(json!({})),
        config => {
            ensure!(config.is_object(), "it must be a mapping");
            Ok(config)
        }
    }
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
}
