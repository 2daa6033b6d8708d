//! One blank image told by its seed what it is: users, keys, names, files, time servers, consoles, registries,
//! a container and a cluster. It boots again, and nothing is redone. Beside it the same image is told what
//! makes no sense, and is a working host that says so.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use keelson_qemu::machine::Firmware;
use keelson_tests::cluster::{ControlPlane, TOKEN, images};
use keelson_tests::containers::{ContainerHost, Process, Registry, RegistryKind, TestImage, eventually};
use keelson_tests::guest::{BOOT, Guest, Place};
use keelson_tests::host;
use keelson_tests::steps::Steps;
use serde_json::{Value, json};

/// A registry that knows its users, and one that is a mirror of others, in the cluster's network.
const SECURE: &str = "198.51.100.1:5443";
const MIRROR: &str = "198.51.100.1:5000";
/// The numbers of the two machines.
const TOLD: u8 = 31;
const WRONG: u8 = 32;
/// How long an emulated machine may take to pull and start something.
const SOON: Duration = Duration::from_secs(240);

#[test]
fn a_blank_image_is_what_its_seed_says() -> Result<()> {
    let disk = host::default_host()?.disk()?;
    let cluster = ControlPlane::start()?;
    let supplies = Supplies::start(&cluster)?;
    let start = |name: &str, number: u8, user_data: String| -> Result<Guest> {
        let place = Place {
            hostname: name.to_owned(),
            user_data,
            meta_data: format!("join-token: {TOKEN}\nrack: R7\n"),
            tap: format!("kt{}-{number}", std::process::id()),
            number,
            address: format!("198.51.100.{number}/24"),
        };
        let guest = Guest::start(&disk, Firmware::Bios, Some(&place))?;
        cluster.plug(&place.tap)?;
        Ok(guest)
    };
    let mut steps = Steps::of("vm_seed");
    let mut told = start("blank", TOLD, user_data(&cluster, &supplies)?)?;
    let mut wrong = start("wrong", WRONG, nonsense(&cluster))?;
    told.vm.wait_ready(BOOT)?;
    wrong.vm.wait_ready(BOOT)?;
    steps.passed("two boots");
    says_what_is_wrong(&mut wrong)?;
    drop(wrong);
    steps.passed("what is wrong is told");
    told.healthy()?;
    let first = as_asked(&mut told, &cluster, &supplies)?;
    steps.passed("all as asked");
    told.reboot()?;
    steps.passed("reboot");
    let second = as_asked(&mut told, &cluster, &supplies).context("after a reboot")?;
    ensure!(first == second, "something was redone: {first} is now {second}");
    nothing_redone(&mut told)?;
    steps.passed("nothing redone");
    Ok(())
}

/// Registries with the images, which both live as long as this.
struct Supplies {
    host: ContainerHost,
    secure: Registry,
    mirror: Registry,
    _served: [Process; 2],
}

impl Supplies {
    fn start(cluster: &ControlPlane) -> Result<Self> {
        let host = ContainerHost::start()?;
        let secure = Registry::start(&host, RegistryKind::Secure, 5443)?;
        let mirror = Registry::start(&host, RegistryKind::Plain, 5000)?;
        secure.put(&host, &TestImage::busybox("busybox:latest"), "fleet/busybox:1")?;
        mirror.put(&host, &TestImage::busybox("busybox:latest"), "library/busybox:1")?;
        let served = [secure.also_in(cluster.namespace())?, mirror.also_in(cluster.namespace())?];
        Ok(Self { host, secure, mirror, _served: served })
    }
}

