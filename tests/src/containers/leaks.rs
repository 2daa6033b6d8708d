//! Owns the search for what containers leave behind, and the removal of all of it with a host.

use std::collections::HashMap;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use keelson_common::command::CommandExt;
use rustix::process::{Pid, Signal, kill_process};

use super::host::{ContainerHost, runc_state};
use super::{Namespace, eventually};

/// What is left once nothing ends by itself any more.
pub fn settled(host: &ContainerHost) -> Vec<String> {
    let mut left = Vec::new();
    eventually(Duration::from_secs(30), || {
        left = found(host);
        left.is_empty()
    });
    left
}

fn found(host: &ContainerHost) -> Vec<String> {
    let (folder, cgroup) = (host.folder(), host.cgroup());
    let processes = processes(folder, &cgroup).into_iter().filter(Found::of_container);
    let mounts = mounts(folder).into_iter().filter(|path| *path != host.root());
    let cgroups =
        cgroups(&cgroup).into_iter().filter(|path| path.file_stem().is_none_or(|name| name != cgroup.as_str()));
    let mut left: Vec<String> = processes.map(|found| found.to_string()).collect();
    left.extend(mounts.map(|path| format!("mount {}", path.display())));
    left.extend(cgroups.map(|path| format!("cgroup {}", path.display())));
    left.extend(links(host.namespace()));
    left.extend(rules(host.namespace()));
    left.extend(in_containerd(host));
    left.extend(folders(folder));
    left.extend(host.manager().held().iter().map(|name| format!("descriptors of {name}")));
    left
}

/// A process that belongs to a host.
pub(crate) struct Found {
    pid: u32,
    command: String,
    in_cgroup: bool,
}

impl Found {
    /// A container's or a shim's, not a server of the fixture.
    pub(crate) fn of_container(&self) -> bool {
        self.in_cgroup || self.command.contains("containerd-shim")
    }
}

impl std::fmt::Display for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "process {} {}", self.pid, self.command)
    }
}

/// Processes in the cgroup, or with the folder in their command line.
pub(crate) fn processes(folder: &Path, cgroup: &str) -> Vec<Found> {
    let folder = format!("{}/", folder.display());
    let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
    pids.filter_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let command = fs::read(entry.path().join("cmdline")).ok()?;
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        let cgroups = fs::read_to_string(entry.path().join("cgroup")).ok()?;
        let in_cgroup = cgroups.split(['/', '\n']).any(|part| part.strip_suffix(".slice").unwrap_or(part) == cgroup);
        (in_cgroup || command.contains(&folder)).then_some(Found { pid, command, in_cgroup })
    })
    .collect()
}

/// What shims have started, wherever it keeps itself.
fn of_shims(found: &[Found]) -> Vec<Found> {
    let parents: HashMap<u32, u32> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
            let parent = stat.rsplit(") ").next()?.split(' ').nth(1)?.parse().ok()?;
            Some((entry.file_name().to_str()?.parse().ok()?, parent))
        })
        .collect();
    let shims: Vec<u32> =
        found.iter().filter(|found| found.command.contains("containerd-shim")).map(|found| found.pid).collect();
    let below =
        |pid: u32| std::iter::successors(parents.get(&pid), |pid| parents.get(pid)).any(|pid| shims.contains(pid));
    let pids = parents.keys().copied().filter(|pid| below(*pid) && found.iter().all(|found| found.pid != *pid));
    pids.map(|pid| Found { pid, command: "of a shim".to_owned(), in_cgroup: false }).collect()
}

/// The cgroups of a process that a Kubernetes node has made for pods, where it was given none to make them in.
fn pod_cgroups(pid: u32) -> Vec<PathBuf> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    let hierarchies = text.lines().filter_map(|line| {
        let (_, line) = line.split_once(':')?;
        let (controllers, path) = line.split_once(':')?;
        let path = path.strip_prefix('/').filter(|path| path.starts_with("kubepods"))?;
        let name = controllers.strip_prefix("name=").unwrap_or(controllers);
        Some(Path::new("/sys/fs/cgroup").join(name).join(path))
    });
    hierarchies.collect()
}

