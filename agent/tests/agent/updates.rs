//! What `keelctl updates` and `keelctl health` say of a host that was told this and that.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use keelson_common::pki::{Authority, Subject, YEAR};
use serde_json::{Value, json};

use crate::world::World;

/// `keelctl VERB WORDS --json` of a host that was told this; a host that is no node and has no checks of its own.
fn ask(world: &World, told: &str, verb: &str, words: &[&str]) -> (Value, Option<i32>) {
    let place = |name: &str| world.dir().join(name).to_string_lossy().into_owned();
    let (settings, state, none) = (place("update.toml"), place("state"), place("none"));
    fs::write(&settings, told).unwrap();
    let places = ["--settings", &settings, "--state", &state, "--config", &none, "--scripts", &none];
    let output = world.try_keelctl(&[&[verb], places.as_slice(), &["--json"], words].concat());
    let document = serde_json::from_slice(&output.stdout);
    (document.unwrap_or_else(|_| panic!("{output:?}")), output.status.code())
}

#[test]
fn the_next_step_is_told() {
    let world = World::new();
    let (document, _) = ask(&world, "", "updates", &[]);
    assert_eq!((&document["policy"], &document["next"]["step"]), (&"manual".into(), &"rest".into()), "{document}");
    let told = "[update]\npolicy = \"windows\"\nwindows = [{ start = \"02:00\", length = \"1h\" }]\n\
        lock = { fleetlock = \"https://locks.example/\" }\n";
    let (document, _) = ask(&world, told, "updates", &[]);
    assert_eq!((&document["policy"], &document["next"]["step"]), (&"windows".into(), &"check".into()), "{document}");
    assert_eq!(document["lock"]["url"], "https://locks.example", "{document}");
    let (plan, _) = ask(&world, told, "updates", &["apply", "--dry-run", "--now"]);
    let plan = plan["message"].as_str().unwrap();
    assert!(plan.contains("the lock of group default at https://locks.example is asked for"), "{plan}");
    let (failure, code) = ask(&world, "[update]\npolicy = \"windows\"\n", "updates", &[]);
    assert!(failure["error"]["message"].as_str().unwrap().contains("needs `windows`") && code == Some(1), "{failure}");
}

#[test]
fn a_host_without_systemd_is_not_healthy() {
    let mut world = World::new();
    let standing = |document: &Value, name: &str| {
        let checks = document["checks"].as_array().unwrap();
        checks.iter().find(|check| check["name"] == name).map(|check| check["standing"].clone())
    };
    let (document, code) = ask(&world, "", "health", &[]);
    assert_eq!((&document["healthy"], code), (&Value::Bool(false), Some(1)), "{document}");
    assert_eq!(standing(&document, "keeld"), Some("good".into()), "{document}");
    assert_eq!(standing(&document, "units"), Some("bad".into()), "{document}");
    world.kill_keeld();
    let (document, _) = ask(&world, "", "health", &[]);
    assert_eq!(standing(&document, "keeld"), Some("bad".into()), "{document}");
}

/// What is asked of a FleetLock server that says yes once.
fn lender() -> (String, std::thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let asked = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut text = Vec::new();
        while !text.ends_with(b"}}") {
            let mut part = [0; 4096];
            let count = stream.read(&mut part).unwrap();
            text.extend(&part[..count]);
            assert!(count > 0, "{}", String::from_utf8_lossy(&text));
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
        String::from_utf8(text).unwrap()
    });
    (base, asked)
}

/// Has a host remember that it took a slot of `workers` from the server at `base`, for a reboot that is past.
fn took(world: &World, base: &str) {
    remember(world, &json!({ "kind": "fleetlock", "url": base, "group": "workers" }));
}

/// Has a host remember that it took this lock for a reboot that is past.
fn remember(world: &World, lock: &Value) {
    let attempt = json!({ "boot_id": "before", "checksum": "2", "label": "v2", "since": 0, "lock": lock,
        "locked": true, "draining": false, "drained": false });
    let state = world.dir().join("state");
    fs::create_dir_all(&state).unwrap();
    fs::write(state.join("update.json"), json!({ "attempt": attempt }).to_string()).unwrap();
}

