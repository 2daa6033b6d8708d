//! The verb `run`: a host in QEMU, at the serial console or for one command.

mod attached;
mod disk;

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use keelson_qemu::credential::Credential;
use keelson_qemu::guest::Stream;
use keelson_qemu::machine::{Disk, Firmware, Forward, Machine, Writes};
use keelson_qemu::seed::Seed;
use keelson_qemu::ssh::Key;
use keelson_qemu::vm::Vm;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::progress::Progress;

/// How long a boot and a command may take when nothing is said: emulated machines are slow.
const EXEC_LIMIT: u64 = 900;
/// How long a guest may take to power off.
const POWER_OFF: Duration = Duration::from_secs(120);
/// How often the machine is looked at while a person is at its console.
const LOOK: Duration = Duration::from_millis(200);

/// Boot a disk, a ref or a manifest in QEMU
///
/// A disk file (raw or qcow2) is booted as it is; of a ref, a disk is made first unless there is one
/// of its present commit in .cache/images; a manifest is composed first. What the guest writes is
/// thrown away unless --persist is given.
///
/// Without --exec the guest's serial console is yours, with root logged in; Ctrl-A X ends the machine.
/// With --exec the command runs as root, only its output is printed, the guest powers off, and the
/// command's exit status becomes this one's. Both need nothing in the image but systemd 256: the
/// console's login and the command come in through SMBIOS.
///
/// KVM is used where a guest was seen to run under it, and emulation elsewhere.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  keelson run host.qcow2\n  \
    keelson run --firmware uefi keelson/host/amd64\n  \
    keelson run --exec 'keelctl status' keelson/host/amd64\n  \
    keelson run --user-data my.yaml --ssh-port 2222 manifests/host.toml\n  \
    keelson run --persist host.qcow2\n\n\
    Exit code: the command's with --exec (124: out of time); else 0 when the machine went off in order,\n\
    1 when it did not boot, 2 on wrong usage, 130 after Ctrl-C.")]
pub struct Args {
    /// The repository that refs are looked up in
    #[arg(long, value_name = "DIR", default_value = super::DEFAULT_REPO)]
    repo: PathBuf,
    /// Folder of disks, downloads and other things that can be made again
    #[arg(long, value_name = "DIR", default_value = super::DEFAULT_CACHE)]
    cache: PathBuf,
    /// What starts the boot loader
    #[arg(long, value_name = "FIRMWARE", default_value = "bios", value_parser = ["bios", "uefi"])]
    firmware: String,
    /// Run COMMAND as root by the guest's shell, print its output and power off
    #[arg(long, value_name = "COMMAND")]
    exec: Option<String>,
    /// After --exec go on to the console instead of powering off
    #[arg(long, requires = "exec")]
    stay: bool,
    /// Memory of the machine in MiB
    #[arg(long, value_name = "MIB", default_value_t = 2048, value_parser = clap::value_parser!(u32).range(256..))]
    memory: u32,
    /// Number of virtual CPUs
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    cpus: u32,
    /// Keep what the guest writes: in the disk file itself; of a ref or manifest, in a disk of its own
    /// in .cache/images that stays when the ref moves on
    #[arg(long)]
    persist: bool,
    /// The port of 127.0.0.1 that leads to the guest's SSH [default: a free one]
    #[arg(long, value_name = "PORT", default_value_t = 0, hide_default_value = true)]
    ssh_port: u16,
    /// A cloud-init seed (an ISO labelled cidata) instead of one that lets `keelson` in by SSH
    #[arg(long, value_name = "FILE", conflicts_with = "user_data")]
    seed: Option<PathBuf>,
    /// A cloud-init user-data document to make the seed of
    #[arg(long, value_name = "FILE")]
    user_data: Option<PathBuf>,
    /// Whether there is a seed for cloud-init [default: on, off with --exec alone]
    #[arg(long, value_name = "on|off", value_parser = ["on", "off"], conflicts_with_all = ["seed", "user_data"])]
    cloud_init: Option<String>,
    /// Give up after so many seconds [default: 900 with --exec, never without]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    timeout: Option<u64>,
    /// A disk file, a ref of the repository, or a manifest (.toml)
    #[arg(value_name = "IMAGE-OR-REF")]
    target: String,
}

