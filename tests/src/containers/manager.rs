//! Owns the part of systemd that keeld relies on while it is not running: a file descriptor store, in
//! the protocol of sd_notify(3).

use std::collections::HashMap;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

/// Descriptors by their name.
type Store = Arc<Mutex<HashMap<String, Vec<OwnedFd>>>>;

/// A running store; what it holds is closed with it.
#[derive(Debug)]
pub struct ServiceManager {
    store: Store,
    path: std::path::PathBuf,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl ServiceManager {
    /// Listens on a socket at `path`, the `NOTIFY_SOCKET` of a service.
    pub fn start(path: &Path) -> Result<Self> {
        let socket = UnixDatagram::bind(path).with_context(|| format!("cannot listen on {}", path.display()))?;
        let store = Store::default();
        let kept = store.clone();
        let thread = std::thread::spawn(move || while receive(&socket, &kept).is_some() {});
        Ok(Self { store, path: path.to_owned(), thread: Some(thread) })
    }

    /// The names of what is held.
    pub fn held(&self) -> Vec<String> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }
}

impl Drop for ServiceManager {
    fn drop(&mut self) {
        let told = UnixDatagram::unbound().and_then(|socket| socket.send_to(b"STOP=1", &self.path));
        if let (Ok(_), Some(thread)) = (told, self.thread.take()) {
            // It only ends after what it was told.
            let _ = thread.join();
        }
    }
}

/// Does what one message says; none after the last.
fn receive(socket: &UnixDatagram, store: &Store) -> Option<()> {
    let mut text = [0; 4096];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(64), ScmCredentials(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(socket, &mut [IoSliceMut::new(&mut text)], &mut ancillary, RecvFlags::CMSG_CLOEXEC).ok()?;
    let mut fds = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            fds.extend(received);
        }
    }
    let text = String::from_utf8_lossy(&text[..received.bytes]).into_owned();
    let says = |line: &str| text.lines().any(|found| found == line);
    let name = text.lines().find_map(|line| line.strip_prefix("FDNAME=")).unwrap_or("stored").to_owned();
    let mut store = store.lock().unwrap_or_else(PoisonError::into_inner);
    if says("FDSTORE=1") {
        store.entry(name).or_default().extend(fds);
    } else if says("FDSTOREREMOVE=1") {
        store.remove(&name);
    }
    (!says("STOP=1")).then_some(())
}
