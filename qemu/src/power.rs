//! Owns switching a machine on: the files it needs, the sockets QEMU connects to, the process.

use std::fs;
use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use keelson_common::command::{CommandExt, tail};

use crate::accel::Accel;
use crate::console::Console;
use crate::error::Error;
use crate::guest::Guest;
use crate::layout::{Layout, ovmf};
use crate::machine::{Disk, Firmware, Machine, Writes};
use crate::process::{self, Tied};
use crate::qmp::Qmp;
use crate::version::PROGRAM;

/// How long QEMU may take to start and connect to our sockets.
const START: Duration = Duration::from_secs(60);

/// A machine that is on.
pub(crate) struct Running {
    // First, so that QEMU ends before its sockets close.
    pub(crate) process: Tied,
    pub(crate) qmp: Qmp,
    pub(crate) guest: Guest,
}

/// Makes what is not there yet: overlays of throw-away disks and UEFI variables.
pub(crate) fn prepare(machine: &Machine, layout: &mut Layout) -> Result<(), Error> {
    for (index, disk) in machine.disks.iter().enumerate() {
        if disk.writes == Writes::Persist {
            fs::metadata(&disk.path).map_err(Error::io("read the disk", &disk.path))?;
        } else if !layout.overlay(index).exists() {
            overlay(disk, &layout.overlay(index))?;
        }
    }
    if machine.firmware == Firmware::Uefi {
        let (code, variables) = ovmf()?;
        layout.ovmf_code = code.to_owned();
        let own = layout.ovmf_variables();
        if !own.exists() {
            fs::copy(variables, &own).map_err(Error::io("write", own))?;
        }
    }
    Ok(())
}

/// An empty qcow2 file whose content is the disk's until it is written to.
fn overlay(disk: &Disk, file: &Path) -> Result<(), Error> {
    let base = fs::canonicalize(&disk.path).map_err(Error::io("read the disk", &disk.path))?;
    Command::new("qemu-img")
        .args(["create", "-q", "-f", "qcow2", "-F", disk.format.name(), "-b"])
        .args([base.as_path(), file])
        .run()
        .map_err(|source| Error::Command { what: "cannot make a throw-away disk", source })
}

/// Starts QEMU. It connects to sockets we listen on before its machine runs, so nothing is missed.
pub(crate) fn on(machine: &Machine, layout: &Layout, accel: Accel, console: &Console) -> Result<Running, Error> {
    let qmp = listen(&layout.qmp())?;
    let serial = listen(&layout.console())?;
    let ports: Vec<_> = Layout::CHANNELS.iter().map(|name| listen(&layout.channel(name))).collect::<Result<_, _>>()?;
    let log = fs::File::create(layout.qemu_log()).map_err(Error::io("write", layout.qemu_log()))?;
    let stdout = log.try_clone().map_err(Error::io("write", layout.qemu_log()))?;
    let mut command = process::command(PROGRAM);
    command.args(machine.argv(layout, accel)).stdin(Stdio::null()).stdout(stdout).stderr(log);
    tracing::debug!(command = keelson_common::command::line(&command), "starting QEMU");
    let mut process = process::spawn(command).map_err(Error::io("run", "setpriv"))?;
    let mut connected = |listener: &UnixListener| accept(listener, &mut process, &layout.qemu_log());
    let qmp = connected(&qmp)?;
    console.attach(connected(&serial)?, &layout.console_log())?;
    let mut ports = ports.iter().map(&mut connected).collect::<Result<Vec<_>, _>>()?.into_iter();
    let (Some(control), Some(stdout), Some(stderr)) = (ports.next(), ports.next(), ports.next()) else {
        return Err(Error::Protocol("the guest channel has three ports".into()));
    };
    let guest = Guest::new(control, stdout, stderr).map_err(Error::io("read from", &layout.dir))?;
    let qmp = match Qmp::new(qmp) {
        Err(Error::Off { .. }) => return Err(ended(&mut process, &layout.qemu_log())),
        result => result?,
    };
    Ok(Running { qmp, guest, process })
}

fn listen(path: &Path) -> Result<UnixListener, Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(Error::io("remove", path)(error)),
        _ => {}
    }
    let listener = UnixListener::bind(path).map_err(Error::io("listen on", path))?;
    listener.set_nonblocking(true).map_err(Error::io("listen on", path))?;
    Ok(listener)
}

/// Why QEMU closed its connections.
fn ended(process: &mut Tied, log: &Path) -> Error {
    let doing = "it was starting".to_owned();
    let output = || tail(&fs::read(log).unwrap_or_default());
    match process.wait(Duration::from_secs(1)) {
        Ok(Some(status)) => Error::Ended { status, doing, output: output() },
        Ok(None) => Error::Timeout { what: "start of QEMU".into(), limit: START, output: output() },
        Err(source) => Error::io("wait for", PROGRAM)(source),
    }
}

/// Takes QEMU's connection, or tells why it ended instead.
fn accept(listener: &UnixListener, process: &mut Tied, log: &Path) -> Result<UnixStream, Error> {
    let start = Instant::now();
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false).map_err(Error::io("use", "a connection of QEMU"))?;
                return Ok(stream);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(Error::io("use", "a connection of QEMU")(error)),
        }
        let exited = process.try_wait().map_err(Error::io("wait for", PROGRAM))?.is_some();
        if exited || start.elapsed() > START {
            return Err(ended(process, log));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Finds a forwarded port in QEMU's `info usernet`.
pub(crate) fn forwarded(table: &str, guest: u16) -> Option<u16> {
    table.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["TCP[HOST_FORWARD]", _, "127.0.0.1", host, _, port, ..] if port.parse() == Ok(guest) => host.parse().ok(),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forwarded_ports_are_read_from_the_monitor() {
        let table = "Hub -1 (net0):\r\n  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ\r\n  \
                     TCP[HOST_FORWARD]  13       127.0.0.1 40123       10.0.2.15    22     0     0\r\n  \
                     TCP[HOST_FORWARD]  14       127.0.0.1  8080       10.0.2.15    80     0     0\r\n";
        assert_eq!(forwarded(table, 22), Some(40123));
        assert_eq!(forwarded(table, 80), Some(8080));
        assert_eq!(forwarded(table, 443), None);
    }
}
