//! The classic walk with `keelctl`, and the same by the stock `docker` client.

use anyhow::{Result, ensure};
use keelson_common::command::CommandExt;
use keelson_tests::containers::eventually;

use crate::tools::{SOON, at_a_shell, host, inspect, wait_for};

#[test]
fn run_ps_start_exec_logs_stop() -> Result<()> {
    let host = host()?;
    let id = host.ok(&[
        "run",
        "--detach",
        "--name",
        "web",
        "--publish",
        "8080:80",
        "busybox",
        "httpd",
        "-fvv",
        "-p",
        "80",
        "-h",
        "/etc",
    ])?;
    ensure!(id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "no id: {id}");
    let listed = host.ok(&["ps"])?;
    let header = listed.lines().next().unwrap_or_default();
    for column in ["CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"] {
        ensure!(header.contains(column), "no column {column}: {listed}");
    }
    ensure!(
        listed.contains(&id[..12]) && listed.contains("0.0.0.0:8080->80/tcp") && listed.contains("Up "),
        "{listed}"
    );
    // It runs, which is not yet to say that it listens.
    let mut fetched = String::new();
    let served = eventually(SOON, || {
        let mut curl = host.namespace().command("curl");
        curl.args(["--silent", "--show-error", "--max-time", "5", "http://127.0.0.1:8080/passwd"]);
        fetched = curl.output_text().unwrap_or_else(|error| error.to_string());
        fetched.contains("app:x:1000")
    });
    ensure!(served, "{fetched}");
    ensure!(
        eventually(SOON, || host
            .keelctl(&["logs", "web"])
            .is_ok_and(|run| run.stderr.contains("/passwd") || run.stdout.contains("/passwd"))),
        "nothing logged"
    );
    let exec = host
        .keelctl(&["exec", "--env", "A=b", "--workdir", "/etc", "web", "sh", "-c", "echo $A; pwd; exit 3"])?
        .expect(3)?;
    ensure!(exec.stdout == "b\n/etc\n", "{exec:?}");
    ensure!(host.ok(&["top", "web"])?.contains("httpd"), "no process in top");
    host.ok(&["rename", "web", "server"])?;
    host.ok(&["stop", "--time", "1", "server"])?;
    ensure!(host.ok(&["ps", "--quiet"])?.is_empty(), "it still runs");
    let latest = host.ok(&["ps", "--latest"])?;
    ensure!(latest.contains("Exited (") && latest.contains("server"), "{latest}");
    host.ok(&["start", "server"])?;
    wait_for(&host, "server", "running")?;
    host.ok(&["kill", "server"])?;
    wait_for(&host, "server", "exited")?;
    host.ok(&["rm", "server"])?;
    host.no_leaks()
}

/// The end is written down before the last output has come through; whoever waited must not see that.
#[test]
fn who_waited_for_the_end_finds_the_whole_log() -> Result<()> {
    let host = host()?;
    for round in 0..10 {
        let name = format!("talker{round}");
        host.ok(&["run", "--detach", "--name", &name, "busybox", "sh", "-c", "seq 1 20000; echo last words"])?;
        host.ok(&["wait", &name])?;
        let logs = host.keelctl(&["logs", &name])?.expect(0)?.stdout;
        ensure!(
            logs.ends_with("\n20000\nlast words\n") && logs.lines().count() == 20_001,
            "{} lines in round {round}",
            logs.lines().count()
        );
        host.ok(&["rm", &name])?;
    }
    host.no_leaks()
}