/// What the host is told, below the user that every guest has.
fn user_data(cluster: &ControlPlane, supplies: &Supplies) -> Result<String> {
    let ca = fs::read_to_string(supplies.secure.ca())?;
    let mirrored = json!({ "mirrors": [format!("http://{MIRROR}")] });
    let document = json!({
        "timezone": "Europe/Berlin",
        "ntp": { "servers": ["192.0.2.123"] },
        "write_files": [
            { "path": "/etc/keelson-test/told", "content": "told\n", "permissions": "0640", "owner": "root:adm" },
        ],
        "runcmd": ["echo ran >>/var/lib/ran", "echo $(hostname) >/var/lib/named"],
        "keelson": {
            "kernel-arguments": { "append": ["keelson.test=1"] },
            "console": { "devices": ["tty0", "ttyS0"] },
            "registries": {
                "docker.io": mirrored, "registry.k8s.io": mirrored,
                SECURE: { "ca": ca, "username": Registry::USER, "password": Registry::PASSWORD },
            },
            "containers": { "web": { "container": [{
                "image": "docker.io/library/busybox:1", "ports": ["8080:80"], "command": ["httpd", "-f", "-p", "80", "-h", "/etc"],
            }] } },
            "join": {
                "server": cluster.server(), "token-metadata": "ds.meta_data.join_token", "ca-hash": [cluster.ca_hash()],
                "name": "{hostname}-{query:ds.meta_data.rack}", "labels": { "keelson.test/rack": "r7" },
            },
        },
    });
    // YAML reads JSON, a key at a time below those of the guest.
    let document = document.as_object().context("it is a mapping")?;
    Ok(document.iter().map(|(key, value)| format!("{key}: {value}\n")).collect())
}

/// A key that there is not, beside others that are good.
fn nonsense(cluster: &ControlPlane) -> String {
    let keelson = json!({
        "joint": { "server": cluster.server() },
        "kernel-arguments": { "append": ["keelson.test=1"] },
    });
    format!("packages: [vim]\nkeelson: {keelson}\n")
}

/// Everything is as it was asked for; gives what must not change.
fn as_asked(guest: &mut Guest, cluster: &ControlPlane, supplies: &Supplies) -> Result<String> {
    // The user, by her key, and may do everything.
    ensure!(guest.ssh("sudo id -un")?.trim() == "root");
    ensure!(guest.sh("hostname; cat /var/lib/named")? == "blank\nblank");
    ensure!(guest.sh("cat /etc/keelson-test/told && stat -c %a:%G /etc/keelson-test/told")? == "told\n640:adm");
    ensure!(guest.sh("date +%Z")?.starts_with("CE"), "the time zone");
    guest.sh("grep -rq '^NTP=192.0.2.123' /etc/systemd/timesyncd.conf.d && systemctl is-active systemd-timesyncd")?;
    guest.sh("cloud-init status --wait && cloud-init schema --system")?;
    a_container_by_the_mirror(guest)?;
    a_node_that_the_registry_knows(guest, cluster, supplies)?;
    guest.sh("! find /run/keelson /var/lib/cloud /etc/keelson /etc/containerd -xdev -type f -perm /044 -exec grep -lE '0123456789abcdef|\"son\"|a2VlbDpzb24=' {} + | grep .")?;
    guest.sh("cat /var/lib/ran /etc/machine-id /etc/ssh/ssh_host_ed25519_key.pub; cloud-init query instance_id")
}

fn a_container_by_the_mirror(guest: &mut Guest) -> Result<()> {
    let answers = eventually(SOON, || guest.sh("curl -sSf --max-time 5 http://127.0.0.1:8080/hostname").is_ok());
    ensure!(answers, "{}", guest.sh("keelctl containers; journalctl --boot --no-pager -n 30 -u keelson-containers")?);
    Ok(())
}

