//! What a person does with a running pod by kubectl: logs, exec, attach, port-forward, cp.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::place::{Place, pod, shell, web};

pub fn exec_hands_on_input_and_exit_codes(place: &Place<'_>) -> Result<()> {
    place.make(&[pod("shell", &shell("sleep 1000"))])?;
    place.ready("shell")?;
    ensure!(place.sh("shell", "hostname; id -u")? == "shell\n0");
    let ended = place.kubectl(&["exec", "shell", "--", "sh", "-c", "echo no >&2; exit 7"])?;
    ensure!(ended.code == Some(7) && ended.stderr.contains("no\n"), "{ended:?}");
    let long = "x".repeat(300_000);
    let counted = place.ok_with_input(&["exec", "--stdin", "shell", "--", "wc", "-c"], &long)?;
    ensure!(counted.trim() == "300000", "{counted}");
    let missing = place.kubectl(&["exec", "shell", "--", "missing"])?;
    ensure!(missing.code != Some(0) && missing.stderr.contains("missing"), "{missing:?}");
    Ok(())
}

pub fn logs_are_followed(place: &Place<'_>) -> Result<()> {
    // It has not ended before somebody follows it, however long kubectl takes to start.
    let told = "echo line 1; echo line 2; until [ -e /go ]; do sleep 0.1; done; echo line 3; echo line 4";
    let mut teller = pod("teller", &shell(told));
    teller["spec"]["restartPolicy"] = json!("Never");
    place.make(&[teller])?;
    place.ready("teller")?;
    let all = "line 1\nline 2\nline 3\nline 4";
    let mut follow = place.command(&["logs", "--follow", "teller"])?.stdout(Stdio::piped()).spawn()?;
    let mut log = BufReader::new(follow.stdout.take().context("no standard output")?);
    let mut followed = String::new();
    while followed.lines().count() < 2 {
        ensure!(log.read_line(&mut followed)? > 0, "the log ends with {followed:?}");
    }
    place.sh("teller", "touch /go")?;
    log.read_to_string(&mut followed)?;
    ensure!(follow.wait()?.success() && followed.trim_end() == all, "{followed:?}");
    place.wait("pod/teller", ".status.phase", "Succeeded")?;
    ensure!(place.ok(&["logs", "teller"])? == all);
    ensure!(place.ok(&["logs", "--tail=1", "teller"])? == "line 4");
    let stamped = place.ok(&["logs", "--timestamps", "--limit-bytes=20", "teller"])?;
    ensure!(stamped.starts_with("20") && stamped.len() == 20, "{stamped}");
    let wrong = place.kubectl(&["logs", "--previous", "teller"])?;
    ensure!(wrong.code == Some(1) && wrong.stderr.contains("previous terminated container"), "{wrong:?}");
    Ok(())
}

pub fn one_attaches(place: &Place<'_>) -> Result<()> {
    let mut container = shell("while read line; do echo heard $line; done");
    container["stdin"] = json!(true);
    container["stdinOnce"] = json!(true);
    let mut listener = pod("listener", &container);
    listener["spec"]["restartPolicy"] = json!("Never");
    place.make(&[listener])?;
    place.ready("listener")?;
    let heard = place.ok_with_input(&["attach", "--stdin", "--quiet", "listener"], "a word\n")?;
    ensure!(heard.contains("heard a word"), "{heard}");
    // It hears no more, and so it ends.
    place.wait("pod/listener", ".status.phase", "Succeeded")?;
    ensure!(place.ok(&["logs", "listener"])? == "heard a word");
    Ok(())
}

pub fn a_port_is_forwarded(place: &Place<'_>) -> Result<()> {
    place.make(&[pod("server", &web())])?;
    place.ready("server")?;
    let forward = place.cluster.forward(&["--namespace", place.name, "pod/server", ":80"])?;
    // Twice, which is two streams.
    let answer = place.cluster.fetch_twice(&format!("{}/", forward.url()))?;
    ensure!(answer == "server\nserver\n", "{answer:?}");
    Ok(())
}

pub fn files_are_copied(place: &Place<'_>) -> Result<()> {
    place.make(&[pod("box", &shell("sleep 1000"))])?;
    place.ready("box")?;
    let [there, back] = ["there", "back"].map(|name| place.cluster.folder().join(name));
    fs::create_dir(&there)?;
    fs::write(there.join("small"), "a file\n")?;
    let large: Vec<u8> = (0..2_000_000_u32).map(|number| number.to_le_bytes()[1]).collect();
    fs::write(there.join("large"), &large)?;
    place.ok(&["cp", &there.to_string_lossy(), "box:/tmp/there"])?;
    ensure!(place.sh("box", "cat /tmp/there/small; wc -c </tmp/there/large")? == "a file\n2000000");
    place.ok(&["cp", "box:/tmp/there", &back.to_string_lossy()])?;
    ensure!(fs::read(back.join("large"))? == large, "the file is not the same");
    Ok(())
}
