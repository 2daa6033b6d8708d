//! The reboot lock of a fleet: our FleetLock client against a server that was written by the protocol's
//! document, and against airlock, upstream's own.

use std::fs;
use std::net::TcpListener;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::routing::post;
use axum::{Json, Router};
use keelson_agent::update::fleetlock::{FleetLock, FleetLockError};
use keelson_tests::cluster::{Authority, program};
use keelson_tests::containers::{Process, eventually};
use keelson_tests::keelson::finish;
use serde_json::{Value, json};

/// How long a server may take to be there.
const START: Duration = Duration::from_secs(60);

fn kind(answer: Result<(), FleetLockError>) -> String {
    match answer {
        Ok(()) => "ok".to_owned(),
        Err(FleetLockError::Refused { kind, .. }) => kind,
        Err(other) => format!("{other:?}"),
    }
}

/// Who has the one slot.
type Holder = Arc<Mutex<Option<Value>>>;

/// The protocol in one function: one slot, for the group `default`.
async fn answer(
    State(holder): State<Holder>,
    uri: Uri,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> (StatusCode, String) {
    let refuse = |status, kind: &str| (status, json!({ "kind": kind, "value": "why" }).to_string());
    let client = body["client_params"].clone();
    if headers.get("fleet-lock-protocol").is_none_or(|value| value != "true") || client["id"].as_str().is_none() {
        return refuse(StatusCode::BAD_REQUEST, "invalid_client_identity");
    }
    if client["group"] != "default" {
        return refuse(StatusCode::BAD_REQUEST, "unknown_group");
    }
    let mut holder = holder.lock().unwrap();
    let (mine, free) = (*holder == Some(client.clone()), holder.is_none());
    match uri.path() {
        "/base/v1/pre-reboot" if mine || free => *holder = Some(client),
        "/base/v1/pre-reboot" => return refuse(StatusCode::CONFLICT, "failed_lock"),
        _ if mine => *holder = None,
        _ => {}
    }
    (StatusCode::OK, String::new())
}

#[tokio::test]
async fn the_lock_is_lent_as_the_protocol_says() {
    let holder = Holder::default();
    let router = Router::new()
        .route("/base/v1/pre-reboot", post(answer))
        .route("/base/v1/steady-state", post(answer))
        .with_state(holder.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/base/", listener.local_addr().unwrap());
    tokio::spawn(async { axum::serve(listener, router).await });
    let (one, two) = (FleetLock::new(&base, "default", "one"), FleetLock::new(&base, "default", "two"));
    assert_eq!(kind(one.pre_reboot().await), "ok");
    assert_eq!(kind(one.pre_reboot().await), "ok", "asked twice");
    assert_eq!(*holder.lock().unwrap(), Some(json!({ "id": "one", "group": "default" })));
    assert_eq!(kind(two.pre_reboot().await), "failed_lock");
    assert_eq!(kind(two.steady_state().await), "ok", "what one has not is given back all the same");
    assert_eq!(kind(two.pre_reboot().await), "failed_lock");
    assert_eq!(kind(one.steady_state().await), "ok");
    assert_eq!(kind(two.pre_reboot().await), "ok");
    assert_eq!(kind(FleetLock::new(&base, "others", "one").pre_reboot().await), "unknown_group");
    let wrong = FleetLock::new(&base.replace("base", "elsewhere"), "default", "one").pre_reboot().await;
    assert!(matches!(wrong, Err(FleetLockError::Odd { status: StatusCode::NOT_FOUND, .. })), "{wrong:?}");
}

/// A server that lends to everybody, over TLS; of Python's, so that the other side is nothing of ours.
const OVER_TLS: &str = "
import http.server, ssl, sys
class Lender(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers['Content-Length']))
        self.send_response(200 if self.headers['fleet-lock-protocol'] == 'true' else 400)
        self.end_headers()
server = http.server.HTTPServer(('127.0.0.1', int(sys.argv[1])), Lender)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[2], sys.argv[3])
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
";

/// What [`over_tls_by_the_authorities_of_the_host`] has asked in a process with other authorities.
#[test]
#[ignore = "runs by itself"]
fn asked_over_tls() {
    let base = std::env::var("KEELSON_TEST_URL").unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(FleetLock::new(&base, "default", "one").pre_reboot()).unwrap();
}

#[test]
fn over_tls_by_the_authorities_of_the_host() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let authority = Authority::new(folder.path())?;
    let server = authority.server("server", &["localhost"])?;
    let [port] = free_ports()?;
    let mut python = Command::new("python3");
    python.args(["-c", OVER_TLS, &port.to_string()]).args([&server.certificate, &server.key]);
    let mut lender = Process::start(&mut python, &folder.path().join("lender.log"))?;
    lender.wait_ready(START, || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok())?;
    let asked = |trusted: &std::path::Path| {
        let mut again = Command::new(std::env::current_exe()?);
        again.args(["--exact", "--ignored", "--nocapture", "asked_over_tls"]);
        again.env("KEELSON_TEST_URL", format!("https://localhost:{port}")).env("SSL_CERT_FILE", trusted);
        finish(&mut again)
    };
    asked(&authority.identity.certificate)?.expect(0)?;
    // The authority of somebody else.
    let other = folder.path().join("other");
    fs::create_dir(&other)?;
    asked(&Authority::new(&other)?.identity.certificate)?.expect(101)?.says(&["Unreachable", "InvalidCertificate"])?;
    Ok(())
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
#[ignore = "needs manifests/kubernetes/build.sh --fleetlock"]
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
