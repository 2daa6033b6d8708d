//! Owns one virtual machine over its whole life: power on, commands, restarts, power cuts.

use std::path::Path;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use keelson_common::command::tail;
use serde_json::json;

use crate::accel::{self, Accel};
use crate::console::Console;
use crate::error::Error;
use crate::failure;
use crate::guest::{self, Guest, Output, Stream};
use crate::layout::Layout;
use crate::machine::Machine;
use crate::power::{self, Running};
use crate::qmp::Qmp;
use crate::scratch::Scratch;
use crate::version::{self, Version};

/// How often a wait for the guest looks whether it can still succeed.
const LOOK: Duration = Duration::from_millis(250);

/// A machine that can be switched on and off. Its throw-away disks and its UEFI variables live as
/// long as this value, through power cuts; dropping it ends QEMU and removes them.
pub struct Vm {
    running: Option<Running>,
    machine: Machine,
    accel: Accel,
    layout: Layout,
    console: Console,
    /// Where the console was when the power came on.
    start: usize,
    /// Whether boots that fail are waited out.
    patient: bool,
    // Last, so that it is removed after QEMU has ended.
    _scratch: Scratch,
}

impl Vm {
    /// Makes the machine, with the command channel in its credentials, and leaves it off.
    pub fn new(mut machine: Machine) -> Result<Self, Error> {
        let version = Version::installed()?;
        let accel = machine.accel.unwrap_or_else(|| accel::choose(version));
        version::check(version, accel, machine.cpus)?;
        let scratch = Scratch::new()?;
        machine.credentials.extend(guest::credentials());
        let layout = Layout { dir: scratch.path().to_owned(), ovmf_code: Default::default() };
        let console = Console::default();
        Ok(Self { running: None, machine, accel, layout, console, start: 0, patient: false, _scratch: scratch })
    }

    /// Makes the machine and switches it on; does not wait for the guest.
    pub fn start(machine: Machine) -> Result<Self, Error> {
        let mut vm = Self::new(machine)?;
        vm.power_on()?;
        Ok(vm)
    }

    /// Switches the machine on, with the disks as they were left. Does nothing when it is on.
    pub fn power_on(&mut self) -> Result<(), Error> {
        if self.running.is_none() {
            power::prepare(&self.machine, &mut self.layout)?;
            self.start = self.console.position();
            self.running = Some(power::on(&self.machine, &self.layout, self.accel, &self.console)?);
        }
        Ok(())
    }

    /// The machine's description; what is changed takes effect at the next [`Vm::power_on`].
    pub fn machine_mut(&mut self) -> &mut Machine {
        &mut self.machine
    }

    /// What executes the guest's instructions.
    pub fn accel(&self) -> Accel {
        self.accel
    }

    /// The serial console.
    pub fn console(&self) -> &Console {
        &self.console
    }

    /// QEMU's own control channel.
    pub fn qmp(&mut self) -> Result<&mut Qmp, Error> {
        Ok(&mut self.on("QMP was to be used")?.qmp)
    }

    /// QEMU's process id while the machine is on.
    pub fn pid(&self) -> Option<u32> {
        self.running.as_ref().map(|running| running.process.id())
    }

    fn on(&mut self, doing: &str) -> Result<&mut Running, Error> {
        self.running.as_mut().ok_or_else(|| Error::Off { doing: doing.into() })
    }

    /// Waits until the guest takes commands. Fails at once, with the end of the console, when QEMU
    /// ends or the console shows that the boot has failed.
    pub fn wait_ready(&mut self, limit: Duration) -> Result<(), Error> {
        self.wait_boot(None, limit)
    }

    fn wait_boot(&mut self, not: Option<&str>, limit: Duration) -> Result<(), Error> {
        let begin = Instant::now();
        loop {
            let slice = LOOK.min(limit.saturating_sub(begin.elapsed()));
            match self.on("the guest was waited for")?.guest.wait_ready(not, slice) {
                Ok(true) => return Ok(()),
                Ok(false) | Err(Error::Off { .. }) => self.look("the guest was waited for")?,
                Err(error) => return Err(error),
            }
            if begin.elapsed() >= limit {
                let what = "guest ready for commands".into();
                return Err(Error::Timeout { what, limit, output: self.console.tail() });
            }
        }
    }

    /// Fails when the guest can no longer become ready.
    fn look(&mut self, doing: &str) -> Result<(), Error> {
        if !self.patient
            && let Some(line) = failure::find(&self.console.since(self.start))
        {
            // The lines after it say why.
            std::thread::sleep(LOOK);
            return Err(Error::Failed { doing: doing.into(), line: line.into(), console: self.console.tail() });
        }
        let ended = self.on(doing)?.process.wait(Duration::ZERO).map_err(Error::io("wait for", version::PROGRAM))?;
        ended.map_or(Ok(()), |status| {
            self.running = None;
            Err(Error::Ended { status, doing: doing.into(), output: self.last_words() })
        })
    }

    /// The end of QEMU's messages, or of the console where it had none.
    fn last_words(&self) -> String {
        let log = std::fs::read(self.layout.qemu_log()).unwrap_or_default();
        if log.is_empty() { self.console.tail() } else { tail(&log) }
    }

    /// Runs `command` as root by the guest's `sh`, within `limit`, waiting first for a guest that
    /// is not ready. A non-zero status is no error.
    pub fn exec(&mut self, command: &str, limit: Duration) -> Result<Output, Error> {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let status = self.exec_streaming(command, limit, &mut |stream, bytes| match stream {
            Stream::Out => stdout.extend_from_slice(bytes),
            Stream::Err => stderr.extend_from_slice(bytes),
        })?;
        Ok(Output { status, stdout, stderr })
    }