/// Those that act take turns, as on a host.
static ALONE: Mutex<()> = Mutex::new(());

#[test]
fn what_a_reboot_took_is_given_back_by_hand() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let world = World::new();
    let (base, asked) = lender();
    took(&world, &base);
    // Whom it was taken from counts, not whom the host is told of now.
    let told = "[update]\nlock = { fleetlock = \"http://127.0.0.1:1\" }\n";
    let (document, _) = ask(&world, told, "updates", &[]);
    assert_eq!((&document["next"]["step"], &document["attempt"]["locked"]), (&"await-health".into(), &true.into()));
    let (said, code) = ask(&world, told, "updates", &["release"]);
    if !rustix::process::geteuid().is_root() {
        assert!(said["error"]["message"].as_str().unwrap().contains("needs root"), "{said}");
        return;
    }
    assert_eq!(code, Some(0), "{said}");
    let asked = asked.join().unwrap();
    assert!(asked.starts_with("POST /v1/steady-state HTTP/1.1\r\n"), "{asked}");
    assert!(asked.to_lowercase().contains("\r\nfleet-lock-protocol: true\r\n"), "{asked}");
    let body: Value = serde_json::from_str(asked.split("\r\n\r\n").last().unwrap()).unwrap();
    assert_eq!(body["client_params"]["group"], "workers");
    assert_eq!(body["client_params"]["id"].as_str().unwrap().len(), 32);
    assert_eq!(ask(&world, told, "updates", &[]).0["attempt"], Value::Null);
    // A cluster that the host left wants nothing back.
    remember(&world, &json!({ "kind": "cluster", "slots": 1 }));
    let (said, code) = ask(&world, told, "updates", &["release"]);
    assert!(code == Some(0) && said["message"].as_str().unwrap().ends_with("is given back."), "{said}");
    assert_eq!(ask(&world, told, "updates", &[]).0["attempt"], Value::Null);
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

/// That server; it ends with this.
struct OverTls(Child);

impl OverTls {
    fn start(port: u16, certificate: &Path, key: &Path) -> Self {
        let mut python = Command::new("python3");
        python.args(["-c", OVER_TLS, &port.to_string()]).args([certificate, key]).stderr(Stdio::null());
        let server = Self(python.spawn().unwrap());
        for _ in 0..600 {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return server;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("the server does not listen");
    }
}

impl Drop for OverTls {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[test]
fn a_lock_over_tls_is_trusted_by_the_authorities_of_the_host() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("giving a lock back needs root");
        return;
    }
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let world = World::new();
    let file = |name: &str, text: &str| {
        let path = world.dir().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let (authority, ca) = Authority::create("one", YEAR).unwrap();
    let names = ["localhost".to_owned()];
    let server = authority.sign(Subject { user: "server", names: &names, ..Subject::default() }, YEAR).unwrap();
    let (ca, certificate, key) =
        (file("ca", &ca.certificate), file("server.crt", &server.certificate), file("server.key", &server.key));
    // The authority of somebody else.
    let other = file("other", &Authority::create("other", YEAR).unwrap().1.certificate);
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let _server = OverTls::start(port, &certificate, &key);
    took(&world, &format!("https://localhost:{port}"));
    let state = world.dir().join("state").to_string_lossy().into_owned();
    let release = |trusted: &Path| {
        let words = ["updates", "--state", &state, "--settings", "/nonexistent", "--config", "/nonexistent", "release"];
        world.command(&words).env("SSL_CERT_FILE", trusted).output().unwrap()
    };
    // What cannot be given back is told, and forgotten.
    let refused = release(&other);
    let said = String::from_utf8_lossy(&refused.stdout);
    assert!(refused.status.success() && said.contains("cannot reach the FleetLock server"), "{refused:?}");
    assert!(said.contains("invalid peer certificate") && said.contains("in group workers at https://"), "{said}");
    let none = release(&ca);
    assert!(String::from_utf8_lossy(&none.stdout).contains("No reboot was under way"), "{none:?}");
    took(&world, &format!("https://localhost:{port}"));
    let given = release(&ca);
    let said = String::from_utf8_lossy(&given.stdout);
    assert!(given.status.success() && said.contains("is given back."), "{given:?}");
}
