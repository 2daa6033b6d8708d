//! Owns a machine as data, and the pure function from it to QEMU's arguments.
//!
//! Nothing here touches the world, and no argument ever binds anything but the loopback address.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use crate::accel::Accel;
use crate::credential::Credential;
use crate::layout::Layout;
use crate::network;
pub use crate::network::{FIRST_CARD, Forward, Segment, Tap};

/// What starts the guest's boot loader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Firmware {
    /// SeaBIOS.
    #[default]
    Bios,
    /// OVMF, without Secure Boot.
    Uefi,
}

/// How a disk file is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// The disk's bytes.
    Raw,
    /// QEMU's own sparse format.
    Qcow2,
}

impl Format {
    /// The name QEMU knows it by.
    pub fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Qcow2 => "qcow2",
        }
    }

    /// Tells the format from a file's first bytes.
    pub fn of(head: &[u8]) -> Self {
        if head.starts_with(b"QFI\xfb") { Self::Qcow2 } else { Self::Raw }
    }
}

/// What becomes of the guest's writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Writes {
    /// They go to an overlay that lives as long as the [`crate::vm::Vm`] and is never flushed: fastest.
    #[default]
    ThrowAway,
    /// They go to such an overlay, with every flush of the guest obeyed, so that what a power cut
    /// leaves is what a real disk would hold.
    ThrowAwayDurable,
    /// They go to the file itself.
    Persist,
}

/// One disk of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// The file.
    pub path: PathBuf,
    /// How it is laid out.
    pub format: Format,
    /// What becomes of writes.
    pub writes: Writes,
}

/// A kernel to start without any boot loader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kernel {
    /// The kernel image.
    pub image: PathBuf,
    /// Its initramfs.
    pub initrd: Option<PathBuf>,
    /// Its arguments.
    pub arguments: String,
}

/// A machine. The first disk is the one it boots from, unless there is a [`Kernel`].
#[derive(Debug, Clone)]
pub struct Machine {
    /// What starts the boot loader.
    pub firmware: Firmware,
    /// MiB.
    pub memory: u32,
    /// How many vCPUs.
    pub cpus: u32,
    /// Virtio disks, `/dev/vda` first.
    pub disks: Vec<Disk>,
    /// Started instead of the first disk's boot loader.
    pub kernel: Option<Kernel>,
    /// Ports of 127.0.0.1 that lead into the guest.
    pub forwards: Vec<Forward>,
    /// Network cards besides the first one, which QEMU itself routes; needs root.
    pub taps: Vec<Tap>,
    /// Network cards on networks of machines alone; needs no root.
    pub segments: Vec<Segment>,
    /// A cloud-init seed, see [`crate::seed`].
    pub seed: Option<PathBuf>,
    /// Handed to the guest's PID 1.
    pub credentials: Vec<Credential>,
    /// Gives the machine a screen, for [`crate::vm::Vm::screenshot`].
    pub screen: bool,
    /// Overrides the probe of [`crate::accel`].
    pub accel: Option<Accel>,
    /// Further arguments for QEMU, as they are.
    pub extra: Vec<OsString>,
}

impl Machine {
    /// One vCPU, 2 GiB, BIOS, a network with nothing forwarded, and that throw-away disk.
    pub fn new(disk: impl Into<PathBuf>, format: Format) -> Self {
        Self {
            firmware: Firmware::Bios,
            memory: 2048,
            cpus: 1,
            disks: vec![Disk { path: disk.into(), format, writes: Writes::ThrowAway }],
            kernel: None,
            forwards: Vec::new(),
            taps: Vec::new(),
            segments: Vec::new(),
            seed: None,
            credentials: Vec::new(),
            screen: false,
            accel: None,
            extra: Vec::new(),
        }
    }

    /// QEMU's arguments, for files laid out as `layout` says: a machine that connects to us when it starts.
    pub fn argv(&self, layout: &Layout, accel: Accel) -> Vec<OsString> {
        self.words(layout, accel, ",server=off", Self::channel_args).0
    }

    /// QEMU's arguments for a machine that stays on without us: in the background, with a file of its process id,
    /// its control socket listening, and its serial console in a file.
    pub fn resident_argv(&self, layout: &Layout, accel: Accel) -> Vec<OsString> {
        let mut args = self.words(layout, accel, ",server=on,wait=off", Self::log_args);
        args.option("-pidfile", layout.pid()).flag("-daemonize");
        args.0
    }

    fn words(&self, layout: &Layout, accel: Accel, qmp: &str, console: fn(&Self, &mut Args, &Layout)) -> Args {
        let mut args = Args::default();
        args.flag("-nodefaults").flag("-no-user-config");
        args.option("-name", "keelson").option("-display", "none");
        args.option("-machine", "q35,smm=off,vmport=off").option("-boot", "menu=off,strict=on");
        for word in accel.argv() {
            args.flag(word);
        }
        args.option("-m", self.memory.to_string()).option("-smp", self.cpus.to_string());
        args.option("-qmp", joined("unix:", &layout.qmp(), qmp));
        self.firmware_args(&mut args, layout);
        for index in 0..self.disks.len() {
            self.disk_args(&mut args, layout, index);
        }
        console(self, &mut args, layout);
        network::argv(&mut args, &self.forwards, &self.taps, &self.segments);
        if let Some(seed) = &self.seed {
            args.option("-drive", joined("if=none,id=seed,format=raw,readonly=on,file=", seed, ""));
            args.option("-device", "virtio-blk-pci,drive=seed,serial=seed");
        }
        for credential in &self.credentials {
            args.option("-smbios", format!("type=11,value={}", credential.smbios()));
        }
        if self.screen {
            args.option("-device", "VGA");
        }
        args.0.extend(self.extra.iter().cloned());
        args
    }

