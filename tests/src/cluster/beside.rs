//! Owns a person's or a script's command beside a control plane: its environment, its signals, its end.

use std::ffi::OsString;
use std::process::{Command, ExitCode};
use std::thread;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::SIGINT;
use signal_hook::iterator::Signals;

use super::{ControlPlane, TOKEN, program};

/// Runs a command in the control plane's namespace, with an administrator's kubectl in PATH, to its end,
/// and gives its exit code. `signals` end the command, not this program.
pub fn beside(
    cluster: &ControlPlane,
    mut signals: Signals,
    words: &[OsString],
    further: &[(&str, OsString)],
) -> Result<ExitCode> {
    let kubectl = program("kubectl")?;
    let mut path = OsString::from(kubectl.parent().context("kubectl is in no folder")?);
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    // The command stays in this session: it may be a shell on a terminal.
    let mut command = Command::new("nsenter");
    command.arg(format!("--net={}", cluster.namespace().path().display())).args(words);
    command.env("PATH", path).env("KUBECONFIG", cluster.kubeconfig());
    command.env("KEELSON_TEST_SERVER", cluster.server()).env("KEELSON_TEST_TOKEN", TOKEN);
    command.env("KEELSON_TEST_CA_HASH", cluster.ca_hash()).env("KEELSON_TEST_FOLDER", cluster.folder());
    command.envs(further.iter().map(|(name, value)| (name, value)));
    let mut child = command.spawn().context("cannot run nsenter")?;
    let pid = Pid::from_child(&child);
    // The command has a terminal's ctrl-c by itself.
    let handle = signals.handle();
    let passing = thread::spawn(move || {
        for _ in signals.forever().filter(|signal| *signal != SIGINT) {
            // Fails only when it has ended by itself.
            let _ = kill_process(pid, Signal::TERM);
        }
    });
    let status = child.wait();
    handle.close();
    passing.join().ok().context("passing signals on failed")?;
    let status = status.context("cannot wait for the command")?;
    Ok(ExitCode::from(u8::try_from(status.code().unwrap_or(1)).unwrap_or(1)))
}
