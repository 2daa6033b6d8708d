//! Shims that containerd forgot. A daemon that is killed while containerd makes a task for it takes
//! the request back by that; containerd drops the task, and where its shim was at work by then, shim
//! and process stay. Nobody else can find them: they are looked for among the processes of the host,
//! and taken away as containerd does it with shims that died.
//!
//! containerd may still be connected to such a shim. It cleans up then as soon as the shim is dead,
//! by the container's name: a task that was started under that name in between would lose its
//! folder and its place in the list, and be forgotten in turn. So its clean-up is waited for.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use procfs::process::Process;
use rustix::process::{Pid, Signal, kill_process};

use super::Engine;

/// How often it is looked, and how often a shim must be found without a task: containerd takes some
/// time to know of one, and to let go of one.
const LOOKS: u32 = 5;
const BETWEEN: Duration = Duration::from_millis(200);

/// So long is it waited for containerd to begin cleaning up behind a shim that died.
const BEGINS: Duration = Duration::from_secs(3);
/// So long containerd lets that take.
const CLEANS: Duration = Duration::from_secs(5);

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
        let each = orphans.iter().map(async |shim| {
            tracing::info!(id = shim.id, pid = shim.pid, "removing a shim that containerd forgot");
            if let Err(error) = self.take_away(shim).await {
                tracing::warn!(id = shim.id, "cannot remove what a shim left: {error:#}");
            }
        });
        futures_util::future::join_all(each).await;
    }

    /// Waits for containerd to have cleaned up behind a dead shim, where it does: the folder goes last.
    async fn cleaned(&self, shim: &Shim) -> bool {
        let begin = Instant::now();
        let mut begun = false;
        while begin.elapsed() < if begun { BEGINS + CLEANS } else { BEGINS } {
            if !shim.bundle.exists() {
                // From its list containerd takes it after that, and tells nobody.
                tokio::time::sleep(BETWEEN).await;
                return true;
            }
            begun = shims(&self.socket, &self.namespace, true).iter().any(|cleaner| cleaner.id == shim.id);
            tokio::time::sleep(BETWEEN / 4).await;
        }
        false
    }

    /// The shims that containerd has no task for.
    async fn orphans(&self) -> HashSet<Shim> {
        // First the shims: one that starts after that is not taken for an orphan.
        let shims = shims(&self.socket, &self.namespace, false);
        if shims.is_empty() {
            return shims;
        }
        match self.tasks.list().await {
            Ok(tasks) => shims.into_iter().filter(|shim| !tasks.contains_key(&shim.id)).collect(),
            Err(_) => HashSet::new(),
        }
    }

    /// Ends the shim. containerd cleans up behind it where it knows of it; else the shim's own program
    /// does: the container's processes, its cgroup, its mount. Its folders are ours to remove then.
    async fn take_away(&self, shim: &Shim) -> anyhow::Result<()> {
        let program = Process::new(shim.pid)?.exe()?;
        if let Some(pid) = Pid::from_raw(shim.pid) {
            kill_process(pid, Signal::KILL)?;
        }
        if self.cleaned(shim).await {
            return Ok(());
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

/// The shims of a namespace of the containerd at `socket`, or what cleans up behind them.
fn shims(socket: &Path, namespace: &str, cleaning: bool) -> HashSet<Shim> {
    let processes = procfs::process::all_processes().into_iter().flatten().flatten();
    let one = |process: Process| {
        let id = shim(&process.cmdline().ok()?, socket, namespace, cleaning)?;
        Some(Shim { pid: process.pid, id, bundle: process.cwd().ok()? })
    };
    processes.filter_map(one).collect()
}

/// The container whose shim has this command line, or whose shim's remains are removed by it.
fn shim(words: &[String], socket: &Path, namespace: &str, cleaning: bool) -> Option<String> {
    let (program, words) = words.split_first()?;
    let value = |name: &str| words.iter().skip_while(|word| *word != name).nth(1);
    let ours = Path::new(program).file_name()?.to_str()?.starts_with("containerd-shim-")
        && value("-namespace")? == namespace
        && Path::new(value("-address")?) == socket
        && (words.last()? == "delete") == cleaning;
    ours.then(|| value("-id").cloned())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shims_are_known_by_their_command_line() {
        let of = |line: &str| {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            shim(&words, Path::new("/run/containerd/containerd.sock"), "keelson", false)
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
        let words: Vec<String> =
            format!("containerd-shim-runc-v2 -namespace keelson -id a1 {address} -bundle /b delete")
                .split(' ')
                .map(str::to_owned)
                .collect();
        let socket = Path::new("/run/containerd/containerd.sock");
        assert_eq!(shim(&words, socket, "keelson", true).as_deref(), Some("a1"));
        assert_eq!(shim(&words, socket, "keelson", false), None);
    }
}
