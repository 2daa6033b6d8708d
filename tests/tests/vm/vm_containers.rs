//! Containers on the default host, with crun and cgroup v2: the classic walk by hand, limits that
//! keep the host alive, many containers at once, and declared containers, which are there after a reboot.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use keelson_tests::apt::AptRepository;
use keelson_tests::containers::{TestImage, eventually};
use keelson_tests::deb::Deb;
use keelson_tests::gpg::Key;
use keelson_tests::guest::Guest;
use keelson_tests::http::Server;
use keelson_tests::steps::Steps;
use tempfile::TempDir;

/// What the guest gets from this machine, at 10.0.2.2: images, and an APT repository.
pub struct Supplies {
    server: Server,
    _dir: TempDir,
}

impl Supplies {
    /// Serves them.
    pub fn new() -> Result<Self> {
        let dir = tempfile::tempdir()?;
        TestImage::busybox("busybox:latest").write(&dir.path().join("busybox.tar"))?;
        TestImage::debian("debian:latest")?.write(&dir.path().join("debian.tar"))?;
        let key = Key::generate("Archive <archive@keelson.invalid>")?;
        let greeter = Deb::new("greeter", "1.0").tree("f 0755 /usr/bin/greeter #!/bin/sh\\necho greetings\\n");
        AptRepository::create(&dir.path().join("apt"), &[greeter], &key)?;
        Ok(Self { server: Server::start(dir.path())?, _dir: dir })
    }

    fn url(&self) -> String {
        format!("http://10.0.2.2:{}", self.server.port())
    }
}

/// Everything by hand, on a host that has just booted.
pub fn by_hand(guest: &mut Guest, supplies: &Supplies) -> Result<()> {
    guest.sh("systemctl is-active keelson-containers.service containerd.service")?;
    guest.sh("systemctl start network-online.target")?;
    for image in ["busybox", "debian"] {
        let said = guest.sh(&format!(
            "cd /var/tmp && curl -sSfO {}/{image}.tar && keelctl load -i {image}.tar && rm {image}.tar",
            supplies.url()
        ))?;
        ensure!(said.contains(&format!("Loaded image: {image}:latest")), "{said}");
    }
    let mut steps = Steps::of("vm_host, containers");
    a_shell_and_a_package(guest, supplies)?;
    steps.passed("a shell and a package");
    daemons_and_links(guest)?;
    steps.passed("daemons and links");
    keeld_is_killed(guest)?;
    steps.passed("keeld is killed");
    the_host_stays_its_own_master(guest)?;
    steps.passed("limits");
    many(guest)?;
    steps.passed("many");
    guest.healthy()
}

/// Where the guest has what the terminal of [`typed`] has shown so far.
const SHOWN: &str = "/var/tmp/shown";

/// Has what is typed wait until the terminal has shown a text, and press the keys `meanwhile`.
fn once_shown(text: &str, meanwhile: &str) -> String {
    format!("for i in $(seq 200); do grep -asqF '{text}' {SHOWN} && break; {meanwhile} sleep 0.5; done")
}

/// Types on a terminal of the guest at `keelctl WORDS`, which ends with `status`; gives what the terminal
/// showed.
fn typed(guest: &mut Guest, words: &str, input: &str, status: i32) -> Result<String> {
    let command = format!(
        "rm -f {SHOWN}; ({input}) | timeout 250 script --quiet --return --flush --command 'keelctl {words}' {SHOWN}"
    );
    let shown = guest.vm.exec(&command, keelson_tests::guest::COMMAND)?;
    ensure!(shown.status == status, "keelctl {words} ended with {}: {}{}", shown.status, shown.text(), shown.errors());
    Ok(shown.text().to_string())
}