    /// As [`Vm::exec`], giving `sink` the output as it comes; returns the status.
    pub fn exec_streaming(
        &mut self,
        command: &str,
        limit: Duration,
        sink: &mut dyn FnMut(Stream, &[u8]),
    ) -> Result<i32, Error> {
        let begin = Instant::now();
        self.wait_ready(limit)?;
        let left = limit.saturating_sub(begin.elapsed());
        let mut result = self.on("a command was to be run")?.guest.run(command, left, sink);
        if let Err(Error::Restarted { console, .. } | Error::ChannelRestarted { console, .. }) = &mut result {
            *console = self.console.tail();
        }
        result
    }

    /// As [`Vm::exec`], but a non-zero status is an error that shows what was printed. Gives
    /// standard output.
    pub fn exec_ok(&mut self, command: &str, limit: Duration) -> Result<String, Error> {
        let output = self.exec(command, limit)?;
        if output.success() {
            return Ok(output.text());
        }
        let printed = if output.stderr.is_empty() { &output.stdout } else { &output.stderr };
        Err(Error::Exit { command: command.into(), status: output.status, output: tail(printed) })
    }

    /// Writes a small file in the guest, with these permissions (octal, `0644`).
    pub fn write_file(&mut self, path: &str, content: &[u8], mode: &str, limit: Duration) -> Result<(), Error> {
        use base64::Engine as _;
        let text = base64::engine::general_purpose::STANDARD.encode(content);
        let path = format!("'{}'", path.replace('\'', r"'\''"));
        self.exec_ok(&format!("base64 -d >{path} <<.\n{text}\n.\nchmod {mode} {path}"), limit).map(drop)
    }

    /// The port of 127.0.0.1 that leads to that port of the guest.
    pub fn port(&mut self, guest: u16) -> Result<u16, Error> {
        let table = self.qmp()?.monitor("info usernet")?;
        power::forwarded(&table, guest).ok_or_else(|| Error::Setting(format!("port {guest} is not forwarded")))
    }

    /// Restarts the guest cleanly and waits until it takes commands again.
    pub fn reboot(&mut self, limit: Duration) -> Result<(), Error> {
        self.restart(limit, |vm| match vm.exec("systemctl reboot", limit) {
            Ok(_) | Err(Error::Off { .. } | Error::Restarted { .. }) => Ok(()),
            Err(error) => Err(error),
        })
    }

    /// Presses the reset button and waits until the guest takes commands again.
    pub fn reset(&mut self, limit: Duration) -> Result<(), Error> {
        self.restart(limit, |vm| vm.qmp()?.reset())
    }

    fn restart(&mut self, limit: Duration, how: impl FnOnce(&mut Self) -> Result<(), Error>) -> Result<(), Error> {
        let begin = Instant::now();
        self.wait_ready(limit)?;
        let boot = self.guest()?.boot().map(str::to_owned);
        self.start = self.console.position();
        how(self)?;
        self.wait_boot(boot.as_deref(), limit.saturating_sub(begin.elapsed()))
    }

    /// Waits until the guest takes commands in another boot than that of id `boot`, for a restart
    /// that something else brings about.
    pub fn wait_next_boot(&mut self, boot: &str, limit: Duration) -> Result<(), Error> {
        self.wait_boot(Some(boot), limit)
    }

    /// As [`Vm::wait_next_boot`], of a guest whose next boots fail and that comes up in the end by itself.
    pub fn wait_next_boot_past_failures(&mut self, boot: &str, limit: Duration) -> Result<(), Error> {
        self.patient = true;
        let done = self.wait_boot(Some(boot), limit);
        self.patient = false;
        self.start = self.console.position();
        done
    }

    /// The command channel.
    pub fn guest(&mut self) -> Result<&mut Guest, Error> {
        Ok(&mut self.on("the guest was to be used")?.guest)
    }

    /// Powers the guest off cleanly and waits for QEMU's end.
    pub fn power_off(&mut self, limit: Duration) -> Result<ExitStatus, Error> {
        let begin = Instant::now();
        if self.guest()?.boot().is_some() {
            match self.guest()?.run("systemctl poweroff", limit, &mut |_, _| {}) {
                Ok(_) | Err(Error::Off { .. }) => {}
                Err(error) => return Err(error),
            }
        } else {
            self.qmp()?.press_power()?;
        }
        self.wait_off(limit.saturating_sub(begin.elapsed()))
    }

    /// Waits until the machine is off by itself; gives QEMU's exit status.
    pub fn wait_off(&mut self, limit: Duration) -> Result<ExitStatus, Error> {
        let process = &mut self.on("its end was waited for")?.process;
        match process.wait(limit).map_err(Error::io("wait for", version::PROGRAM))? {
            Some(status) => {
                self.running = None;
                Ok(status)
            }
            None => Err(Error::Timeout { what: "power-off of the guest".into(), limit, output: self.console.tail() }),
        }
    }

    /// Cuts the power: QEMU is killed (SIGKILL), the disks stay as they are.
    pub fn kill_power(&mut self) -> Result<(), Error> {
        if let Some(mut running) = self.running.take() {
            running.process.kill().map_err(Error::io("kill", version::PROGRAM))?;
        }
        Ok(())
    }

    /// Writes what the machine's screen shows to a PNG file; needs [`Machine::screen`].
    pub fn screenshot(&mut self, file: &Path) -> Result<(), Error> {
        self.qmp()?.execute("screendump", json!({ "filename": file, "format": "png" })).map(drop)
    }
}
