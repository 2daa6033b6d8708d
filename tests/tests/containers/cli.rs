//! What a person meets at the command line: exit statuses, streams, terminals, files copied, and
//! messages that say what to do.

use std::fs;
use std::io::Write;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use keelson_tests::containers::Terminal;
use keelson_tests::keelson::finish;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::tools::{at_a_shell, host};

/// `run --rm --network none OPTIONS busybox WORDS`.
fn run<'a>(options: &[&'a str], words: &[&'a str]) -> Vec<&'a str> {
    [&["run", "--rm", "--network", "none"], options, &["busybox"], words].concat()
}

#[test]
fn the_exit_status_tells_what_happened() -> Result<()> {
    let host = host()?;
    let code = |words: &[&str]| host.keelctl(words).map(|run| run.code);
    ensure!(code(&run(&[], &["true"]))? == Some(0));
    ensure!(code(&run(&[], &["sh", "-c", "exit 7"]))? == Some(7));
    host.ok(&["run", "-d", "--name", "victim", "--network", "none", "busybox", "sleep", "1000"])?;
    host.ok(&["kill", "victim"])?;
    ensure!(host.ok(&["wait", "victim"])? == "137");
    host.ok(&["rm", "victim"])?;
    host.keelctl(&run(&[], &["nosuch"]))?.expect(127)?.says(&["nosuch"])?;
    host.keelctl(&run(&[], &["/etc"]))?.expect(126)?;
    host.keelctl(&["run", "--pull", "never", "nosuch:1"])?.expect(125)?.says(&["No such image"])?;
    host.keelctl(&["run", "--nosuch", "busybox"])?.expect(2)?.says(&["--nosuch"])?;
    host.keelctl(&run(&["-p", "x"], &["true"]))?.expect(2)?.says(&["invalid containerPort"])?;
    host.no_leaks()
}

#[test]
fn flags_end_at_the_image_and_streams_stay_apart() -> Result<()> {
    let host = host()?;
    let script = "echo out; echo err >&2; echo $0 $1";
    let run = host.keelctl(&run(&["-e", "A=-x"], &["sh", "-c", script, "--rm", "--json"]))?.expect(0)?;
    ensure!(run.stdout == "out\n--rm --json\n", "{:?}", run.stdout);
    ensure!(run.stderr == "err\n", "{:?}", run.stderr);
    Ok(())
}

#[test]
fn input_reaches_the_command_and_ends() -> Result<()> {
    let host = host()?;
    let mut command = host.keelctl_command()?;
    command.args(run(&["-i"], &["sh", "-c", "wc -c; echo end"]));
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut input = child.stdin.take().context("no input")?;
    input.write_all(&vec![b'x'; 1 << 20])?;
    drop(input);
    let ended = child.wait_with_output()?;
    ensure!(ended.status.success() && ended.stdout == b"1048576\nend\n", "{ended:?}");
    Ok(())
}

#[test]
fn signals_are_passed_on() -> Result<()> {
    let host = host()?;
    let mut command = host.keelctl_command()?;
    let script = "trap 'echo asked; exit 4' TERM; echo up; while :; do sleep 0.1; done";
    command.args(run(&[], &["sh", "-c", script])).stdout(Stdio::piped());
    let mut child = command.spawn()?;
    let mut output = std::io::BufReader::new(child.stdout.take().context("no output")?);
    let mut line = String::new();
    std::io::BufRead::read_line(&mut output, &mut line)?;
    ensure!(line == "up\n");
    kill_process(Pid::from_child(&child), Signal::TERM)?;
    ensure!(child.wait()?.code() == Some(4));
    host.no_leaks()
}

#[test]
fn a_terminal_follows_detaches_and_comes_back() -> Result<()> {
    let host = host()?;
    let words = ["run", "-it", "--name", "shell", "--network", "none", "busybox"];
    let mut terminal = at_a_shell(&host, &words, 30, 90)?;
    ensure!(terminal.is_raw()?);
    terminal.send(b"stty size; X=kept\n")?;
    terminal.expect("30 90")?;
    terminal.expect("# ")?;
    terminal.resize(40, 100)?;
    // What is typed is shown, too, and must not be taken for the answer.
    terminal.send(b"until stty size | grep -x 40.100; do sleep 0.1; done\n")?;
    terminal.expect("40 100")?;
    terminal.send(&[16, 17])?;
    ensure!(terminal.end()?.code() == Some(0) && !terminal.is_raw()?, "ctrl-p ctrl-q detaches");

    let mut terminal = at_a_shell(&host, &["attach", "shell"], 25, 70)?;
    terminal.signal(Signal::TERM)?;
    ensure!(terminal.end()?.code() == Some(143) && !terminal.is_raw()?, "the terminal is put back");

    let mut terminal = at_a_shell(&host, &["attach", "shell"], 25, 70)?;
    terminal.send(b"echo $X; exit 5\n")?;
    terminal.expect("kept")?;
    ensure!(terminal.end()?.code() == Some(5));
    host.ok(&["rm", "shell"])?;
    host.no_leaks()
}

#[test]
fn a_command_in_a_container_has_its_own_exit_status_and_terminal() -> Result<()> {
    let host = host()?;
    host.ok(&["run", "-d", "--name", "web", "--network", "none", "busybox", "sleep", "1000"])?;
    let run =
        host.keelctl(&["exec", "-e", "A=5", "-w", "/tmp", "web", "sh", "-c", "echo $A; pwd; exit 3"])?.expect(3)?;
    ensure!(run.stdout == "5\n/tmp\n", "{:?}", run.stdout);
    host.keelctl(&["exec", "web", "nosuch"])?.expect(127)?;
    host.keelctl(&["exec", "nosuch", "true"])?.expect(1)?.says(&["No such container: nosuch"])?;
    let mut command = host.keelctl_command()?;
    command.args(["exec", "-it", "web", "sh"]);
    let mut terminal = Terminal::start(command, 33, 99)?;
    terminal.expect("# ")?;
    terminal.send(b"stty size; exit 6\n")?;
    terminal.expect("33 99")?;
    ensure!(terminal.end()?.code() == Some(6) && !terminal.is_raw()?);
    host.ok(&["rm", "-f", "web"])?;
    host.no_leaks()
}

#[test]
fn lists_look_as_they_do_in_docker() -> Result<()> {
    let host = host()?;
    let id =
        host.ok(&["run", "-d", "--name", "web", "--network", "none", "busybox", "sh", "-c", "echo one; sleep 1000"])?;
    ensure!(id.len() == 64);
    for words in [
        &["ps", "-a", "--no-trunc"][..],
        &["ps", "-q"],
        &["images"],
        &["images", "-q"],
        &["port", "web"],
        &["logs", "web"],
        &["diff", "web"],
        &["ps", "--format", "{{.ID}} {{.Names}}\\t{{upper .Image}}{{if .Ports}} open{{end}}"],
        &["ps", "--format", "table {{.ID}}\\t{{.Names}}\\t{{.Status}}\\t{{.RunningFor}}"],
        &["images", "--format", "{{json .Repository}} {{.Tag}} {{.ID}}"],
        &["inspect", "--format", "{{.State.Status}} {{json .Config.Cmd}} {{join .Config.Cmd \",\"}}", "web"],
        &["inspect", "-f", "{{range $name, $at := .NetworkSettings.Networks}}{{$name}} {{end}}{{.State.Pid}}", "web"],
        &["image", "inspect", "-f", "{{.Os}}/{{.Architecture}} {{index .RepoTags 0}}", "busybox"],
    ] {
        // A second may pass between the two, and again, but not every time.
        let both = || -> Result<_> {
            let theirs = host.docker(words)?.expect(0)?.stdout;
            Ok((host.ok(words)?, theirs.strip_suffix('\n').unwrap_or(&theirs).to_owned()))
        };
        let (mut ours, mut theirs) = both()?;
        for _ in 0..5 {
            if ours == theirs {
                break;
            }
            (ours, theirs) = both()?;
        }
        ensure!(ours == theirs, "{words:?}\n{ours}\n--- docker\n{theirs}");
    }
    let all: Value = serde_json::from_str(&host.ok(&["ps", "--json"])?)?;
    ensure!(all[0]["Names"][0] == "/web" && all[0]["Id"] == id.as_str(), "{all}");
    let inspected: Value = serde_json::from_str(&host.ok(&["inspect", "web", "busybox"])?)?;
    ensure!(inspected[0]["Name"] == "/web" && inspected[1]["RepoTags"][0] == "busybox:latest", "{inspected}");
    let missing = host.keelctl(&["inspect", "nosuch"])?.expect(1)?.says(&["No such object: nosuch"])?;
    ensure!(missing.stdout == "[]\n");
    Ok(())
}

#[test]
fn several_at_once_do_what_can_be_done() -> Result<()> {
    let host = host()?;
    for name in ["one", "two"] {
        host.ok(&["create", "--name", name, "busybox"])?;
    }
    let run = host.keelctl(&["rm", "one", "nosuch", "two"])?.expect(1)?.says(&["No such container: nosuch"])?;
    ensure!(run.stdout == "one\ntwo\n", "{:?}", run.stdout);
    ensure!(host.ok(&["ps", "-aq"])?.is_empty());
    Ok(())
}

#[test]
fn files_that_describe_a_container_are_read_and_written() -> Result<()> {
    let host = host()?;
    let path = |name: &str| host.folder().join(name).display().to_string();
    fs::write(path("env"), "# comment\nA=1 2\nHOME\n")?;
    fs::write(path("labels"), "tier=front\n")?;
    let (env, labels, cid) = (path("env"), path("labels"), path("cid"));
    let id = host.ok(&["create", "--env-file", &env, "--label-file", &labels, "--cidfile", &cid, "busybox"])?;
    ensure!(fs::read_to_string(&cid)? == id);
    let inspected: Value = serde_json::from_str(&host.ok(&["inspect", &id])?)?;
    let config = &inspected[0]["Config"];
    let variables: Vec<&str> =
        config["Env"].as_array().context("no variables")?.iter().filter_map(Value::as_str).collect();
    ensure!(variables.contains(&"A=1 2") && config["Labels"]["tier"] == "front", "{config}");
    host.keelctl(&["create", "--cidfile", &cid, "busybox"])?.expect(1)?.says(&["container ID file found"])?;
    Ok(())
}

#[test]
fn files_are_copied_in_and_out() -> Result<()> {
    let host = host()?;
    host.ok(&["run", "-d", "--name", "box", "--network", "none", "busybox", "sleep", "1000"])?;
    let site = host.folder().join("site");
    fs::create_dir_all(site.join("sub"))?;
    fs::write(site.join("sub/page"), "a page\n")?;
    std::os::unix::fs::symlink("sub/page", site.join("link"))?;
    let site = site.display().to_string();
    host.ok(&["cp", &site, "box:/srv"])?;
    host.ok(&["cp", &format!("{site}/."), "box:/tmp"])?;
    ensure!(host.ok(&["exec", "box", "cat", "/srv/link", "/tmp/sub/page"])? == "a page\na page");
    let out = host.folder().join("out").display().to_string();
    host.ok(&["cp", "box:/srv", &out])?;
    ensure!(fs::read_to_string(format!("{out}/link"))? == "a page\n");
    host.keelctl(&["cp", "box:/nosuch", &out])?.expect(1)?.says(&["Could not find the file /nosuch"])?;
    let mut tar = host.keelctl_command()?;
    let tar = tar.args(["cp", "box:/srv", "-"]).output()?;
    let mut archive = tar::Archive::new(tar.stdout.as_slice());
    let names: Vec<String> =
        archive.entries()?.map(|entry| Ok(entry?.path()?.display().to_string())).collect::<Result<_>>()?;
    ensure!(names.iter().any(|name| name == "srv/sub/page"), "{names:?}");
    host.ok(&["rm", "-f", "box"])?;
    Ok(())
}

#[test]
fn an_absent_daemon_is_named_with_its_remedy() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let socket = format!("unix://{}", folder.path().join("none.sock").display());
    let mut command = std::process::Command::new(keelson_tests::paths::program("keelctl")?);
    let run = finish(command.args(["--json", "--host", &socket, "ps"]))?.expect(1)?;
    let run = run.says(&[&socket, "systemctl start keelson-containers"])?;
    ensure!(run.json()?["error"]["message"].as_str().is_some_and(|message| message.contains(&socket)));
    Ok(())
}
