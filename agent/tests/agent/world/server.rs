//! A static web server with a gate: while it is shut, content objects are held back.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

#[derive(Default)]
struct Gate {
    shut: Mutex<bool>,
    opened: Condvar,
}

/// A running server.
pub struct Server {
    address: SocketAddr,
    gate: Arc<Gate>,
}

impl Server {
    /// Serves the files below `root` on a free port.
    pub fn start(root: PathBuf) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, gate) = (listener.local_addr().unwrap(), Arc::<Gate>::default());
        let shared = gate.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (root, gate) = (root.clone(), shared.clone());
                thread::spawn(move || answer(&stream, &root, &gate));
            }
        });
        Self { address, gate }
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Holds content objects back.
    pub fn shut_gate(&self) {
        *self.gate.shut.lock().unwrap() = true;
    }

    /// Lets everything through again.
    pub fn open_gate(&self) {
        *self.gate.shut.lock().unwrap() = false;
        self.gate.opened.notify_all();
    }
}

/// Answers the requests of one connection; a client that goes away ends it.
fn answer(stream: &TcpStream, root: &Path, gate: &Gate) {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    while let Some(request) = lines.next() {
        while lines.next().is_some_and(|header| !header.is_empty()) {}
        let path = request.split(' ').nth(1).unwrap_or("/").trim_start_matches('/').to_owned();
        if path.ends_with(".filez") {
            let shut = gate.shut.lock().unwrap();
            drop(gate.opened.wait_while(shut, |shut| *shut).unwrap());
        }
        let (status, body) = match std::fs::read(root.join(&path)) {
            Ok(body) => ("200 OK", body),
            Err(_) => ("404 Not Found", Vec::new()),
        };
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", body.len());
        let mut stream = stream;
        if stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body)).is_err() {
            return;
        }
    }
}