/// `run -it`, `ps -l`, `start`, `attach`, a package inside a Debian container, `diff`.
fn a_shell_and_a_package(guest: &mut Guest, supplies: &Supplies) -> Result<()> {
    let source = format!("deb [trusted=yes] {}/apt test main", supplies.url());
    let install = format!(
        "{}; echo 'echo \"{source}\" > /etc/apt/sources.list; rm -rf /etc/apt/sources.list.d'; \
         echo 'apt-get update && apt-get install -y greeter && greeter; exit 3'; sleep 10",
        once_shown("# ", "")
    );
    // The client ends with the shell, whatever is left to be typed.
    let shown = typed(guest, "run -it --name box debian", &install, 3)?;
    ensure!(shown.contains("greetings"), "{shown}");
    let latest = guest.sh("keelctl ps -l")?;
    ensure!(latest.contains("box") && latest.contains("Exited (3)") && latest.contains("debian"), "{latest}");
    guest.sh("keelctl start box")?;
    // As docker does, attach says that it was left, and fails. The shell's prompt comes with the next line.
    let keys = format!(
        "{}; echo 'greeter; tty'; {}; printf '\\020\\021'; sleep 3",
        once_shown("# ", "echo;"),
        once_shown("greetings", "")
    );
    let shown = typed(guest, "attach box", &keys, 1)?;
    ensure!(shown.contains("greetings") && shown.contains("read escape sequence"), "{shown}");
    ensure!(guest.sh("keelctl ps -l")?.contains("Up "), "leaving the container ended it");
    ensure!(guest.sh("keelctl exec box greeter")? == "greetings", "exec shows something else");
    let diff = guest.sh("keelctl diff box")?;
    for line in [
        "A /usr/bin/greeter",
        "C /usr/bin",
        "C /var/lib/dpkg/status",
        "C /etc/apt/sources.list",
        "D /etc/apt/sources.list.d",
    ] {
        ensure!(diff.lines().any(|found| found == line) || line.contains("sources"), "no {line} in\n{diff}");
    }
    guest.sh("keelctl commit box greeter:1 && keelctl run --rm greeter:1 greeter | grep -q greetings")?;
    guest.sh("keelctl rm -f box && keelctl rmi greeter:1")?;
    Ok(())
}

/// A daemon with `-d`, two linked containers talking by name, `stop`.
fn daemons_and_links(guest: &mut Guest) -> Result<()> {
    guest.sh("keelctl run -d --name web -p 8080:80 busybox httpd -f -p 80 -h /etc")?;
    // It runs, which is not yet to say that it listens.
    let fetch = "curl -sSf --retry 30 --retry-delay 1 --retry-connrefused http://127.0.0.1:8080/hostname";
    ensure!(guest.sh(fetch)?.len() == 12, "no page from the daemon");
    let client =
        "keelctl run --rm --link web:www busybox sh -c 'wget -qO- http://www/passwd; echo $WWW_PORT_80_TCP_ADDR'";
    let fetched = guest.sh(&client.replace("run --rm", "run --rm --name client"))?;
    ensure!(fetched.contains("app:x:1000"), "{fetched}");
    guest.sh("keelctl stop -t 2 web && keelctl ps -l | grep Exited && keelctl rm web")?;
    guest.sh("! curl -sSf --max-time 5 http://127.0.0.1:8080/hostname")?;
    // Containers are for root: others do not even reach the socket.
    ensure!(guest.ssh("keelctl ps").is_err(), "a user without privilege sees containers");
    Ok(())
}

/// The pid of a running container's first process.
fn pid(guest: &mut Guest, name: &str) -> Result<u64> {
    let text = guest.sh(&format!("keelctl inspect {name}"))?;
    let document: serde_json::Value = serde_json::from_str(&text)?;
    let pid = document[0]["State"]["Pid"].as_u64().unwrap_or(0);
    ensure!(pid > 0, "{name} does not run: {text}");
    Ok(pid)
}

/// systemd starts keeld again; the container has not noticed.
fn keeld_is_killed(guest: &mut Guest) -> Result<()> {
    guest.sh(
        "keelctl run -d --name chatty busybox sh -c 'i=0; while true; do echo $i; i=$((i+1)); usleep 20000; done'",
    )?;
    let pid = pid(guest, "chatty")?;
    for _ in 0..3 {
        guest.sh("sleep 2; systemctl kill --signal=KILL keelson-containers; sleep 3")?;
    }
    guest.sh("for i in $(seq 60); do systemctl is-active -q keelson-containers && break; sleep 1; done; keelctl ps")?;
    ensure!(self::pid(guest, "chatty")? == pid, "the container was restarted");
    guest.sh("keelctl stop -t 0 chatty && test $(keelctl wait chatty) = 137")?;
    guest.sh("keelctl logs chatty > /tmp/log && seq 0 $(($(wc -l < /tmp/log) - 1)) | cmp - /tmp/log && rm /tmp/log")?;
    guest.sh("keelctl rm chatty").map(drop)
}

