//! Owns where maintainer scripts run: bubblewrap around the root, with no network, no view of the
//! build machine's files, processes or devices, and only the capabilities that changing files needs.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Capabilities that unpacking, `chown`, `su` and `setcap` in a script need.
const CAPABILITIES: [&str; 9] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];

/// A root in which programs can be run.
#[derive(Debug, Clone)]
pub struct Sandbox {
    root: PathBuf,
    date: u64,
    masked: Vec<&'static str>,
    visible: Vec<(PathBuf, String)>,
}

impl Sandbox {
    /// A sandbox over `root`; `date` is what `SOURCE_DATE_EPOCH` says.
    pub fn new(root: &Path, date: u64) -> Self {
        Self { root: root.to_owned(), date, masked: Vec::new(), visible: Vec::new() }
    }

    /// Lets `program` of the root do nothing and succeed, when the root has it.
    pub fn mask(mut self, program: &'static str) -> Self {
        if self.root.join(program).exists() {
            self.masked.push(program);
        }
        self
    }

    /// Shows a file or folder of the build machine, read-only.
    pub fn show(mut self, path: &Path, at: String) -> Self {
        self.visible.push((path.to_owned(), at));
        self
    }

    /// A command line run inside.
    pub fn command<S: AsRef<std::ffi::OsStr>>(&self, argv: &[S]) -> Command {
        let mut bwrap = Command::new("bwrap");
        bwrap.arg("--bind").arg(&self.root).arg("/");
        bwrap.args(["--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp", "--tmpfs", "/run", "--dir", "/run/lock"]);
        for program in &self.masked {
            bwrap.arg("--ro-bind").arg(self.root.join("usr/bin/true")).arg(format!("/{program}"));
        }
        for (path, at) in &self.visible {
            bwrap.arg("--ro-bind").arg(path).arg(at);
        }
        bwrap.args(["--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"]);
        bwrap.args(["--hostname", "localhost", "--die-with-parent", "--new-session", "--chdir", "/"]);
        bwrap.args(["--cap-drop", "ALL"]);
        for capability in CAPABILITIES {
            bwrap.args(["--cap-add", capability]);
        }
        bwrap.arg("--clearenv");
        let date = self.date.to_string();
        for (name, value) in [
            ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
            ("HOME", "/root"),
            ("LC_ALL", "C.UTF-8"),
            ("TZ", "UTC"),
            ("DEBIAN_FRONTEND", "noninteractive"),
            ("DEBCONF_NONINTERACTIVE_SEEN", "true"),
            ("SYSTEMD_OFFLINE", "1"),
            ("SOURCE_DATE_EPOCH", &date),
        ] {
            bwrap.args(["--setenv", name, value]);
        }
        bwrap.arg("--").args(argv);
        bwrap
    }
}
