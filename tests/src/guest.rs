//! Owns a host in a virtual machine as tests want it: one call to boot it, one a command, and
//! `keelctl`'s answers as JSON.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use keelson_common::command::CommandExt;
use keelson_qemu::machine::{Firmware, Format, Forward, Machine, Tap, Writes};
use keelson_qemu::seed::Seed;
use keelson_qemu::ssh::Key;
use keelson_qemu::vm::Vm;
use serde_json::Value;
use tempfile::TempDir;

/// How long a boot may take: emulated, with another machine beside it.
pub const BOOT: Duration = Duration::from_secs(420);
/// How long a command in the guest may take.
pub const COMMAND: Duration = Duration::from_secs(300);

/// What a host is among others: its name, and its second network card.
#[derive(Debug, Clone)]
pub struct Place {
    /// Its hostname.
    pub hostname: String,
    /// The interface of this machine that its cable is.
    pub tap: String,
    /// The number of its card.
    pub number: u8,
    /// More of its user-data, below the user: whole keys of cloud-init.
    pub user_data: String,
    /// More of its meta-data: whole lines.
    pub meta_data: String,
    /// The card's address and the length of the network's prefix, `198.51.100.2/24`.
    pub address: String,
}

impl Place {
    fn mac(&self) -> String {
        format!("52:54:00:c6:33:{:02x}", self.number)
    }

    /// What cloud-init is told: the first card is left as it is.
    fn network_config(&self) -> String {
        let (mac, address) = (self.mac(), &self.address);
        format!(
            "version: 2\nethernets:\n  cable:\n    match: {{macaddress: \"{mac}\"}}\n    addresses: [\"{address}\"]\n"
        )
    }
}

/// A running host.
pub struct Guest {
    /// The machine.
    pub vm: Vm,
    key: Key,
    // Last: it holds the disk.
    _dir: TempDir,
}

impl Guest {
    /// Boots a copy of `disk` that is 8 GiB large, with a cloud-init seed that lets the user
    /// `keelson` in over SSH, until it takes commands. Power cuts leave what a real disk would hold.
    pub fn boot(disk: &Path, firmware: Firmware) -> Result<Self> {
        let mut guest = Self::start(disk, firmware, None)?;
        guest.vm.wait_ready(BOOT)?;
        Ok(guest)
    }

    /// As [`Guest::boot`], at a place among others if there is one; does not wait until it takes commands.
    pub fn start(disk: &Path, firmware: Firmware, place: Option<&Place>) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let large = dir.path().join("disk.qcow2");
        let mut create = Command::new("qemu-img");
        create.args(["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b"]).args([disk, &large]).arg("8G").run()?;
        let key = Key::in_dir(dir.path())?;
        let mut seed = Seed::with_key(&key.public);
        let mut machine = Machine::new(&large, Format::Qcow2);
        machine.disks[0].writes = Writes::ThrowAwayDurable;
        machine.firmware = firmware;
        machine.forwards = vec![Forward { host: 0, guest: 22 }];
        if let Some(place) = place {
            seed.hostname.clone_from(&place.hostname);
            seed.user_data.push_str(&place.user_data);
            seed.meta_data.clone_from(&place.meta_data);
            seed.network_config = Some(place.network_config());
            machine.taps = vec![Tap { name: place.tap.clone(), mac: place.mac() }];
        }
        let image = dir.path().join("seed.iso");
        seed.write(&image)?;
        machine.seed = Some(image);
        Ok(Self { vm: Vm::start(machine)?, key, _dir: dir })
    }

    /// Runs a command as root, which must succeed, and gives what it printed.
    pub fn sh(&mut self, command: &str) -> Result<String> {
        Ok(self.vm.exec_ok(command, COMMAND)?)
    }

    /// Runs a command that must fail with exit status 1, and gives all it printed.
    pub fn refused(&mut self, command: &str) -> Result<String> {
        let output = self.vm.exec(command, COMMAND)?;
        let text = format!("{}\n{}", output.text(), output.errors());
        ensure!(output.status == 1, "`{command}` ended with {}, not 1: {text}", output.status);
        Ok(text)
    }

    /// Fails unless the boot has come to its end with every unit well.
    pub fn healthy(&mut self) -> Result<()> {
        let state = self.vm.exec("systemctl is-system-running --wait", BOOT)?.text();
        let failed = self.vm.exec("systemctl --failed --no-legend --plain", COMMAND)?.text();
        if state == "running" && failed.is_empty() {
            return Ok(());
        }
        let log = self.vm.exec("journalctl --boot --priority=warning --no-pager --lines=60", COMMAND)?.text();
        anyhow::bail!("the host is {state}; failed: {failed}\n{log}")
    }

    /// What `keelctl status --json` says.
    pub fn status(&mut self) -> Result<Value> {
        let text = self.sh("keelctl status --json")?;
        serde_json::from_str(&text).with_context(|| format!("no JSON: {text}"))
    }

    /// The commits that are booted, staged, and to roll back to, as far as there are any.
    pub fn commits(&mut self) -> Result<[Option<String>; 3]> {
        let status = self.status()?;
        Ok(["booted", "staged", "rollback"].map(|role| status[role]["checksum"].as_str().map(str::to_owned)))
    }

    /// Has the host update from that port of this machine from now on. Waits for its network, which
    /// nothing on the smallest host waits for.
    pub fn update_from(&mut self, port: u16) -> Result<()> {
        self.sh("systemctl start network-online.target")?;
        self.sh(&format!("keelctl remote set --url http://10.0.2.2:{port}")).map(drop)
    }

    /// Restarts the host and waits until it is well.
    pub fn reboot(&mut self) -> Result<()> {
        self.vm.reboot(BOOT)?;
        self.healthy()
    }

    /// Cuts the power, gives it back, and waits until the host is well.
    pub fn power_cut(&mut self) -> Result<()> {
        self.vm.kill_power()?;
        self.vm.power_on()?;
        self.vm.wait_ready(BOOT)?;
        self.healthy()
    }

    /// Runs a command over SSH as the user the seed made.
    pub fn ssh(&mut self, command: &str) -> Result<String> {
        let port = self.vm.port(22)?;
        Ok(self.key.login("keelson", port).arg(command).output_text()?)
    }
}