#[test]
fn linked_containers_talk_by_name_and_nobody_else_does() -> Result<()> {
    let host = host()?;
    let neighbour = host.namespace().neighbour()?;
    host.ok(&[
        "run",
        "--detach",
        "--name",
        "db",
        "--env",
        "SECRET=42",
        "--expose",
        "80",
        "busybox",
        "httpd",
        "-f",
        "-p",
        "80",
        "-h",
        "/etc",
    ])?;
    let address = inspect(&host, "db")?["NetworkSettings"]["IPAddress"].as_str().unwrap_or_default().to_owned();
    let url = format!("http://{address}/passwd");
    // It runs, which is not yet to say that it listens.
    let served = || host.namespace().command("curl").args(["--silent", "--max-time", "2", &url]).run().is_ok();
    ensure!(eventually(SOON, served), "{url} is not served");
    let script =
        "echo $STORE_PORT_80_TCP_PORT $STORE_ENV_SECRET $STORE_NAME; wget -qO- http://store/passwd | grep -c app";
    let told = host.ok(&["run", "--rm", "--name", "client", "--link", "db:store", "busybox", "sh", "-c", script])?;
    ensure!(told == "80 42 /client/store\n1", "{told}");
    // From the machine next door, with a route to the bridge: no.
    neighbour.command("curl").args(["--silent", "--max-time", "2", &url]).output_text().unwrap_err();
    ensure!(eventually(SOON, served), "{url} is not served any more");
    // The name follows when the linked one restarts with another address.
    host.ok(&["run", "--detach", "--name", "stays", "--link", "db:store", "busybox", "sleep", "1000"])?;
    host.ok(&["stop", "--time", "0", "db"])?;
    host.ok(&["run", "--detach", "--name", "takes-the-address", "busybox", "sleep", "1000"])?;
    host.ok(&["start", "db"])?;
    let mut fetched = String::new();
    let follows = eventually(SOON, || {
        let run = host.keelctl(&["exec", "stays", "wget", "-qO-", "http://store/passwd"]);
        fetched = run.map_or_else(|error| error.to_string(), |run| run.stdout + &run.stderr);
        fetched.contains("app:x:1000")
    });
    ensure!(follows, "{fetched}");
    host.ok(&["rm", "--force", "stays", "takes-the-address", "db"])?;
    host.no_leaks()
}

#[test]
fn terminals_are_attached_left_and_taken_up_again() -> Result<()> {
    let mut host = host()?;
    let mut terminal = at_a_shell(&host, &["run", "-it", "--name", "shell", "busybox"], 30, 90)?;
    terminal.send(b"tty; A=kept\n")?;
    terminal.expect("/dev/")?;
    let name = terminal.expect("\n")?;
    ensure!(name.starts_with("pts/0") || name.starts_with("console"), "no terminal: {name:?}");
    terminal.expect("# ")?;
    // ctrl-p ctrl-q leaves the container running.
    terminal.send(&[16, 17])?;
    ensure!(terminal.end()?.code() == Some(0), "it was not left");
    wait_for(&host, "shell", "running")?;
    host.kill_daemon()?;
    host.restart_daemon()?;
    let mut terminal = at_a_shell(&host, &["attach", "shell"], 25, 70)?;
    terminal.send(b"echo it was $A\n")?;
    terminal.expect("it was kept")?;
    terminal.send(b"exit 5\n")?;
    let ended = terminal.end()?;
    ensure!(ended.code() == Some(5), "{ended:?}");
    host.ok(&["rm", "shell"])?;
    host.no_leaks()
}

#[test]
fn the_stock_client_finds_its_daemon() -> Result<()> {
    let host = host()?;
    let docker = |words: &[&str]| host.docker(words).and_then(|run| run.expect(0)).map(|run| run.stdout);
    ensure!(docker(&["run", "--rm", "busybox", "echo", "hello"])? == "hello\n", "docker run");
    docker(&["run", "-d", "--name", "box", "--label", "a=b", "-v", "data:/data", "busybox", "sleep", "1000"])?;
    ensure!(
        docker(&["ps", "--filter", "label=a=b", "--format", "{{.Names}} {{.Image}}"])? == "box busybox\n",
        "docker ps"
    );
    let exec = host.docker(&["exec", "box", "sh", "-c", "echo written > /data/file; exit 4"])?;
    ensure!(exec.code == Some(4), "{exec:?}");
    let copy = host.folder().join("copy");
    docker(&["cp", "box:/data/file", &copy.to_string_lossy()])?;
    ensure!(std::fs::read_to_string(&copy)? == "written\n", "docker cp");
    docker(&["cp", &copy.to_string_lossy(), "box:/tmp/back"])?;
    ensure!(docker(&["exec", "box", "cat", "/tmp/back"])? == "written\n", "docker cp back");
    ensure!(docker(&["diff", "box"])?.contains("A /tmp/back"), "docker diff");
    ensure!(docker(&["stats", "--no-stream", "--format", "{{.Name}} {{.PIDs}}", "box"])? == "box 1\n", "docker stats");
    ensure!(docker(&["images", "--format", "{{.Repository}}:{{.Tag}}"])? == "busybox:latest\n", "docker images");
    ensure!(docker(&["version", "--format", "{{.Server.APIVersion}}"])?.starts_with("1."), "docker version");
    docker(&["stop", "-t", "0", "box"])?;
    docker(&["rm", "box"])?;
    docker(&["volume", "rm", "data"])?;
    host.no_leaks()
}
