//! Owns what the tests say often.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use keelson_tests::containers::{ContainerHost, Terminal, TestImage, eventually};
use serde_json::Value;

/// How long a thing may take that takes a second or two on a machine that is not busy.
pub const SOON: Duration = Duration::from_secs(60);

/// A host with the image `busybox`.
pub fn host() -> Result<ContainerHost> {
    let host = ContainerHost::start()?;
    host.load(&TestImage::busybox("busybox:latest"))?;
    Ok(host)
}

/// Starts a container of a shell's script in the background; gives its id.
pub fn detached(host: &ContainerHost, name: &str, script: &str) -> Result<String> {
    host.ok(&["run", "--detach", "--name", name, "busybox", "sh", "-c", script])
}

/// Types at `keelctl WORDS` on a terminal of so many rows and columns, once the shell there asks for a command.
pub fn at_a_shell(host: &ContainerHost, words: &[&str], rows: u16, columns: u16) -> Result<Terminal> {
    let mut command = host.keelctl_command()?;
    command.args(words);
    let mut terminal = Terminal::start(command, rows, columns)?;
    terminal.expect("# ")?;
    Ok(terminal)
}

/// What `inspect` says of a container.
pub fn inspect(host: &ContainerHost, name: &str) -> Result<Value> {
    let text = host.ok(&["inspect", name])?;
    let document: Value = serde_json::from_str(&text).with_context(|| format!("no JSON: {text}"))?;
    document.get(0).cloned().with_context(|| format!("nothing about {name} in {text}"))
}

/// The pid of a running container's first process.
pub fn pid(host: &ContainerHost, name: &str) -> Result<u64> {
    let pid = inspect(host, name)?["State"]["Pid"].as_u64().unwrap_or(0);
    ensure!(pid > 0, "{name} does not run");
    Ok(pid)
}

/// Whether a process is there and has not ended.
pub fn lives(pid: u64) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['Z', 'X']))
}

/// Waits until a container is in a state: `running`, `exited`.
pub fn wait_for(host: &ContainerHost, name: &str, status: &str) -> Result<()> {
    let mut last = Value::Null;
    let reached = eventually(SOON, || {
        last = inspect(host, name).map_or(Value::Null, |container| container["State"].clone());
        last["Status"] == status
    });
    ensure!(reached, "{name} is not {status} but {last}\n{}", host.daemon().log_tail());
    Ok(())
}

/// The exit code of a container that has ended.
pub fn exit_code(host: &ContainerHost, name: &str) -> Result<i64> {
    let state = &inspect(host, name)?["State"];
    ensure!(state["Status"] == "exited", "{name} has not ended: {state}");
    state["ExitCode"].as_i64().context("no exit code")
}
