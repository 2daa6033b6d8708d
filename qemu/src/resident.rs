//! Owns machines that stay on when the program that started them has ended: QEMU in the background, without a
//! terminal, below a folder that says all there is to know of it.
//!
//! Which are on is read from the running processes and nowhere else: a file of a process id outlives its process,
//! and a folder may be gone while its QEMU runs.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use keelson_common::command::CommandExt;
use serde_json::Value;

use crate::accel;
use crate::error::Error;
use crate::failure;
use crate::layout::Layout;
use crate::machine::{Format, Machine};
use crate::power;
use crate::qmp::Qmp;
use crate::version::{self, PROGRAM, Version};

/// The longest path of a Unix socket that the kernel takes, without its closing zero.
const SOCKET_PATH: usize = 107;
/// The option whose value names a machine's folder.
const PID_OPTION: &[u8] = b"-pidfile";

/// A machine that stays on, by its folder.
#[derive(Debug, Clone)]
pub struct Resident {
    layout: Layout,
}

impl Resident {
    /// The machine of a folder, which is an absolute path without links: it is found by it again.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { layout: Layout { dir: dir.into(), ovmf_code: PathBuf::new() } }
    }

    /// Switches it on, and returns once QEMU runs in the background. Its disks are to be kept
    /// ([`crate::machine::Writes::Persist`]), and every path absolute.
    pub fn start(&self, machine: &Machine) -> Result<(), Error> {
        let length = self.layout.qmp().as_os_str().len();
        if length > SOCKET_PATH {
            let dir = self.layout.dir.display();
            return Err(Error::Setting(format!("the path {dir} is too long for a socket by {}", length - SOCKET_PATH)));
        }
        let version = Version::installed()?;
        let accel = machine.accel.unwrap_or_else(|| accel::choose(version));
        version::check(version, accel, machine.cpus)?;
        let mut layout = self.layout.clone();
        power::prepare(machine, &mut layout)?;
        // A group of its own, so that a terminal's Ctrl-C passes it by until it has left the terminal itself.
        let mut command = Command::new(PROGRAM);
        command.args(machine.resident_argv(&layout, accel)).process_group(0);
        tracing::debug!(command = keelson_common::command::line(&command), "starting QEMU");
        command.run().map_err(|source| Error::Command { what: "QEMU cannot be started", source })
    }

    /// QEMU's process id while it is on.
    pub fn pid(&self) -> Option<u32> {
        all(&self.layout.dir).into_iter().find(|(dir, _)| *dir == self.layout.dir).map(|(_, pid)| pid)
    }

    /// A new connection to QEMU's control channel.
    pub fn qmp(&self) -> Result<Qmp, Error> {
        let path = self.layout.qmp();
        Qmp::new(UnixStream::connect(&path).map_err(Error::io("connect to", path))?)
    }

    /// The port of 127.0.0.1 that leads to that port of the guest.
    pub fn port(&self, guest: u16) -> Result<u16, Error> {
        let table = self.qmp()?.monitor("info usernet")?;
        power::forwarded(&table, guest).ok_or_else(|| Error::Setting(format!("port {guest} is not forwarded")))
    }

    /// The file of all that its serial console printed.
    pub fn console_log(&self) -> PathBuf {
        self.layout.console_log()
    }

    /// What its console says of a boot that has failed for good.
    pub fn failure(&self) -> Option<String> {
        let console = fs::read(self.layout.console_log()).ok()?;
        failure::find(&String::from_utf8_lossy(&console)).map(str::to_owned)
    }
}

/// The machines that are on whose folder is `below` or in it, with QEMU's process id: of those that this user
/// may look at.
pub fn all(below: &Path) -> Vec<(PathBuf, u32)> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut found: Vec<_> = processes
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let dir = machine_dir(&fs::read(entry.path().join("cmdline")).ok()?)?;
            dir.starts_with(below).then_some((dir, pid))
        })
        .collect();
    found.sort();
    found
}

/// The folder of the machine that a process is, by its arguments.
fn machine_dir(cmdline: &[u8]) -> Option<PathBuf> {
    let mut words = cmdline.split(|&byte| byte == 0);
    Path::new(OsStr::from_bytes(words.next()?)).file_name().filter(|name| *name == PROGRAM)?;
    words.find(|&word| word == PID_OPTION)?;
    let file = PathBuf::from(OsString::from_vec(words.next()?.to_vec()));
    file.parent().map(Path::to_owned)
}

/// Ends a QEMU that [`all`] found, at once; one that has ended, or is another by now, is left alone.
pub fn kill(dir: &Path, pid: u32) -> Result<(), Error> {
    if !all(dir).contains(&(dir.to_owned(), pid)) {
        return Ok(());
    }
    Command::new("kill")
        .args(["-KILL", &pid.to_string()])
        .run()
        .or_else(|source| if all(dir).is_empty() { Ok(()) } else { Err(source) })
        .map_err(|source| Error::Command { what: "QEMU cannot be ended", source })
}

/// Makes a qcow2 file whose content is `base`'s until it is written to, of at least `size` bytes.
pub fn overlay(base: &Path, format: Format, file: &Path, size: u64) -> Result<(), Error> {
    let failed = |source| Error::Command { what: "cannot make a disk", source };
    let mut info = Command::new("qemu-img");
    let text = info.args(["info", "--output=json", "-f", format.name()]).arg(base).output_text().map_err(failed)?;
    let size = size.max(virtual_size(&text).unwrap_or_default());
    Command::new("qemu-img")
        .args(["create", "-q", "-f", "qcow2", "-F", format.name(), "-b"])
        .args([base, file])
        .arg(size.to_string())
        .run()
        .map_err(failed)
}

/// The size that a guest sees, from `qemu-img info --output=json`.
fn virtual_size(info: &str) -> Option<u64> {
    serde_json::from_str::<Value>(info).ok()?["virtual-size"].as_u64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_known_by_its_arguments() {
        let line = b"/usr/bin/qemu-system-x86_64\0-m\x002048\0-pidfile\0/s/one/qemu.pid\0-daemonize\0";
        assert_eq!(machine_dir(line), Some("/s/one".into()));
        assert_eq!(machine_dir(b"qemu-system-x86_64\0-m\x002048\0"), None);
        assert_eq!(machine_dir(b"vim\0-pidfile\0/s/one/qemu.pid\0"), None);
        assert_eq!(machine_dir(b""), None);
    }

    #[test]
    fn a_disk_is_never_smaller_than_what_is_below_it() {
        assert_eq!(virtual_size("{\"virtual-size\": 3221225472, \"format\": \"qcow2\"}"), Some(3 << 30));
        assert_eq!(virtual_size("qemu-img: no"), None);
    }

    #[test]
    fn nothing_is_on_in_an_unknown_folder() {
        let dir = tempfile::tempdir().unwrap();
        assert!(all(dir.path()).is_empty() && Resident::new(dir.path()).pid().is_none());
        assert!(kill(dir.path(), 1).is_ok());
    }
}
