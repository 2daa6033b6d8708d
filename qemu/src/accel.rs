//! Owns the choice between KVM and TCG: KVM only where it was seen to run a guest, which
//! `/dev/kvm` being there does not show (nested KVM may lack an MSR or an instruction).

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::process;
use crate::version::{PROGRAM, Version};

/// What executes the guest's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accel {
    /// The processor itself.
    Kvm,
    /// QEMU's translator; works everywhere.
    Tcg,
}

impl Accel {
    /// QEMU's arguments for it. `max` gives a TCG guest RDRAND, so it need not wait for entropy;
    /// without SVM it does not load its own KVM. Fast strings (ERMS, FSRM) are slow ones here, as TCG
    /// copies them byte by byte: a guest that does not know of them boots in an eighth less time.
    pub fn argv(self) -> [&'static str; 4] {
        match self {
            Self::Kvm => ["-accel", "kvm", "-cpu", "host"],
            Self::Tcg => ["-accel", "tcg", "-cpu", "max,svm=off,erms=off,fsrm=off"],
        }
    }
}

/// How long a probe may take before KVM counts as broken.
const LIMIT: Duration = Duration::from_secs(20);

/// What a probe boots, and the text on its console that says it ran.
#[derive(Debug, PartialEq, Eq)]
enum Probe {
    /// The build machine's own kernel, which panics for want of a root.
    Kernel(PathBuf),
    /// A boot sector that prints a `K`, where no kernel can be read.
    Sector,
}

/// The answer of a probe and what it holds for.
#[derive(Debug, Serialize, Deserialize, PartialEq, Eq)]
struct Answer {
    /// QEMU's version, the running kernel and the processor.
    machine: String,
    works: bool,
}

/// KVM when a guest was seen to run under it, TCG otherwise. The first call on a machine boots
/// something tiny; its answer is kept until QEMU, the kernel or the processor changes.
pub fn choose(version: Version) -> Accel {
    if fs::OpenOptions::new().read(true).write(true).open("/dev/kvm").is_err() {
        return Accel::Tcg;
    }
    let machine = machine(version);
    let file = cache().map(|dir| dir.join("kvm.json"));
    let kept = file.as_deref().and_then(|file| recall(&fs::read(file).ok()?, &machine));
    let works = kept.unwrap_or_else(|| {
        let works = works(&probe());
        tracing::info!(works, "probed KVM");
        if let Some(file) = &file {
            keep(file, &Answer { machine, works });
        }
        works
    });
    if works { Accel::Kvm } else { Accel::Tcg }
}

fn recall(content: &[u8], machine: &str) -> Option<bool> {
    let answer: Answer = serde_json::from_slice(content).ok()?;
    (answer.machine == machine).then_some(answer.works)
}

fn keep(file: &Path, answer: &Answer) {
    let written = serde_json::to_vec(answer).map_err(std::io::Error::from).and_then(|content| {
        fs::create_dir_all(file.parent().unwrap_or(Path::new(".")))?;
        keelson_common::fs::atomic_write(file, &content, 0o644)
    });
    if let Err(error) = written {
        tracing::debug!(%error, file = %file.display(), "the KVM probe's answer is not kept");
    }
}

/// `$XDG_CACHE_HOME/keelson`, or `~/.cache/keelson`.
pub(crate) fn cache() -> Option<PathBuf> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")))?;
    Some(base.join("keelson"))
}

fn machine(version: Version) -> String {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let model = model.trim_start_matches(['\t', ' ', ':']);
    format!("QEMU {version}; Linux {}; {model}", read("/proc/sys/kernel/osrelease").trim())
}

fn probe() -> Probe {
    let kernels = fs::read_dir("/boot").into_iter().flatten().flatten().map(|entry| entry.path());
    let mut kernels: Vec<_> = kernels.filter(|path| is_kernel(path) && fs::File::open(path).is_ok()).collect();
    kernels.sort();
    kernels.pop().map_or(Probe::Sector, Probe::Kernel)
}

fn is_kernel(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz-"))
}

/// Boots the probe and waits for its text.
fn works(probe: &Probe) -> bool {
    let Ok(dir) = tempfile::tempdir() else { return false };
    let sector = dir.path().join("sector");
    if fs::write(&sector, boot_sector()).is_err() {
        return false;
    }
    let mut command = process::command(PROGRAM);
    command.args(["-nodefaults", "-no-user-config", "-machine", "q35", "-display", "none", "-m", "256", "-no-reboot"]);
    command.args(Accel::Kvm.argv());
    let expected = match probe {
        Probe::Kernel(path) => {
            command.args(["-serial", "stdio", "-append", "console=ttyS0 panic=-1", "-kernel"]).arg(path);
            "Kernel panic"
        }
        Probe::Sector => {
            command.args(["-debugcon", "stdio", "-drive"]);
            command.arg(format!("if=ide,format=raw,readonly=on,file={}", sector.display()));
            "K"
        }
    };
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    prints(command, expected)
}

fn prints(command: Command, expected: &str) -> bool {
    let Ok(mut child) = process::spawn(command) else { return false };
    let Some(mut stdout) = child.take_stdout() else { return false };
    let (send, receive) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = stdout.read(&mut buffer) {
            if send.send(buffer[..count].to_vec()).is_err() {
                break;
            }
        }
    });
    let (start, mut seen) = (Instant::now(), Vec::new());
    while let Ok(chunk) = receive.recv_timeout(LIMIT.saturating_sub(start.elapsed())) {
        seen.extend(chunk);
        if String::from_utf8_lossy(&seen).contains(expected) {
            return true;
        }
    }
    false
}

/// `mov al,'K'; out 0xe9,al; hlt; jmp $-1`: prints one letter on QEMU's debug console.
fn boot_sector() -> [u8; 512] {
    let mut sector = [0; 512];
    sector[..7].copy_from_slice(&[0xb0, b'K', 0xe6, 0xe9, 0xf4, 0xeb, 0xfd]);
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    sector
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_answer_holds_for_its_machine_only() {
        let content = serde_json::to_vec(&Answer { machine: "QEMU 10; Linux 6".into(), works: true }).unwrap();
        assert_eq!(recall(&content, "QEMU 10; Linux 6"), Some(true));
        assert_eq!(recall(&content, "QEMU 11; Linux 6"), None);
        assert_eq!(recall(b"{", "QEMU 10; Linux 6"), None);
    }

    #[test]
    fn a_program_that_ends_or_prints_something_else_is_no_guest() {
        let shell = |script: &str| {
            let mut command = process::command("sh");
            command.args(["-c", script]).stdout(Stdio::piped());
            command
        };
        assert!(prints(shell("echo booting; echo Kernel panic"), "Kernel panic"));
        assert!(!prints(shell("echo abort"), "Kernel panic"));
    }

    #[test]
    fn the_sector_is_bootable() {
        assert_eq!(boot_sector()[510..], [0x55, 0xaa]);
    }
}