/// Runs the verb.
pub fn run(args: Args) -> Result<ExitCode> {
    let disk = disk::find(&args)?;
    let scratch = tempfile::tempdir().context("cannot make a temporary folder")?;
    let key = Key::own()?;
    let machine = machine(&args, disk, &key, scratch.path())?;
    let stop = Stop::default();
    stop.on_signals()?;
    let result = Session::boot(machine, &stop).and_then(|mut session| session.serve(&args, &key));
    // Whatever else went wrong then came of it: the terminal's Ctrl-C ends what we run as well.
    if stop.requested() { Ok(ExitCode::from(130)) } else { result }
}

/// The machine that the options describe.
fn machine(args: &Args, disk: Disk, key: &Key, scratch: &std::path::Path) -> Result<Machine> {
    let mut machine = Machine::new(&disk.path, disk.format);
    machine.disks = vec![disk];
    machine.firmware = if args.firmware == "uefi" { Firmware::Uefi } else { Firmware::Bios };
    machine.memory = args.memory;
    machine.cpus = args.cpus;
    machine.forwards = vec![Forward { host: args.ssh_port, guest: 22 }];
    machine.credentials.push(key.root_login());
    if args.exec.is_none() || args.stay {
        machine.credentials.extend(Credential::console_login());
    }
    machine.seed = seed(args, key, scratch)?;
    Ok(machine)
}

/// The seed that the options ask for, made in `scratch` unless it is a file already.
fn seed(args: &Args, key: &Key, scratch: &std::path::Path) -> Result<Option<PathBuf>> {
    if let Some(file) = &args.seed {
        std::fs::File::open(file).with_context(|| format!("cannot read the seed {}", file.display()))?;
        return Ok(Some(file.clone()));
    }
    let mut seed = Seed::with_key(&key.public);
    match (&args.user_data, args.cloud_init.as_deref()) {
        (Some(file), _) => {
            seed.user_data = std::fs::read_to_string(file)
                .with_context(|| format!("cannot read the user-data document {}", file.display()))?;
        }
        (None, Some("off")) => return Ok(None),
        (None, None) if args.exec.is_some() && !args.stay => return Ok(None),
        (None, _) => {}
    }
    let file = scratch.join("seed.iso");
    seed.write(&file)?;
    Ok(Some(file))
}

/// Ends the machine when this program is told to end, so that nothing of it is left.
#[derive(Clone, Default)]
struct Stop {
    requested: Arc<AtomicBool>,
    /// QEMU's process id, 0 before there is one.
    qemu: Arc<AtomicU32>,
}

