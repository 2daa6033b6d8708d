//! keeld and containerd are killed and started again; containers notice nothing.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};
use keelson_tests::containers::{ContainerHost, eventually};
use rustix::process::Signal;

use crate::tools::{detached, exit_code, host, inspect, lives, pid, wait_for};

/// Lines the chatty container writes, in bursts.
const LINES: usize = 60_000;

#[test]
fn killing_keeld_loses_no_line_and_no_exit_code() -> Result<()> {
    let mut host = host()?;
    let script = format!(
        "i=0; while [ $i -lt {LINES} ]; do seq $i $((i+299)); seq $i $((i+299)) >&2; i=$((i+300)); usleep 15000; done; exit 7"
    );
    host.ok(&["run", "--detach", "--name", "chatty", "busybox", "sh", "-c", &script])?;
    let before = inspect(&host, "chatty")?["State"].clone();
    for pause in [130, 40, 370, 90, 210, 10, 500] {
        std::thread::sleep(Duration::from_millis(pause));
        host.kill_daemon()?;
        std::thread::sleep(Duration::from_millis(pause));
        host.restart_daemon()?;
        let state = inspect(&host, "chatty")?["State"].clone();
        ensure!(state["Running"] != true || state["Pid"] == before["Pid"], "{before} has become {state}");
        ensure!(state["StartedAt"] == before["StartedAt"], "{before} has become {state}");
    }
    ensure!(host.ok(&["wait", "chatty"])? == "7", "another exit code");
    ensure!(exit_code(&host, "chatty")? == 7, "another exit code in inspect");
    let logs = host.keelctl(&["logs", "chatty"])?.expect(0)?;
    whole("standard output", &logs.stdout)?;
    whole("standard error", &logs.stderr)?;
    host.ok(&["rm", "chatty"])?;
    host.no_leaks()
}

/// Every number once and in order.
fn whole(stream: &str, text: &str) -> Result<()> {
    for (number, line) in text.lines().enumerate() {
        ensure!(line == number.to_string(), "line {number} of {stream} is {line:?}");
    }
    ensure!(text.lines().count() == LINES, "{stream} has {} lines, not {LINES}", text.lines().count());
    Ok(())
}

#[test]
fn what_happens_while_keeld_is_dead_is_known_afterwards() -> Result<()> {
    let mut host = host()?;
    let gate = gate(&host)?;
    gated(&host, &[], "ends", "echo last words; exit 7")?;
    gated(&host, &["--rm"], "fleeting", "true")?;
    // Once more it is not told to end.
    gated(&host, &["--restart", "always"], "stays", "true")?;
    host.ok(&["run", "--detach", "--name", "runs", "--publish", "8080:80", "busybox", "httpd", "-f", "-p", "80"])?;
    let names = ["ends", "fleeting", "stays"];
    let pids = names.map(|name| pid(&host, name));
    let runs = pid(&host, "runs")?;
    host.kill_daemon()?;
    for name in names {
        fs::write(gate.join(name), "")?;
    }
    for pid in pids {
        let pid = pid?;
        ensure!(eventually(Duration::from_secs(30), || !lives(pid)), "process {pid} does not end");
    }
    serves(&host, 8080)?;
    host.restart_daemon()?;
    ensure!(exit_code(&host, "ends")? == 7, "the exit code is lost");
    ensure!(host.ok(&["wait", "ends"])? == "7", "wait knows another exit code");
    ensure!(host.ok(&["logs", "ends"])? == "last words", "the last words are lost");
    ensure!(pid(&host, "runs")? == runs, "a container was restarted");
    serves(&host, 8080)?;
    wait_for(&host, "stays", "running")?;
    let gone = eventually(Duration::from_secs(30), || {
        host.ok(&["ps", "-aq", "--filter", "name=fleeting"]).is_ok_and(|ids| ids.is_empty())
    });
    ensure!(gone, "a container with --rm is still there");
    host.ok(&["rm", "--force", "ends", "stays", "runs"])?;
    host.no_leaks()
}

