//! What specs look like, for what is asked.

use bollard::models::{ContainerConfig, HostConfig};

use super::*;

fn facts() -> Facts<'static> {
    Facts {
        hostname: "box",
        cgroup: "/keelson/1".into(),
        unified: true,
        identity: Identity { groups: vec![0], ..Identity::default() },
        variables: vec!["DB_PORT=tcp://10.0.0.2:80".to_owned()],
        network: Space::At("/run/netns/1".into()),
        ipc: Space::Own,
        shm: Shm::Own,
        pid: Space::Own,
        files: None,
        devices: Devices::default(),
        seccomp: None,
        capabilities: HashSet::from([Capability::Chown]),
        init: None,
    }
}

fn record(config: ContainerConfig, host: HostConfig) -> Record {
    let config = ContainerConfig { cmd: Some(vec!["true".to_owned()]), ..config };
    Record { config, host, ..Record::sample("1", "one") }
}

fn built(config: ContainerConfig, host: HostConfig) -> serde_json::Value {
    serde_json::to_value(build(&record(config, host), facts()).unwrap()).unwrap()
}

#[test]
fn as_little_as_can_be_asked() {
    let spec = built(ContainerConfig::default(), HostConfig::default());
    assert_eq!(spec["process"]["args"], serde_json::json!(["true"]));
    assert_eq!(spec["process"]["cwd"], "/");
    assert_eq!(spec["process"]["oomScoreAdj"], 0, "containerd's own would be inherited");
    assert_eq!(spec["hostname"], "box");
    assert_eq!(spec["linux"]["maskedPaths"].as_array().unwrap().len(), MASKED.len());
    assert_eq!(spec["process"]["rlimits"], serde_json::Value::Null);
    let kinds: Vec<&str> =
        spec["linux"]["namespaces"].as_array().unwrap().iter().filter_map(|space| space["type"].as_str()).collect();
    assert_eq!(kinds, ["mount", "uts", "ipc", "pid", "network", "cgroup"]);
    assert_eq!(spec["linux"]["namespaces"][4]["path"], "/run/netns/1");
}

#[test]
fn systemd_is_told_how_a_container_ends() {
    let annotations = |config: ContainerConfig, host: HostConfig| built(config, host)["annotations"].clone();
    let usual = annotations(ContainerConfig::default(), HostConfig::default());
    let expected = serde_json::json!({
        "org.systemd.property.KillSignal": "int32 15", "org.systemd.property.TimeoutStopUSec": "uint64 10000000",
    });
    assert_eq!(usual, expected);
    let own = ContainerConfig {
        stop_signal: Some("SIGQUIT".to_owned()),
        stop_timeout: Some(0),
        ..ContainerConfig::default()
    };
    let asked = HashMap::from([("a".to_owned(), "b".to_owned())]);
    let told = annotations(own, HostConfig { annotations: Some(asked), ..HostConfig::default() });
    assert_eq!(told["org.systemd.property.KillSignal"], "int32 3");
    assert_eq!(told["org.systemd.property.TimeoutStopUSec"], "uint64 1000000");
    assert_eq!(told["a"], "b");
    let never =
        annotations(ContainerConfig { stop_timeout: Some(-1), ..ContainerConfig::default() }, HostConfig::default());
    assert_eq!(never["org.systemd.property.TimeoutStopUSec"], serde_json::Value::Null);
}

#[test]
fn the_environment_is_replaced_and_taken_away() {
    let env = ["PATH=/x", "HOSTNAME", "A=b=c"].map(str::to_owned).to_vec();
    let config = ContainerConfig { env: Some(env), tty: Some(true), ..ContainerConfig::default() };
    let spec = built(config, HostConfig::default());
    let expected = serde_json::json!(["TERM=xterm", "DB_PORT=tcp://10.0.0.2:80", "PATH=/x", "A=b=c"]);
    assert_eq!(spec["process"]["env"], expected);
    assert_eq!(spec["process"]["terminal"], true);
}

#[test]
fn privileged_containers_are_not_masked() {
    let spec = built(ContainerConfig::default(), HostConfig { privileged: Some(true), ..HostConfig::default() });
    assert_eq!(spec["linux"]["maskedPaths"], serde_json::Value::Null);
    assert_eq!(spec["linux"]["readonlyPaths"], serde_json::Value::Null);
}

#[test]
fn only_root_has_capabilities_at_once() {
    let all = HashSet::from([Capability::Chown]);
    assert_eq!(held(&all, 0).effective().as_ref().map(HashSet::len), Some(1));
    assert_eq!(held(&all, 33).effective().as_ref().map(HashSet::len), Some(0));
    assert_eq!(held(&all, 33).bounding().as_ref().map(HashSet::len), Some(1));
}

#[test]
fn spaces_of_the_host() {
    let host = HostConfig { uts_mode: Some("host".to_owned()), ..HostConfig::default() };
    let record = record(ContainerConfig::default(), host);
    let facts = Facts { network: Space::Host, pid: Space::Host, unified: false, ..facts() };
    let spec = serde_json::to_value(build(&record, facts).unwrap()).unwrap();
    let kinds = spec["linux"]["namespaces"].as_array().unwrap().len();
    assert_eq!(kinds, 2);
    assert_eq!(spec["hostname"], serde_json::Value::Null);
}

#[test]
fn nothing_to_run() {
    let record = Record::sample("1", "one");
    assert_eq!(build(&record, facts()).unwrap_err().to_string(), "no command specified");
}

#[test]
fn security_options() {
    let parse = |list: &[&str]| Security::parse(&list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>());
    let security = parse(&["seccomp=unconfined", "no-new-privileges", "apparmor=unconfined"]).unwrap();
    assert_eq!(security.seccomp.as_deref(), Some("unconfined"));
    assert!(security.no_new_privileges);
    assert!(parse(&["apparmor=docker-default"]).is_err());
    assert!(parse(&["label=type:x"]).is_err());
    assert!(parse(&["seccomp="]).is_err());
}

#[test]
fn an_init_comes_first() {
    let record = record(ContainerConfig::default(), HostConfig::default());
    let spec = build(&record, Facts { init: Some("/usr/bin/init"), ..facts() }).unwrap();
    assert_eq!(spec.process().as_ref().unwrap().args().clone().unwrap(), [INIT, "--", "true"]);
}