    fn firmware_args(&self, args: &mut Args, layout: &Layout) {
        if self.firmware == Firmware::Uefi {
            args.option("-drive", joined("if=pflash,unit=0,format=raw,readonly=on,file=", &layout.ovmf_code, ""));
            args.option("-drive", joined("if=pflash,unit=1,format=raw,file=", &layout.ovmf_variables(), ""));
        }
        if let Some(kernel) = &self.kernel {
            args.option("-kernel", kernel.image.as_os_str());
            args.option("-append", kernel.arguments.as_str());
            if let Some(initrd) = &kernel.initrd {
                args.option("-initrd", initrd.as_os_str());
            }
        }
    }

    fn disk_args(&self, args: &mut Args, layout: &Layout, index: usize) {
        let disk = &self.disks[index];
        let (path, format) = match disk.writes {
            Writes::Persist => (disk.path.clone(), disk.format),
            Writes::ThrowAway | Writes::ThrowAwayDurable => (layout.overlay(index), Format::Qcow2),
        };
        let cache = match disk.writes {
            Writes::ThrowAway => "unsafe",
            Writes::ThrowAwayDurable | Writes::Persist => "writeback",
        };
        let head = format!("if=none,id=disk{index},format={},cache={cache},discard=unmap,file=", format.name());
        args.option("-drive", joined(&head, &path, ""));
        // A kernel given directly has index 0.
        args.option("-device", format!("virtio-blk-pci,drive=disk{index},bootindex={}", index + 1));
    }

    fn channel_args(&self, args: &mut Args, layout: &Layout) {
        args.option("-chardev", joined("socket,id=console,server=off,path=", &layout.console(), ""));
        args.option("-device", "isa-serial,chardev=console").option("-device", "virtio-serial-pci");
        for name in Layout::CHANNELS {
            args.option("-chardev", joined(&format!("socket,id={name},server=off,path="), &layout.channel(name), ""));
            args.option("-device", format!("virtserialport,chardev={name},name=keelson.{name}"));
        }
    }

    fn log_args(&self, args: &mut Args, layout: &Layout) {
        args.option("-chardev", joined("file,id=console,append=on,path=", &layout.console_log(), ""));
        args.option("-device", "isa-serial,chardev=console");
    }
}

/// An argument list in the making.
#[derive(Default)]
pub(crate) struct Args(pub(crate) Vec<OsString>);

impl Args {
    pub(crate) fn flag(&mut self, word: impl AsRef<OsStr>) -> &mut Self {
        self.0.push(word.as_ref().to_owned());
        self
    }

    pub(crate) fn option(&mut self, name: &str, value: impl AsRef<OsStr>) -> &mut Self {
        self.flag(name).flag(value)
    }
}

/// An option list that ends in a path; QEMU wants a comma in a value doubled.
fn joined(before: &str, path: &Path, after: &str) -> OsString {
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    let mut bytes = before.as_bytes().to_vec();
    for &byte in path.as_os_str().as_bytes() {
        bytes.push(byte);
        if byte == b',' {
            bytes.push(b',');
        }
    }
    bytes.extend(after.as_bytes());
    OsString::from_vec(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(machine: &Machine) -> String {
        let layout = Layout { dir: "/vm".into(), ovmf_code: "/OVMF_CODE.fd".into() };
        let args = machine.argv(&layout, Accel::Tcg);
        args.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn throw_away_writes_go_to_an_overlay() {
        let line = words(&Machine::new("/a.raw", Format::Raw));
        assert!(line.contains("format=qcow2,cache=unsafe,discard=unmap,file=/vm/disk0.qcow2"), "{line}");
        assert!(!line.contains("/a.raw"), "{line}");
    }

    #[test]
    fn power_cuts_and_kept_disks_obey_flushes() {
        let mut machine = Machine::new("/a.raw", Format::Raw);
        machine.disks[0].writes = Writes::ThrowAwayDurable;
        assert!(words(&machine).contains("cache=writeback,discard=unmap,file=/vm/disk0.qcow2"));
        machine.disks[0].writes = Writes::Persist;
        assert!(words(&machine).contains("format=raw,cache=writeback,discard=unmap,file=/a.raw"));
    }

    #[test]
    fn firmware_is_data() {
        let mut machine = Machine::new("/a.raw", Format::Raw);
        assert!(!words(&machine).contains("pflash"));
        machine.firmware = Firmware::Uefi;
        let line = words(&machine);
        assert!(line.contains("unit=0,format=raw,readonly=on,file=/OVMF_CODE.fd"), "{line}");
        assert!(line.contains("unit=1,format=raw,file=/vm/ovmf-variables.fd"), "{line}");
    }

    #[test]
    fn a_machine_that_stays_on_listens_and_writes_files() {
        let layout = Layout { dir: "/vm".into(), ovmf_code: "/OVMF_CODE.fd".into() };
        let args = Machine::new("/a.raw", Format::Raw).resident_argv(&layout, Accel::Tcg);
        let line = args.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
        assert!(line.contains("-qmp unix:/vm/qmp.sock,server=on,wait=off"), "{line}");
        assert!(line.contains("file,id=console,append=on,path=/vm/console.log"), "{line}");
        assert!(line.ends_with("-pidfile /vm/qemu.pid -daemonize") && !line.contains("server=off"), "{line}");
    }

    #[test]
    fn commas_in_paths_are_doubled() {
        assert_eq!(joined("file=", Path::new("/a,b"), ",x"), "file=/a,,b,x");
    }

    #[test]
    fn format_is_told_by_content() {
        assert_eq!(Format::of(b"QFI\xfb\0\0\0\x03"), Format::Qcow2);
        assert_eq!(Format::of(b"\xeb\x63\x90"), Format::Raw);
    }
}
