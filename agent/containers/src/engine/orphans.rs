//! Shims that containerd forgot. A daemon that is killed while containerd makes a task for it takes
//! the request back by that; containerd drops the task, and where its shim was at work by then, shim
//! and process stay. Nobody else can find them: they are looked for among the processes of the host,
//! and taken away as containerd does it with shims that died.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use procfs::process::Process;
use rustix::process::{Pid, Signal, kill_process};

use super::Engine;

/// How often it is looked, and how often a shim must be found without a task: containerd takes some
/// time to know of one, and to let go of one.
const LOOKS: u32 = 5;
const BETWEEN: Duration = Duration::from_millis(200);

/// A shim.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Shim {
    pid: i32,
    id: String,
    /// The folder of its task, which it works in.
    bundle: PathBuf,
}

impl Engine {
    /// Takes away the shims without a task.
    pub(super) async fn take_orphans(&self) {
        let mut orphans = self.orphans().await;
        for _ in 1..LOOKS {
            if orphans.is_empty() {
                return;
            }
            tokio::time::sleep(BETWEEN).await;
            let again = self.orphans().await;
            orphans.retain(|shim| again.contains(shim));
        }
        for shim in orphans {
            tracing::info!(id = shim.id, pid = shim.pid, "removing a shim that containerd forgot");
            if let Err(error) = self.take_away(&shim).await {
                tracing::warn!(id = shim.id, "cannot remove what a shim left: {error:#}");
            }
        }
    }

    /// The shims that containerd has no task for.
    async fn orphans(&self) -> HashSet<Shim> {
        // First the shims: one that starts after that is not taken for an orphan.
        let shims = shims(&self.socket, &self.namespace);
        if shims.is_empty() {
            return shims;
        }
        match self.tasks.list().await {
            Ok(tasks) => shims.into_iter().filter(|shim| !tasks.contains_key(&shim.id)).collect(),
            Err(_) => HashSet::new(),
        }
    }

    /// Ends the shim and has its own program clean up behind it: the container's processes, its
    /// cgroup, its mount. Its folders are ours to remove then.
    async fn take_away(&self, shim: &Shim) -> anyhow::Result<()> {
        let program = Process::new(shim.pid)?.exe()?;
        if let Some(pid) = Pid::from_raw(shim.pid) {
            kill_process(pid, Signal::KILL)?;
        }
        let mut command = tokio::process::Command::new(program);
        command.arg("-namespace").arg(&self.namespace).arg("-address").arg(&self.socket);
        command.arg("-id").arg(&shim.id).arg("-bundle").arg(&shim.bundle).arg("delete").current_dir(&shim.bundle);
        let output = command.stdin(std::process::Stdio::null()).output().await?;
        if !output.status.success() {
            anyhow::bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
        }
        rustix::mount::unmount(shim.bundle.join("rootfs"), rustix::mount::UnmountFlags::DETACH).ok();
        let work = std::fs::read_link(shim.bundle.join("work"));
        std::fs::remove_dir_all(&shim.bundle)?;
        if let Ok(work) = work {
            std::fs::remove_dir_all(work)?;
        }
        Ok(())
    }
}

/// The shims of a namespace of the containerd at `socket`.
fn shims(socket: &Path, namespace: &str) -> HashSet<Shim> {
    let processes = procfs::process::all_processes().into_iter().flatten().flatten();
    let one = |process: Process| {
        let id = shim(&process.cmdline().ok()?, socket, namespace)?;
        Some(Shim { pid: process.pid, id, bundle: process.cwd().ok()? })
    };
    processes.filter_map(one).collect()
}

/// The container whose shim has this command line.
fn shim(words: &[String], socket: &Path, namespace: &str) -> Option<String> {
    let (program, words) = words.split_first()?;
    let value = |name: &str| words.iter().skip_while(|word| *word != name).nth(1);
    let ours = Path::new(program).file_name()?.to_str()?.starts_with("containerd-shim-")
        && value("-namespace")? == namespace
        && Path::new(value("-address")?) == socket
        && words.last()? != "delete";
    ours.then(|| value("-id").cloned())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shims_are_known_by_their_command_line() {
        let of = |line: &str| {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            shim(&words, Path::new("/run/containerd/containerd.sock"), "keelson")
        };
        let address = "-address /run/containerd/containerd.sock";
        assert_eq!(
            of(&format!("/usr/bin/containerd-shim-runc-v2 -namespace keelson -id a1 {address}")).as_deref(),
            Some("a1")
        );
        assert_eq!(of(&format!("/usr/bin/containerd-shim-runc-v2 -namespace k8s.io -id a1 {address}")), None);
        assert_eq!(of("containerd-shim-runc-v2 -namespace keelson -id a1 -address /tmp/other.sock"), None);
        assert_eq!(of(&format!("vi -namespace keelson -id a1 {address}")), None);
        assert_eq!(of(&format!("containerd-shim-runc-v2 -namespace keelson -id a1 {address} delete")), None);
        assert_eq!(of("containerd-shim-runc-v2 -namespace"), None);
    }
}