/// The name by its rule, the token from the metadata, and a pod whose image and sandbox come from registries.
fn a_node_that_the_registry_knows(guest: &mut Guest, cluster: &ControlPlane, supplies: &Supplies) -> Result<()> {
    cluster.ok(&["wait", "--for=create", "node/blank-r7", "--timeout=180s"])?;
    cluster.ok(&["wait", "--for=condition=Ready", "node/blank-r7", "--timeout=180s"])?;
    let rack = "--output=jsonpath={.metadata.labels.keelson\\.test/rack}";
    ensure!(cluster.ok(&["get", "node", "blank-r7", rack])? == "r7");
    let dump = guest.sh("containerd config dump | grep sandbox_image")?;
    let pause = dump.split('"').nth(1).or_else(|| dump.split('\'').nth(1)).context("no pause image")?;
    let (_, name) = pause.split_once('/').context("the pause image has no registry")?;
    supplies.mirror.put(&supplies.host, &images::pause(pause)?, name)?;
    let image = format!("{SECURE}/fleet/busybox:1");
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "known" },
        "spec": { "terminationGracePeriodSeconds": 0, "containers": [
            { "name": "main", "image": image, "imagePullPolicy": "Always", "command": ["sleep", "100000"] },
        ] },
    });
    let file = cluster.folder().join("known.json");
    fs::write(&file, pod.to_string())?;
    cluster.ok(&["create", "--filename", &file.to_string_lossy()])?;
    if let Err(error) = cluster.ok(&["wait", "--for=condition=Ready", "pod/known", "--timeout=180s"]) {
        return Err(error.context(cluster.ok(&["describe", "pod", "known"])?));
    }
    cluster.ok(&["delete", "pod", "known", "--timeout=60s"]).map(drop)
}

/// After a second boot: all is as it was, and the console is where it was told to be.
fn nothing_redone(guest: &mut Guest) -> Result<()> {
    let report: Value = serde_json::from_str(&guest.sh("keelctl provision --json")?)?;
    let parts = report["parts"].as_array().context("no parts")?;
    let told: Vec<&str> = parts.iter().filter_map(|part| part["part"].as_str()).collect();
    ensure!(told == ["registries", "containers", "join", "kernel-arguments", "console"], "{report}");
    // What is for one boot is there again with each; the rest is there still.
    let unchanged = |part: &str| parts.iter().any(|one| one["part"] == part && one["state"] == "unchanged");
    ensure!(["join", "kernel-arguments", "console"].into_iter().all(unchanged), "{report}");
    let line = guest.sh("cat /proc/cmdline")?;
    let consoles: Vec<&str> = line.split_whitespace().filter(|word| word.starts_with("console=")).collect();
    ensure!(consoles == ["console=tty0", "console=ttyS0"] && line.contains("keelson.test=1"), "{line}");
    ensure!(guest.sh("cat /var/lib/ran")? == "ran");
    let status = guest.status()?;
    ensure!(status["staged"].is_null(), "another set-up is staged: {status}");
    Ok(())
}

/// Nothing of it is done, which the console and the journal say, and all else works.
fn says_what_is_wrong(guest: &mut Guest) -> Result<()> {
    let wrong = "unknown key `joint`; did you mean `join`?";
    let said = eventually(SOON, || guest.vm.console().text().contains(wrong));
    ensure!(said, "the console says nothing of it:\n{}", guest.vm.console().tail());
    let state = guest.vm.exec("systemctl is-system-running --wait", BOOT)?.text();
    let failed = guest.sh("systemctl --failed --no-legend --plain")?;
    ensure!(
        state == "degraded" && failed.lines().count() == 1 && failed.contains("keelson-provision"),
        "{state}: {failed}"
    );
    ensure!(guest.ssh("hostname")?.trim() == "wrong");
    guest.sh(
        "systemctl is-active keeld.service containerd.service && keelctl status && test ! -e /etc/keelson/node.toml",
    )?;
    let told = guest.sh("keelctl provision")?;
    ensure!(told.contains(wrong), "{told}");
    ensure!(guest.status()?["staged"].is_null(), "half of it was done");
    // Its owner mends it on the spot.
    guest.sh("printf '[kernel-arguments]\\nappend = [\"keelson.test=1\"]\\n' >/etc/keelson/host.toml")?;
    guest.sh("keelctl provision apply --cloud-config /nowhere | grep -q 'kernel-arguments: applied'")?;
    Ok(())
}
