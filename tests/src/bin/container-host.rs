//! Starts a private containerd with keeld on top and busybox in it, runs a command against them, and
//! takes everything down again. For benchmarks, and for a person who wants to try something:
//!
//! ```text
//! container-host bash
//! keelctl run -it busybox      # there
//! ```
//!
//! The command runs in the host's network namespace, with `keelctl` first in PATH, and finds
//! `KEELCTL_HOST`, `DOCKER_HOST`, `CONTAINERD_ADDRESS`, `CONTAINERD_NAMESPACE` (for ctr), `KEELSON_TEST_FOLDER` and
//! `KEELSON_TEST_KEELD`, the pid of keeld, in its environment. An archive of the image is
//! `busybox.tar` in the folder.

use std::ffi::OsString;
use std::fs;
use std::process::ExitCode;

use anyhow::{Context, Result};
use keelson_tests::containers::{ContainerHost, TestImage};
use keelson_tests::paths;

fn main() -> Result<ExitCode> {
    let mut words = std::env::args_os().skip(1);
    let program = words.next().context("usage: container-host COMMAND [ARGUMENT]...")?;
    let host = ContainerHost::start()?;
    let image = TestImage::busybox("busybox:latest");
    host.load(&image)?;
    fs::rename(host.archive(&image)?, host.folder().join("busybox.tar"))?;
    let keelctl = paths::program("keelctl")?;
    let mut path = OsString::from(keelctl.parent().context("keelctl is in no folder")?);
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    // The command stays in this session: it may be a shell on a terminal.
    let mut command = std::process::Command::new("nsenter");
    command.arg(format!("--net={}", host.namespace().path().display())).arg(program).args(words);
    host.environment(&mut command);
    command.env("PATH", path).stdin(std::process::Stdio::inherit());
    command.env("KEELSON_TEST_FOLDER", host.folder()).env("KEELSON_TEST_KEELD", host.daemon().pid().to_string());
    let status = command.status()?;
    Ok(ExitCode::from(u8::try_from(status.code().unwrap_or(1)).unwrap_or(1)))
}
