//! Owns a cluster's machines as processes: disks, seeds, switching on and off.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use keelson_common::command::CommandExt;
use keelson_qemu::machine::{Disk, Format, Forward, Machine as Description, Writes};
use keelson_qemu::resident::{self, Resident};
use keelson_qemu::seed::Seed;

use super::board::Board;
use super::folder::Folder;
use super::plan::{Machine, Role};
use super::state::Cluster;

/// The least that a guest's disk holds: room for images, for etcd and for the next version. It takes up what is
/// written to it.
const DISK: u64 = 12 << 30;
/// How long guests may take to power off in order.
const GRACE: Duration = Duration::from_secs(60);
/// How long QEMU may take to end when it is told to.
const QUIT: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(200);

/// Gives the cluster the disk that its machines' disks stand on, one that nobody else writes to or removes. One that
/// is `ours` is only linked to: it is never written to.
pub fn base_disk(folder: &Folder, disk: &Path, ours: bool) -> Result<()> {
    let to = folder.disk();
    if ours && fs::hard_link(disk, &to).is_ok() {
        return Ok(());
    }
    let mut cp = Command::new("cp");
    cp.args(["--sparse=auto", "--reflink=auto", "--"]).args([disk, &to]);
    cp.run().with_context(|| format!("cannot copy {} into the cluster's folder", disk.display()))
}

/// Makes a machine's folder, disk and seed.
pub fn prepare(folder: &Folder, machine: &Machine, seed: &Seed) -> Result<()> {
    let dir = folder.machine(&machine.name);
    let made = DirBuilder::new().mode(0o700).create(&dir);
    made.with_context(|| format!("cannot make {}", dir.display()))?;
    seed.write(&seed_file(&dir))?;
    Ok(resident::overlay(&folder.disk(), format(&folder.disk())?, &disk_file(&dir), DISK)?)
}

/// Switches a machine on, and learns its ports.
pub fn on(folder: &Folder, cluster: &Cluster, machine: &mut Machine) -> Result<()> {
    let dir = folder.machine(&machine.name);
    let resident = Resident::new(&dir);
    resident
        .start(&description(cluster, machine, &dir))
        .with_context(|| format!("{} cannot be switched on", machine.name))?;
    machine.ssh_port = Some(resident.port(22)?);
    if machine.role == Role::Master {
        machine.api_port = Some(resident.port(6443)?);
    }
    Ok(())
}

fn description(cluster: &Cluster, machine: &Machine, dir: &Path) -> Description {
    let mut description = Description::new(disk_file(dir), Format::Qcow2);
    description.disks = vec![Disk { path: disk_file(dir), format: Format::Qcow2, writes: Writes::Persist }];
    description.memory = machine.memory;
    description.cpus = machine.cpus;
    let ports: &[u16] = if machine.role == Role::Master { &[22, 6443] } else { &[22] };
    description.forwards = ports.iter().map(|&guest| Forward { host: 0, guest }).collect();
    description.segments = vec![cluster.network.card(machine)];
    description.seed = Some(seed_file(dir));
    description
}

fn disk_file(dir: &Path) -> PathBuf {
    dir.join("disk.qcow2")
}

fn seed_file(dir: &Path) -> PathBuf {
    dir.join("seed.iso")
}

fn format(disk: &Path) -> Result<Format> {
    let mut head = [0; 512];
    let read = fs::File::open(disk).and_then(|mut file| io::Read::read_exact(&mut file, &mut head));
    read.with_context(|| format!("cannot read the disk {}", disk.display()))?;
    Ok(Format::of(&head))
}

/// Whether a machine is on.
pub fn is_on(folder: &Folder, machine: &Machine) -> bool {
    Resident::new(folder.machine(&machine.name)).pid().is_some()
}

/// The names of a cluster's machines that are on, by the running processes alone.
pub fn running(folder: &Folder) -> Vec<String> {
    resident::all(folder.path()).iter().map(|(dir, _)| name(dir)).collect()
}

fn name(dir: &Path) -> String {
    dir.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Whether a machine that is on stands still because there is no room for its disk. One that cannot be asked is judged
/// by what else is seen of it.
pub fn lacks_room(folder: &Folder, machine: &Machine) -> bool {
    let asked = Resident::new(folder.machine(&machine.name)).qmp().and_then(|mut qmp| qmp.lacks_room());
    asked.unwrap_or_default()
}

/// Powers a cluster's machines off in order, and ends those that do not go within a minute.
pub fn off(folder: &Folder) -> Result<()> {
    let found = resident::all(folder.path());
    let names: Vec<String> = found.iter().map(|(dir, _)| name(dir)).collect();
    let board = Board::new(names.iter().map(String::as_str));
    for (dir, _) in &found {
        let pressed = Resident::new(dir).qmp().and_then(|mut qmp| qmp.press_power());
        board.set(&name(dir), if pressed.is_ok() { "powering off" } else { "does not answer" });
    }
    wait_off(folder, &found, &board, GRACE);
    for (dir, _) in resident::all(folder.path()) {
        board.set(&name(&dir), "still on: switching it off");
    }
    end(folder)?;
    names.iter().for_each(|name| board.finish(name, "off"));
    Ok(())
}

/// Shows each that goes off within `limit`.
fn wait_off(folder: &Folder, found: &[(PathBuf, u32)], board: &Board, limit: Duration) {
    let start = Instant::now();
    loop {
        let left = resident::all(folder.path());
        for (dir, _) in found.iter().filter(|(dir, _)| !left.iter().any(|(other, _)| other == dir)) {
            board.finish(&name(dir), "off");
        }
        if left.is_empty() || start.elapsed() >= limit {
            return;
        }
        std::thread::sleep(LOOK);
    }
}

/// Switches a cluster's machines off at once.
pub fn end(folder: &Folder) -> Result<()> {
    let all = || resident::all(folder.path());
    for (dir, _) in all() {
        // One that does not answer is killed below.
        let _ = Resident::new(dir).qmp().and_then(|mut qmp| qmp.quit());
    }
    let start = Instant::now();
    while !all().is_empty() && start.elapsed() < QUIT {
        std::thread::sleep(LOOK);
    }
    for (dir, pid) in all() {
        resident::kill(&dir, pid)?;
    }
    let start = Instant::now();
    while !all().is_empty() && start.elapsed() < QUIT {
        std::thread::sleep(LOOK);
    }
    let left = running(folder);
    ensure!(left.is_empty(), "QEMU does not end: {}", left.join(", "));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::state::tests::cluster;
    use super::*;
    use keelson_qemu::accel::Accel;

    #[test]
    fn a_machine_keeps_its_disk_and_the_master_shows_its_api() {
        let cluster = cluster();
        let line = |index: usize| {
            let machine = &cluster.machines[index];
            let description = description(&cluster, machine, Path::new("/c/one"));
            assert_eq!(description.memory, machine.memory);
            // What the arguments are for files laid out elsewhere is qemu's own to test.
            assert!(description.accel.is_none_or(|accel| accel == Accel::Tcg));
            (description.forwards.iter().map(|forward| forward.guest).collect::<Vec<_>>(), description)
        };
        let (ports, master) = line(0);
        assert_eq!(ports, [22, 6443]);
        assert_eq!(master.disks[0].writes, Writes::Persist);
        assert_eq!(master.disks[0].path, Path::new("/c/one/disk.qcow2"));
        let (ports, node) = line(1);
        assert_eq!(ports, [22]);
        assert_eq!(
            (node.segments[0].group, node.segments[0].port),
            (master.segments[0].group, master.segments[0].port)
        );
        assert_ne!(node.segments[0].mac, master.segments[0].mac);
    }
}