/// The folder where containers that are [`gated`] look for a file of their name.
fn gate(host: &ContainerHost) -> Result<PathBuf> {
    let gate = host.folder().join("gate");
    fs::create_dir_all(&gate)?;
    Ok(gate)
}

/// Starts a container of a shell's script in the background that waits for a file of its name in [`gate`],
/// which it removes: it ends when the test says so, and not before, however slow the machine is.
fn gated(host: &ContainerHost, options: &[&str], name: &str, script: &str) -> Result<String> {
    let volume = format!("{}:/gate", gate(host)?.display());
    let script = format!("until rm /gate/{name} 2>/dev/null; do sleep 0.1; done; {script}");
    let words = ["run", "--detach", "--name", name, "--volume", &volume];
    host.ok(&[&words[..], options, &["busybox", "sh", "-c", &script]].concat())
}

/// Something answers at a port of the host.
fn serves(host: &ContainerHost, port: u16) -> Result<()> {
    let url = format!("http://192.0.2.1:{port}/");
    let mut curl = host.namespace().command("curl");
    let status = curl
        .args(["--silent", "--max-time", "5", "--output", "/dev/null", "--write-out", "%{http_code}", &url])
        .output()?;
    let status = String::from_utf8_lossy(&status.stdout).into_owned();
    ensure!(status == "404", "port {port} answers {status:?}");
    Ok(())
}

#[test]
fn a_frozen_and_killed_keeld_leaves_writers_waiting_not_dying() -> Result<()> {
    let mut host = host()?;
    // More than a FIFO holds, so that it has to wait for the next keeld.
    detached(&host, "big", "sleep 1; seq 1 100000; echo done >&2")?;
    host.daemon().signal(Signal::STOP)?;
    std::thread::sleep(Duration::from_secs(2));
    host.kill_daemon()?;
    host.restart_daemon()?;
    ensure!(host.ok(&["wait", "big"])? == "0", "the writer failed");
    let logs = host.keelctl(&["logs", "big"])?.expect(0)?;
    ensure!(logs.stdout.lines().count() == 100_000 && logs.stdout.ends_with("\n100000\n"), "lines are lost");
    ensure!(logs.stderr == "done\n", "{:?}", logs.stderr);
    host.ok(&["rm", "big"])?;
    host.no_leaks()
}

#[test]
fn containerd_is_restarted_under_running_containers() -> Result<()> {
    let mut host = host()?;
    detached(&host, "runs", "trap 'exit 3' TERM; while :; do sleep 0.1; done")?;
    let gate = gate(&host)?;
    gated(&host, &[], "ends", "echo bye; exit 5")?;
    let (runs, ends) = (pid(&host, "runs")?, pid(&host, "ends")?);
    host.kill_containerd()?;
    let refused = host.keelctl(&["run", "--rm", "busybox", "true"])?;
    ensure!(refused.code == Some(125) && refused.stderr.contains("containerd"), "{refused:?}");
    fs::write(gate.join("ends"), "")?;
    ensure!(eventually(Duration::from_secs(30), || !lives(ends)), "the container does not end");
    host.restart_containerd()?;
    ensure!(host.ok(&["wait", "ends"])? == "5", "the exit code is lost");
    ensure!(host.ok(&["logs", "ends"])? == "bye", "the output is lost");
    ensure!(pid(&host, "runs")? == runs, "the container was restarted");
    ensure!(host.ok(&["exec", "runs", "echo", "here"])? == "here", "exec does not work");
    ensure!(host.ok(&["run", "--rm", "busybox", "echo", "new"])? == "new", "no new containers");
    host.ok(&["stop", "runs"])?;
    ensure!(exit_code(&host, "runs")? == 3, "the container was not asked to end");
    host.ok(&["rm", "runs", "ends"])?;
    host.no_leaks()
}