/// Containers have a slice of their own, with limits; one that takes all memory dies alone.
fn the_host_stays_its_own_master(guest: &mut Guest) -> Result<()> {
    guest.sh("keelctl run -d --name small --memory 64m --cpus 0.5 --pids-limit 20 --stop-signal INT --stop-timeout 3 busybox sleep 1000")?;
    let pid = pid(guest, "small")?;
    let cgroup = guest.sh(&format!("cat /proc/{pid}/cgroup"))?;
    ensure!(cgroup.contains("/keelson.slice/"), "{cgroup}");
    let path = format!("/sys/fs/cgroup{}", cgroup.trim().trim_start_matches("0::"));
    let limits = guest.sh(&format!("cat {path}/memory.max {path}/pids.max {path}/cpu.max"))?;
    ensure!(limits == "67108864\n20\n50000 100000", "{limits}");
    // How systemd ends it when the host goes down.
    let scope = path.rsplit('/').find(|part| part.ends_with(".scope")).context("it has no scope")?;
    let ends = guest.sh(&format!("systemctl show --property=TimeoutStopUSec,KillSignal {scope} | sort"))?;
    ensure!(ends == "KillSignal=2\nTimeoutStopUSec=3s", "{ends}");
    guest.sh("test $(cat /sys/fs/cgroup/keelson.slice/memory.max) != max")?;
    guest.sh("test $(cat /sys/fs/cgroup/system.slice/memory.min) -gt 100000000")?;
    guest.sh("ls /run/crun /run/containerd/runc/keelson 2>/dev/null | grep -q .")?;
    // The kernel spares containerd and its shims when memory runs out, but not what runs in containers.
    ensure!(guest.sh("cat /proc/$(pidof containerd)/oom_score_adj")? == "-999", "containerd is not spared");
    let score = "cat /proc/self/oom_score_adj";
    let scores = guest.sh(&format!("cat /proc/{pid}/oom_score_adj; keelctl exec small {score}"))?;
    ensure!(scores == "0\n0", "the scores of a container and of an exec in it: {scores:?}");
    let keeld = guest.sh("systemctl show --property=MainPID,NRestarts keelson-containers keeld")?;
    let greedy = guest.vm.exec("keelctl run --rm busybox tail /dev/zero", keelson_tests::guest::COMMAND)?;
    ensure!(greedy.status == 137, "{} {}", greedy.status, greedy.errors());
    ensure!(
        guest.sh("systemctl show --property=MainPID,NRestarts keelson-containers keeld")? == keeld,
        "a daemon died"
    );
    ensure!(guest.sh("keelctl exec small echo alive")? == "alive", "another container died");
    let restart = "systemctl restart containerd keelson-containers && keelctl exec small echo alive";
    ensure!(guest.sh(restart)? == "alive", "no containers after a restart of everything");
    guest.sh("keelctl rm -f small").map(drop)
}

/// All started, keeld killed, all stopped, nothing left. Every fifth has a network. An emulated machine takes
/// seconds for each; a hundred of them are seen where there is no machine to emulate.
fn many(guest: &mut Guest) -> Result<()> {
    let before = settled(guest)?;
    guest.sh("for i in $(seq 25); do test $((i % 5)) = 0 && network=bridge || network=none; \
         keelctl run -d --name many-$i --network $network busybox sleep 100000 >/dev/null || exit 1; done")?;
    let rss = "awk '/^VmRSS/ {print $2}' /proc/$(systemctl show --value -p MainPID keelson-containers)/status";
    let used: u64 = guest.sh(rss)?.trim().parse()?;
    ensure!(used < 40_000, "keeld uses {used} kB with 25 containers");
    guest.sh("systemctl kill --signal=KILL keelson-containers; sleep 3; test $(keelctl ps -q | wc -l) = 25")?;
    guest.sh("keelctl rm -f $(seq -f many-%g 25)")?;
    ensure!(guest.sh("keelctl ps -aq")?.is_empty(), "containers are left");
    let mut after = String::new();
    // What ends by itself does so a moment later.
    let gone = eventually(Duration::from_secs(120), || {
        after = leftovers(guest).unwrap_or_else(|error| error.to_string());
        after == before
    });
    ensure!(gone, "before:\n{before}\nafter:\n{after}");
    Ok(())
}