/// Mount points below `folder`, the newest first.
pub(crate) fn mounts(folder: &Path) -> Vec<PathBuf> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let points = table.lines().filter_map(|line| line.split(' ').nth(4)).map(PathBuf::from);
    let mut points: Vec<PathBuf> = points.filter(|point| point.starts_with(folder) && point != folder).collect();
    points.reverse();
    points
}

/// The cgroup in every hierarchy and all below it, the deepest first.
pub(crate) fn cgroups(cgroup: &str) -> Vec<PathBuf> {
    let top = Path::new("/sys/fs/cgroup");
    let hierarchies = fs::read_dir(top).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut found = Vec::new();
    for hierarchy in hierarchies.chain([top.to_owned()]) {
        below(&hierarchy.join(cgroup), &mut found);
        below(&hierarchy.join(format!("{cgroup}.slice")), &mut found);
    }
    found
}

fn below(path: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(path) else { return };
    for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        below(&entry.path(), found);
    }
    found.push(path.to_owned());
}

/// Ends of cables to containers.
fn links(namespace: &Namespace) -> Vec<String> {
    let listed = namespace.ip(&["-brief", "link", "show", "type", "veth"]).unwrap_or_default();
    let names = listed.lines().filter_map(|line| line.split_whitespace().next());
    names.filter(|name| !name.starts_with("cable@")).map(|name| format!("link {name}")).collect()
}

/// Rules of the packet filter that name the address of one container.
fn rules(namespace: &Namespace) -> Vec<String> {
    let rules = namespace.command("nft").args(["list", "ruleset"]).output_text().unwrap_or_default();
    rules.lines().filter(|rule| names_container(rule)).map(|rule| format!("rule {}", rule.trim())).collect()
}

/// Whether a rule names an address, as opposed to a network, of the private range that keeld's
/// bridges are in, other than the bridge's own.
fn names_container(rule: &str) -> bool {
    rule.split([' ', ':', ',']).any(|word| {
        let address: Option<Ipv4Addr> = word.parse().ok();
        address.is_some_and(|address| address.octets()[0] == 10 && address.octets()[3] > 1)
    })
}

/// What containerd still knows besides images.
fn in_containerd(host: &ContainerHost) -> Vec<String> {
    let ask = |words: &[&str]| host.ctr(words).unwrap_or_else(|error| format!("? {error:#}\n"));
    let list =
        |what: &str, text: String| -> Vec<String> { text.lines().map(|line| format!("{what} {line}")).collect() };
    let mut left = list("container", ask(&["containers", "list", "--quiet"]));
    left.extend(list("task", ask(&["tasks", "list", "--quiet"])));
    left.extend(list("lease", ask(&["leases", "list", "--quiet"])));
    let snapshots = ask(&["snapshots", "list"]);
    let in_use = snapshots.lines().skip(1).filter(|line| !line.trim_end().ends_with("Committed"));
    left.extend(in_use.map(|line| format!("snapshot {line}")));
    left
}

/// Folders of containers, and addresses that are still given out.
fn folders(folder: &Path) -> Vec<String> {
    let state = folder.join("containerd/state/io.containerd.runtime.v2.task");
    let tasks = fs::read_dir(state).into_iter().flatten().flatten().map(|entry| entry.path());
    let own = ["lib/c", "run/c", "run/netns"].map(|part| folder.join(part));
    let of_containers = own.into_iter().chain(tasks).chain([runc_state(folder)]);
    let entries = of_containers.flat_map(|path| fs::read_dir(path).into_iter().flatten().flatten());
    let mut left: Vec<String> = entries.map(|entry| format!("folder {}", entry.path().display())).collect();
    for part in ["lib", "run"] {
        addresses(&folder.join(part), 4, &mut left);
    }
    left
}

/// The files of the CNI plugin host-local: one an address, named after it.
pub(crate) fn addresses(folder: &Path, depth: usize, left: &mut Vec<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() && depth > 0 && !path.ends_with("volumes") {
            addresses(&path, depth - 1, left);
        } else if entry.file_name().to_string_lossy().parse::<Ipv4Addr>().is_ok() {
            left.push(format!("address {}", path.display()));
        }
    }
}

