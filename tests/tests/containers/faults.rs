//! What goes wrong ends in a clear message and leaves nothing behind.

use std::fs;

use anyhow::{Result, ensure};
use keelson_tests::containers::{ContainerHost, Setup, TestImage, eventually};
use keelson_tests::keelson::Run;
use serde_json::json;

use crate::tools::{SOON, detached, exit_code, host, wait_for};

/// The call ended with this code and said all of these words.
fn fails(run: Run, code: i32, words: &[&str]) -> Result<()> {
    run.expect(code)?.says(words).map(drop)
}

#[test]
fn programs_that_cannot_be_run_leave_nothing() -> Result<()> {
    let host = host()?;
    let run = |words: &[&str]| host.keelctl(&[&["run", "--rm"], words].concat());
    fails(run(&["busybox", "no-such-program"])?, 127, &["no-such-program", "not found"])?;
    fails(run(&["busybox", "/etc/passwd"])?, 126, &["/etc/passwd", "ermission denied"])?;
    fails(run(&["--workdir", "/etc/passwd", "busybox", "true"])?, 125, &["/etc/passwd", "not a directory"])?;
    fails(run(&["--user", "nobody-here", "busybox", "true"])?, 125, &["nobody-here"])?;
    fails(run(&["--name", "x/y", "busybox", "true"])?, 125, &["Invalid container name", "x/y"])?;
    fails(run(&["--volume", "relative:/x:wrong", "busybox", "true"])?, 125, &["wrong"])?;
    fails(run(&["--network", "no-such-network", "busybox", "true"])?, 125, &["no-such-network", "not found"])?;
    fails(run(&["--link", "no-such-container", "busybox", "true"])?, 125, &["no-such-container"])?;
    fails(run(&["--device", "/dev/no-such-device", "busybox", "true"])?, 127, &["/dev/no-such-device"])?;
    ensure!(host.ok(&["ps", "--all", "--quiet"])?.is_empty(), "a container is left");
    host.no_leaks()
}

#[test]
fn an_image_without_a_command_says_so() -> Result<()> {
    let host = ContainerHost::start()?;
    host.load(&TestImage::busybox("bare:1").without_command())?;
    fails(host.keelctl(&["run", "bare:1"])?, 125, &["no command specified"])?;
    ensure!(host.ok(&["run", "--rm", "bare:1", "echo", "given"])? == "given", "a given command does not run");
    host.load(&TestImage::busybox("entry:1").without_command().set("Entrypoint", json!(["echo", "from the image"])))?;
    ensure!(host.ok(&["run", "--rm", "entry:1", "and here"])? == "from the image and here", "another entrypoint");
    ensure!(host.ok(&["ps", "--all", "--quiet"])?.is_empty(), "a container is left");
    host.no_leaks()
}

#[test]
fn a_container_that_dies_at_once_is_kept_with_its_code() -> Result<()> {
    let host = host()?;
    detached(&host, "dies", "echo why >&2; exit 42")?;
    wait_for(&host, "dies", "exited")?;
    ensure!(exit_code(&host, "dies")? == 42, "another exit code");
    let logs = host.keelctl(&["logs", "dies"])?.expect(0)?;
    ensure!(logs.stderr == "why\n" && logs.stdout.is_empty(), "{logs:?}");
    fails(host.keelctl(&["start", "no-such"])?, 1, &["No such container: no-such"])?;
    fails(host.keelctl(&["run", "--name", "dies", "busybox"])?, 125, &["Conflict", "\"/dies\" is already in use"])?;
    fails(host.keelctl(&["exec", "dies", "true"])?, 1, &["is not running"])?;
    host.ok(&["run", "--detach", "--name", "killed", "busybox", "sleep", "1000"])?;
    host.ok(&["kill", "killed"])?;
    ensure!(host.ok(&["wait", "killed"])? == "137", "an end by a signal is 128 and its number");
    host.ok(&["rm", "dies", "killed"])?;
    host.no_leaks()
}

#[test]
fn a_crash_loop_backs_off_and_can_be_stopped() -> Result<()> {
    let host = host()?;
    host.ok(&["run", "--detach", "--name", "loops", "--restart", "on-failure:2", "busybox", "false"])?;
    wait_for(&host, "loops", "exited")?;
    let container = crate::tools::inspect(&host, "loops")?;
    ensure!(container["RestartCount"] == 2, "restarted {} times", container["RestartCount"]);
    host.ok(&["run", "--detach", "--name", "forever", "--restart", "always", "busybox", "false"])?;
    std::thread::sleep(std::time::Duration::from_secs(1));
    host.ok(&["stop", "forever"])?;
    ensure!(crate::tools::inspect(&host, "forever")?["State"]["Running"] == false, "it was started again");
    host.ok(&["rm", "loops", "forever"])?;
    host.no_leaks()
}

#[test]
fn a_full_disk_is_named_and_survived() -> Result<()> {
    let mut host = ContainerHost::with(Setup { room: Some("8m".to_owned()), ..Setup::default() })?;
    host.load(&TestImage::busybox("busybox:latest"))?;
    detached(&host, "runs", "while :; do echo still here; sleep 0.2; done")?;
    let ballast = host.root().join("ballast");
    fill(&ballast)?;
    let run = host.keelctl(&["run", "--rm", "busybox", "true"])?;
    fails(run, 125, &["No space left on device"])?;
    ensure!(host.ok(&["exec", "runs", "echo", "alive"])? == "alive", "the running container is gone");
    host.kill_daemon()?;
    host.restart_daemon()?;
    ensure!(crate::tools::inspect(&host, "runs")?["State"]["Running"] == true, "the running container is forgotten");
    fs::remove_file(&ballast)?;
    ensure!(host.ok(&["run", "--rm", "busybox", "echo", "again"])? == "again", "no containers with room again");
    let before = host.ok(&["logs", "runs"])?.lines().count();
    let more = || host.ok(&["logs", "runs"]).is_ok_and(|text| text.lines().count() > before);
    ensure!(eventually(SOON, more), "its output is no longer logged");
    host.ok(&["rm", "--force", "runs"])?;
    host.no_leaks()
}

/// Takes all the room there is.
fn fill(path: &std::path::Path) -> Result<()> {
    use std::io::Write;
    let mut file = fs::File::create(path)?;
    let mut piece = vec![0; 1 << 16];
    while !piece.is_empty() {
        match file.write(&piece) {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::StorageFull => piece.truncate(piece.len() / 2),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