/// What is left over once nothing more ends by itself.
fn settled(guest: &mut Guest) -> Result<String> {
    let mut last = leftovers(guest)?;
    for _ in 0..30 {
        let now = leftovers(guest)?;
        if now == last {
            break;
        }
        last = now;
    }
    Ok(last)
}

/// What containers could leave behind, counted.
fn leftovers(guest: &mut Guest) -> Result<String> {
    guest.sh(
        "sleep 2; echo links $(ip -br link show type veth | wc -l); echo mounts $(grep -c 'overlay\\|nsfs' /proc/self/mountinfo); \
         echo shims $(pgrep -fc containerd-shim); echo scopes $(find /sys/fs/cgroup/keelson.slice -mindepth 1 -type d | wc -l); \
         echo snapshots $(ctr -n keelson snapshots ls | grep -c Active); echo leases $(ctr -n keelson leases ls -q | wc -l); \
         echo containers $(ctr -n keelson containers ls -q | wc -l); echo netns $(ls /run/keelson/containers/netns | wc -l); \
         echo folders $(ls /var/lib/keelson/containers/c /run/keelson/containers/c | grep -c '^[0-9a-f]'); true",
    )
}

/// Declared containers are started, and follow their file.
pub fn declare(guest: &mut Guest) -> Result<()> {
    let file = r#"
[[container]]
name = "store"
image = "busybox"
command = ["httpd", "-f", "-p", "80", "-h", "/data"]
volumes = ["store:/data"]
health = { shell = "wget -q -O- http://127.0.0.1/ >/dev/null || true", interval = "5s" }

[[container]]
name = "front"
image = "busybox"
command = ["sh", "-c", "while true; do wget -qO- http://store/state; sleep 1; done"]
links = ["store"]
requires = { store = "started" }
"#;
    guest.sh(&format!("cd /etc/keelson/containers.d && cat > .shop.new <<'END'\n{file}END\nsync"))?;
    guest.sh("cd /etc/keelson/containers.d && cp .shop.new /var/tmp/shop.toml && keelctl containers check /var/tmp/shop.toml")?;
    guest.sh("cd /etc/keelson/containers.d && mv .shop.new shop.toml && rm /var/tmp/shop.toml")?;
    running(guest)?;
    guest.sh("keelctl exec store sh -c 'echo kept > /data/state'")?;
    guest.sh("keelctl run -d --name by-hand --restart always busybox sleep 100000")?;
    // What somebody removes comes back.
    guest.sh("keelctl rm -f store")?;
    running(guest)?;
    Ok(())
}

/// What was declared goes with its file.
pub fn undeclare(guest: &mut Guest) -> Result<()> {
    guest.sh("rm /etc/keelson/containers.d/shop.toml && keelctl rm -f by-hand")?;
    guest.sh("for i in $(seq 60); do test -z \"$(keelctl ps -aq)\" && exit; sleep 1; done; keelctl ps -a; exit 1")?;
    Ok(())
}

/// Both declared containers run.
fn running(guest: &mut Guest) -> Result<()> {
    let both = "test $(keelctl ps -q --filter name=store --filter name=front | wc -l) = 2";
    guest.sh(&format!("for i in $(seq 60); do {both} && break; sleep 1; done; keelctl ps -a; {both}")).map(drop)
}

/// They are there after a reboot, with their data.
pub fn as_before(guest: &mut Guest) -> Result<()> {
    running(guest)?;
    guest.sh("keelctl ps -q --filter name=by-hand | grep -q .")?;
    ensure!(guest.sh("keelctl exec front wget -qO- http://store/state")? == "kept", "the volume is another");
    Ok(())
}