/// Ends every process of the host in `folder` and removes mounts, cgroups and the shims' sockets.
pub fn end_all(folder: &Path, cgroup: &str) {
    let sockets = shim_sockets(&folder.join("containerd/state/io.containerd.runtime.v2.task"));
    let mut of_pods = Vec::new();
    // Shims and containers first: containerd would start to clean up after them.
    let gone = eventually(Duration::from_secs(10), || {
        let mut left = processes(folder, cgroup);
        left.extend(of_shims(&left));
        of_pods.extend(left.iter().flat_map(|found| pod_cgroups(found.pid)));
        for pid in left.iter().filter_map(|found| Pid::from_raw(i32::try_from(found.pid).ok()?)) {
            kill_process(pid, Signal::KILL).ok();
        }
        left.is_empty() || left.iter().all(|found| is_zombie(found.pid))
    });
    if !gone {
        eprintln!("processes of {} do not end", folder.display());
    }
    for point in mounts(folder) {
        let _ = Command::new("umount").arg("--lazy").arg(&point).run();
    }
    for path in cgroups(cgroup) {
        let _ = fs::remove_dir(path);
    }
    of_pods.sort();
    of_pods.dedup();
    for path in &of_pods {
        // Up to the first that something else is in.
        let _ = path.ancestors().try_for_each(fs::remove_dir);
    }
    for socket in sockets {
        let _ = fs::remove_file(socket);
    }
}

fn is_zombie(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_none_or(|rest| rest.starts_with('Z') || rest.is_empty())
}

/// The sockets of shims, which lie outside of containerd's own folders.
fn shim_sockets(tasks: &Path) -> Vec<PathBuf> {
    let folders =
        |path: &Path| fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path()).collect::<Vec<_>>();
    let tasks = folders(tasks).into_iter().flat_map(|namespace| folders(&namespace));
    tasks
        .filter_map(|task| Some(fs::read_to_string(task.join("address")).ok()?.strip_prefix("unix://")?.trim().into()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::TestImage;
    use super::*;

    #[test]
    fn what_a_container_leaves_is_found() -> anyhow::Result<()> {
        let host = ContainerHost::start()?;
        host.load(&TestImage::busybox("busybox:latest"))?;
        host.no_leaks()?;
        host.ctr(&["run", "--detach", "docker.io/library/busybox:latest", "left", "sleep", "1000"])?;
        let left = found(&host).join("\n");
        for what in ["process", "mount", "container left", "task left", "snapshot left", "folder"] {
            assert!(left.contains(what), "no {what} in\n{left}");
        }
        host.ctr(&["task", "kill", "--signal", "KILL", "left"])?;
        assert!(eventually(Duration::from_secs(30), || host.ctr(&["container", "delete", "left"]).is_ok()));
        host.no_leaks()
    }

    #[test]
    fn a_host_takes_everything_with_it() -> anyhow::Result<()> {
        let host = ContainerHost::start()?;
        host.load(&TestImage::busybox("busybox:latest"))?;
        host.ctr(&["run", "--detach", "docker.io/library/busybox:latest", "left", "sleep", "1000"])?;
        let (folder, cgroup, namespace) = (host.folder().to_owned(), host.cgroup(), host.namespace().path());
        drop(host);
        assert!(processes(&folder, &cgroup).iter().all(|found| is_zombie(found.pid)));
        assert_eq!(mounts(&folder), Vec::<PathBuf>::new());
        assert!(cgroups(&cgroup).is_empty() && !folder.exists() && !namespace.exists());
        Ok(())
    }

    #[test]
    fn rules_of_containers_are_told_from_rules_of_the_bridge() {
        assert!(names_container("ip daddr 10.87.0.5 tcp dport 80 accept"));
        assert!(names_container("tcp dport 8080 dnat to 10.87.0.5:80"));
        assert!(!names_container("ip saddr 10.87.0.0/16 masquerade"));
        assert!(!names_container("ip daddr 10.87.0.1 accept"));
    }
}
