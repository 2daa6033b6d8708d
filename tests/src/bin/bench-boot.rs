//! Boots the default host and the same packages installed conventionally, one after the other under
//! the same QEMU, and prints what tests/bench/boot.sh puts into its table.
//!
//! Usage: `bench-boot HOST.qcow2 CONVENTIONAL.raw KERNEL INITRD`

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use keelson_qemu::machine::{Format, Kernel, Machine};
use keelson_qemu::seed::Seed;
use keelson_qemu::ssh::Key;
use keelson_qemu::vm::Vm;

const LIMIT: Duration = Duration::from_secs(600);
/// How long a booted machine is left alone before its memory is read.
const IDLE: Duration = Duration::from_secs(30);

fn main() -> Result<()> {
    let words: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [host, conventional, kernel, initrd] = words.as_slice() else {
        bail!("usage: bench-boot HOST.qcow2 CONVENTIONAL.raw KERNEL INITRD");
    };
    measure("host", Machine::new(host, Format::Qcow2))?;
    let mut machine = Machine::new(conventional, Format::Raw);
    machine.kernel = Some(Kernel {
        image: kernel.clone(),
        initrd: Some(initrd.clone()),
        arguments: "root=/dev/vda rw console=tty0 console=ttyS0,115200".into(),
    });
    measure("conventional", machine)
}

/// Boots, waits until systemd is done, waits a while, and prints the figures as table rows.
fn measure(name: &str, mut machine: Machine) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let seed = dir.path().join("seed.iso");
    Seed::with_key(&Key::in_dir(dir.path())?.public).write(&seed)?;
    machine.seed = Some(seed);
    let start = Instant::now();
    let mut vm = Vm::start(machine)?;
    vm.console().wait_for("Linux version", LIMIT)?;
    let kernel = start.elapsed();
    let state = vm.exec("systemctl is-system-running --wait", LIMIT)?.text();
    let running = start.elapsed();
    let row = |what: &str, figure: String| println!("| {name}: {what} | {figure} |");
    row("power on to kernel", format!("{:.1} s", kernel.as_secs_f64()));
    row(&format!("power on to `{state}`"), format!("{:.1} s", running.as_secs_f64()));
    let analyzed = vm.exec_ok("systemd-analyze time | head -n 1", LIMIT)?;
    row("systemd-analyze", analyzed.trim_start_matches("Startup finished in ").to_owned());
    std::thread::sleep(IDLE);
    let memory = "awk '/^MemTotal/ {t=$2} /^MemAvailable/ {a=$2} END {print int((t-a)/1024)}' /proc/meminfo";
    row("memory in use at idle", format!("{} MiB", vm.exec_ok(memory, LIMIT)?));
    let agent = vm.exec("awk '/^VmRSS/ {print int($2/1024)}' /proc/$(pidof keeld)/status", LIMIT)?;
    if agent.success() {
        row("keeld's RSS", format!("{} MiB", agent.text()));
    }
    vm.power_off(LIMIT)?;
    Ok(())
}
