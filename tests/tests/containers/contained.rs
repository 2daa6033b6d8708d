//! By default a container gets Docker's capabilities, its seccomp profile and masked paths, and
//! no devices of the host.

use anyhow::{Result, ensure};

use crate::tools::host;

/// Docker's fourteen capabilities.
const DEFAULT: &str = "00000000a80425fb";

#[test]
fn a_container_may_what_docker_lets_it() -> Result<()> {
    let host = host()?;
    let run = |options: &[&str], script: &str| {
        host.ok(&[&["run", "--rm"][..], options, &["busybox", "sh", "-c", script]].concat())
    };
    let status = run(&[], "cat /proc/self/status")?;
    let field = |name: &str| {
        status.lines().find_map(|line| Some(line.strip_prefix(name)?.trim().to_owned())).unwrap_or_default()
    };
    for set in ["CapEff:", "CapPrm:", "CapBnd:"] {
        ensure!(field(set) == DEFAULT, "{set} {}", field(set));
    }
    ensure!(field("CapInh:") == "0000000000000000", "inheritable {}", field("CapInh:"));
    ensure!(field("Seccomp:") == "2", "no seccomp filter: {}", field("Seccomp:"));
    ensure!(
        run(&["--cap-drop", "all"], "grep CapBnd /proc/self/status")?.ends_with("0000000000000000"),
        "capabilities are left"
    );
    ensure!(
        run(&["--user", "1000"], "grep CapEff /proc/self/status")?.ends_with("0000000000000000"),
        "a user has capabilities"
    );
    ensure!(
        run(&["--cap-drop", "all", "--cap-add", "chown"], "grep CapEff /proc/self/status")?
            .ends_with("0000000000000001"),
        "not just CAP_CHOWN"
    );
    ensure!(
        run(&["--security-opt", "seccomp=unconfined"], "grep Seccomp: /proc/self/status")?.ends_with('0'),
        "still filtered"
    );
    ensure!(
        run(&["--security-opt", "no-new-privileges"], "grep NoNewPrivs /proc/self/status")?.ends_with('1'),
        "new privileges"
    );
    // Paths of the kernel are masked or read-only; devices are the usual few.
    let open = "cat /proc/keys /proc/timer_list 2>/dev/null | wc -c; ls /sys/firmware";
    ensure!(run(&[], open)? == "0", "the kernel tells its secrets");
    let written = "(echo x > /proc/sys/kernel/domainname) 2>/dev/null || echo refused";
    ensure!(run(&[], written)? == "refused", "the kernel's settings can be written");
    let devices = run(&[], "ls /dev")?;
    for device in devices.split_whitespace() {
        let usual = [
            "console", "core", "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin",
            "stdout", "tty", "urandom", "zero",
        ];
        ensure!(usual.contains(&device), "/dev/{device} is in every container");
    }
    ensure!(run(&[], "mount -t tmpfs none /tmp 2>/dev/null || echo refused")? == "refused", "a container mounts");
    let privileged = run(&["--privileged"], "mount -t tmpfs none /tmp && ls /dev | wc -l")?;
    ensure!(
        privileged.parse::<usize>()? > devices.split_whitespace().count(),
        "--privileged brings no devices: {privileged}"
    );
    host.no_leaks()
}

#[test]
fn containers_are_limited_in_a_cgroup_of_their_own() -> Result<()> {
    let host = host()?;
    host.ok(&[
        "run",
        "--detach",
        "--name",
        "limited",
        "--memory",
        "64m",
        "--cpus",
        "0.5",
        "--pids-limit",
        "50",
        "busybox",
        "sleep",
        "1000",
    ])?;
    let pid = crate::tools::pid(&host, "limited")?;
    let cgroups = std::fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    let outside = cgroups
        .lines()
        .filter(|line| ["memory", "cpu", "pids"].iter().any(|name| line.contains(name)) || line.starts_with("0::"));
    for line in outside.filter(|line| !line.starts_with("0::") || cgroups.lines().count() == 1) {
        ensure!(line.contains(&host.cgroup()), "outside of {}: {line}", host.cgroup());
    }
    let limits = &crate::tools::inspect(&host, "limited")?["HostConfig"];
    ensure!(limits["Memory"] == 64 << 20 && limits["NanoCpus"] == 500_000_000 && limits["PidsLimit"] == 50, "{limits}");
    let killed =
        host.keelctl(&["run", "--memory", "16m", "--name", "greedy", "busybox", "sh", "-c", "tail /dev/zero"])?;
    ensure!(killed.code == Some(137), "it was not killed: {killed:?}");
    ensure!(crate::tools::inspect(&host, "greedy")?["State"]["OOMKilled"] == true, "nobody says why");
    host.ok(&["rm", "--force", "limited", "greedy"])?;
    host.no_leaks()
}
