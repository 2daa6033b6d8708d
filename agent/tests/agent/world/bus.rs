//! A message bus of the test's own, on which anyone may talk to anyone.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A running bus.
pub struct Bus {
    daemon: Child,
    /// Its address.
    pub address: String,
}

impl Bus {
    /// Starts a bus with its socket in `dir`.
    pub fn start(dir: &Path) -> Self {
        let config = dir.join("bus.conf");
        let policy = "<policy context=\"default\"><allow user=\"*\"/><allow own=\"*\"/>\
            <allow send_destination=\"*\"/><allow receive_sender=\"*\"/></policy>";
        let listen = format!("<listen>unix:path={}</listen>", dir.join("bus").display());
        fs::write(&config, format!("<busconfig><type>system</type>{listen}{policy}</busconfig>")).unwrap();
        let mut daemon = Command::new("dbus-daemon")
            .arg(format!("--config-file={}", config.display()))
            .args(["--nofork", "--print-address", "--nopidfile"])
            .stdout(Stdio::piped())
            // It complains of limits that it may not raise.
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut address = String::new();
        BufReader::new(daemon.stdout.take().unwrap()).read_line(&mut address).unwrap();
        Self { daemon, address: address.trim().to_owned() }
    }

    /// Ends it, and starts it anew at the same address.
    pub fn restart(&mut self, dir: &Path) {
        self.daemon.kill().unwrap();
        self.daemon.wait().unwrap();
        *self = Self::start(dir);
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}
