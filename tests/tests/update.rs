//! The reboot lock of a fleet: our FleetLock client against a server that was written by the protocol's
//! document, and against airlock, upstream's own.

use std::fs;
use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use axum::http::StatusCode;
use keelson_agent::update::fleetlock::{FleetLock, FleetLockError};
use keelson_tests::cluster::program;
use keelson_tests::containers::{Process, eventually};
use keelson_tests::fleetlock;

/// How long a server may take to be there.
const START: Duration = Duration::from_secs(60);

fn kind(answer: Result<(), FleetLockError>) -> String {
    match answer {
        Ok(()) => "ok".to_owned(),
        Err(FleetLockError::Refused { kind, .. }) => kind,
        Err(other) => format!("{other:?}"),
    }
}

#[test]
fn the_lock_is_lent_as_the_protocol_says() -> Result<()> {
    let server = fleetlock::Server::start()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(lends(&server));
    Ok(())
}

async fn lends(server: &fleetlock::Server) {
    let base = server.url();
    let (one, two) = (FleetLock::new(&base, "default", "one"), FleetLock::new(&base, "default", "two"));
    assert_eq!(kind(one.pre_reboot().await), "ok");
    assert_eq!(kind(one.pre_reboot().await), "ok", "asked twice");
    assert_eq!(server.holder().as_deref(), Some("one"));
    assert_eq!(kind(two.pre_reboot().await), "failed_lock");
    assert_eq!(kind(two.steady_state().await), "ok", "what one has not is given back all the same");
    assert_eq!(kind(two.pre_reboot().await), "failed_lock");
    assert_eq!(kind(one.steady_state().await), "ok");
    assert_eq!(kind(two.pre_reboot().await), "ok");
    assert_eq!(kind(FleetLock::new(&base, "others", "one").pre_reboot().await), "unknown_group");
    let wrong = FleetLock::new(&base.replace("base", "elsewhere"), "default", "one").pre_reboot().await;
    assert!(matches!(wrong, Err(FleetLockError::Odd { status: StatusCode::NOT_FOUND, .. })), "{wrong:?}");
}

/// Ports of loopback that nobody had a moment ago.
fn free_ports<const N: usize>() -> Result<[u16; N]> {
    let listeners: Vec<TcpListener> = (0..N).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<_, _>>()?;
    let ports: Vec<u16> = listeners.iter().map(|held| Ok(held.local_addr()?.port())).collect::<Result<_>>()?;
    ports.try_into().ok().context("a port for each")
}

/// airlock over an etcd: the group `default` has a slot, `workers` has two.
struct Airlock {
    base: String,
    airlock: Process,
    _etcd: Process,
    _folder: tempfile::TempDir,
}

impl Airlock {
    fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let [client, peer, port] = free_ports()?;
        let (client, peer) = (format!("http://127.0.0.1:{client}"), format!("http://127.0.0.1:{peer}"));
        let mut etcd = Command::new("etcd");
        etcd.arg("--data-dir").arg(folder.path().join("etcd"));
        etcd.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
        etcd.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
        etcd.args(["--initial-cluster", &format!("default={peer}"), "--logger", "zap"]);
        let etcd = Process::start(&mut etcd, &folder.path().join("etcd.log"))?;
        let config = format!(
            "[status]\nenabled = false\n[service]\naddress = \"127.0.0.1\"\nport = {port}\ntls = false\n\
            [etcd3]\nendpoints = [\"{client}\"]\n[lock]\ndefault_group_name = \"default\"\ndefault_slots = 1\n\
            [[lock.groups]]\nname = \"workers\"\nslots = 2\n"
        );
        let path = folder.path().join("airlock.toml");
        fs::write(&path, config)?;
        let mut airlock = Command::new(program("airlock")?);
        airlock.args(["serve", "--config"]).arg(&path);
        let mut airlock = Process::start(&mut airlock, &folder.path().join("airlock.log"))?;
        airlock.wait_ready(START, || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok())?;
        Ok(Self { base: format!("http://127.0.0.1:{port}"), airlock, _etcd: etcd, _folder: folder })
    }
}

#[test]
#[ignore = "needs airlock from GitHub; tests/run.sh runs it where manifests/kubernetes/build.sh --fleetlock can fetch that"]
fn airlock_lends_its_slots() -> Result<()> {
    let mut server = Airlock::start()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let host = |group: &str, id: &str| FleetLock::new(&server.base, group, id);
    let [one, two] = ["one", "two"].map(|id| host("default", id));
    // Its etcd may not be ready yet.
    let mut last = String::new();
    let had = eventually(START, || {
        last = kind(runtime.block_on(one.pre_reboot()));
        last == "ok"
    });
    ensure!(had, "{last}\n{}", server.airlock.log_tail());
    assert_eq!(kind(runtime.block_on(one.pre_reboot())), "ok", "asked twice");
    assert_eq!(kind(runtime.block_on(two.pre_reboot())), "failed_lock", "{}", server.airlock.log_tail());
    assert_eq!(kind(runtime.block_on(two.steady_state())), "ok", "what one has not is given back all the same");
    assert_eq!(kind(runtime.block_on(two.pre_reboot())), "failed_lock");
    assert_eq!(kind(runtime.block_on(one.steady_state())), "ok");
    assert_eq!(kind(runtime.block_on(two.pre_reboot())), "ok");
    let workers = ["a", "b", "c"].map(|id| host("workers", id));
    let taken: Vec<String> = workers.iter().map(|worker| kind(runtime.block_on(worker.pre_reboot()))).collect();
    assert_eq!(taken, ["ok", "ok", "failed_lock"]);
    assert_eq!(kind(runtime.block_on(host("none", "a").pre_reboot())), "unknown_group");
    assert_eq!(kind(runtime.block_on(host("default", "").pre_reboot())), "invalid_client_identity");
    // A server that is gone is told from one that refuses.
    server.airlock.kill()?;
    let gone = runtime.block_on(two.steady_state());
    assert!(matches!(gone, Err(FleetLockError::Unreachable(..))), "{gone:?}");
    Ok(())
}
