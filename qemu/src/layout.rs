//! Owns the names of the files that belong to one running machine, all below one folder of its own.

use std::path::{Path, PathBuf};

use crate::error::Error;

/// The files of one machine.
#[derive(Debug, Clone)]
pub struct Layout {
    /// The machine's own folder.
    pub dir: PathBuf,
    /// OVMF's code, read-only and shared.
    pub ovmf_code: PathBuf,
}

impl Layout {
    /// The virtio-serial ports of the guest channel: verbs and answers, a command's standard
    /// output, and its standard error.
    pub const CHANNELS: [&'static str; 3] = ["control", "stdout", "stderr"];

    /// The socket that QEMU's QMP connects to.
    pub fn qmp(&self) -> PathBuf {
        self.dir.join("qmp.sock")
    }

    /// The socket that the serial console connects to.
    pub fn console(&self) -> PathBuf {
        self.dir.join("console.sock")
    }

    /// The socket that a port of the guest channel connects to.
    pub fn channel(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.sock"))
    }

    /// Where the writes to a throw-away disk go.
    pub fn overlay(&self, disk: usize) -> PathBuf {
        self.dir.join(format!("disk{disk}.qcow2"))
    }

    /// The machine's own UEFI variables.
    pub fn ovmf_variables(&self) -> PathBuf {
        self.dir.join("ovmf-variables.fd")
    }

    /// Everything the serial console printed, as it came.
    pub fn console_log(&self) -> PathBuf {
        self.dir.join("console.log")
    }

    /// The process id of a QEMU that stays on without us.
    pub fn pid(&self) -> PathBuf {
        self.dir.join("qemu.pid")
    }

    /// What QEMU itself printed.
    pub fn qemu_log(&self) -> PathBuf {
        self.dir.join("qemu.log")
    }
}

/// Where Debian and others put OVMF without Secure Boot: code, and the variables to start from.
const OVMF: [(&str, &str); 3] = [
    ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
    ("/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"),
    ("/usr/share/edk2/x64/OVMF_CODE.4m.fd", "/usr/share/edk2/x64/OVMF_VARS.4m.fd"),
];

/// Finds OVMF: its code and its initial variables.
pub fn ovmf() -> Result<(&'static Path, &'static Path), Error> {
    let pairs = OVMF.map(|(code, variables)| (Path::new(code), Path::new(variables)));
    let found = pairs.into_iter().find(|(code, variables)| code.exists() && variables.exists());
    found.ok_or_else(|| Error::Unusable("no UEFI firmware is installed: `apt install ovmf`".into()))
}