impl Stop {
    fn on_signals(&self) -> Result<()> {
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).context("cannot listen for signals")?;
        let stop = self.clone();
        thread::spawn(move || {
            for _ in &mut signals {
                stop.now();
            }
        });
        Ok(())
    }

    /// Notes QEMU's process id. A signal that came while it was started found nothing to end: it counts now.
    fn started(&self, qemu: u32) {
        self.qemu.store(qemu, Ordering::SeqCst);
        if self.requested() {
            self.now();
        }
    }

    fn now(&self) {
        self.requested.store(true, Ordering::SeqCst);
        let pid = i32::try_from(self.qemu.load(Ordering::SeqCst)).ok().and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid {
            // Fails only when it has ended already.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }

    fn requested(&self) -> bool {
        self.requested.load(Ordering::SeqCst)
    }
}

/// A machine that is on.
struct Session {
    vm: Vm,
    stop: Stop,
}

impl Session {
    fn boot(machine: Machine, stop: &Stop) -> Result<Self> {
        let vm = Vm::start(machine).context("the machine cannot be started")?;
        stop.started(vm.pid().unwrap_or_default());
        Ok(Self { vm, stop: stop.clone() })
    }

    fn serve(&mut self, args: &Args, key: &Key) -> Result<ExitCode> {
        let limit = args.timeout.map(Duration::from_secs);
        let code = match &args.exec {
            Some(command) => {
                if tracing::enabled!(tracing::Level::INFO) {
                    self.vm.console().tap(Box::new(|bytes| std::io::stderr().write_all(bytes).is_ok()));
                }
                let code = self.exec(command, limit.unwrap_or(Duration::from_secs(EXEC_LIMIT)))?;
                if !args.stay {
                    self.power_off();
                    return Ok(code);
                }
                code
            }
            None => ExitCode::SUCCESS,
        };
        let port = self.vm.port(22)?;
        eprintln!("ssh: {}", keelson_common::command::line(&key.login("keelson", port)));
        self.attach(args.persist, limit)?;
        Ok(code)
    }

    /// Runs the command; its output goes to ours as it comes.
    fn exec(&mut self, command: &str, limit: Duration) -> Result<ExitCode> {
        let begin = Instant::now();
        let bar = Progress::on_terminal().step("booting");
        let ready = self.vm.wait_ready(limit);
        drop(bar);
        ready.context("the host did not boot")?;
        let left = limit.saturating_sub(begin.elapsed());
        let mut lost = false;
        let status = self.vm.exec_streaming(command, left, &mut |stream, bytes| {
            lost |= match stream {
                Stream::Out => write_all(std::io::stdout(), bytes),
                Stream::Err => write_all(std::io::stderr(), bytes),
            }
            .is_err();
        });
        match status {
            Err(keelson_qemu::Error::Timeout { what, .. }) => {
                eprintln!("keelson: no {what} within {} s", limit.as_secs());
                Ok(ExitCode::from(124))
            }
            Err(error) => Err(error.into()),
            Ok(_) if lost => bail!("the command's output could not be written"),
            Ok(status) => Ok(ExitCode::from(u8::try_from(status).unwrap_or(1))),
        }
    }

    fn power_off(&mut self) {
        let bar = Progress::on_terminal().step("powering off");
        if let Err(error) = self.vm.power_off(POWER_OFF) {
            tracing::warn!(%error, "the guest did not power off in order");
        }
        drop(bar);
    }

    /// Leaves the machine to the person at its console until it goes off.
    fn attach(&mut self, persist: bool, limit: Option<Duration>) -> Result<()> {
        let (begin, terminal) = (Instant::now(), std::io::stdin().is_terminal());
        if terminal {
            eprintln!("This is the serial console. Ctrl-A X ends the machine, Ctrl-A Ctrl-A sends Ctrl-A.");
        }
        let console = attached::Attached::new(self.vm.console(), terminal)?;
        loop {
            match self.vm.wait_off(LOOK) {
                Ok(status) if status.success() || self.stop.requested() => return Ok(()),
                Ok(status) => bail!("QEMU ended ({status}){}", indent(&self.vm.console().tail())),
                Err(keelson_qemu::Error::Timeout { .. }) => {}
                Err(error) => return Err(error.into()),
            }
            if console.left() {
                drop(console);
                if persist {
                    eprintln!("powering off");
                    self.power_off();
                }
                return Ok(());
            }
            if limit.is_some_and(|limit| begin.elapsed() >= limit) {
                drop(console);
                bail!("the machine was still on after {} s", begin.elapsed().as_secs());
            }
        }
    }
}

fn write_all(mut to: impl Write, bytes: &[u8]) -> std::io::Result<()> {
    to.write_all(bytes)?;
    to.flush()
}

fn indent(text: &str) -> String {
    text.lines().map(|line| format!("\n  | {line}")).collect()
}

/// What becomes of a disk's writes.
fn writes(persist: bool) -> Writes {
    if persist { Writes::Persist } else { Writes::ThrowAway }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_signal_amid_the_start_ends_what_was_started() {
        let stop = Stop::default();
        let mut sleep = Command::new("sleep").arg("60").spawn().unwrap();
        stop.now();
        stop.started(sleep.id());
        assert!(stop.requested() && !sleep.wait().unwrap().success());
    }
}
