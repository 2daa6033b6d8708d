//! Networks of containers as their neighbours see them: the bridge, published ports, links, shared
//! networks, and that nothing of any is left behind.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use keelson_common::command::CommandExt;
use keelson_tests::containers::{ContainerHost, Namespace, TestImage, eventually};
use serde_json::{Value, json};

use crate::tools::SOON;

/// Serves `/www` on port 80.
const SERVE: [&str; 7] = ["busybox", "httpd", "-f", "-p", "80", "-h", "/www"];

/// A host with an image that serves a page and exposes its port.
fn host() -> Result<ContainerHost> {
    let host = ContainerHost::start()?;
    let image = TestImage::busybox("web:latest")
        .file("www/index.html", 0o644, "a page\n")
        .set("ExposedPorts", json!({ "80/tcp": {} }))
        .set("Env", json!(["PATH=/bin", "COLOUR=green"]));
    host.load(&image)?;
    Ok(host)
}

fn serve(host: &ContainerHost, name: &str, options: &[&str]) -> Result<()> {
    let words = [&["run", "-d", "--name", name], options, &["web"], &SERVE].concat();
    host.ok(&words).map(drop)
}

fn inspect(host: &ContainerHost, name: &str) -> Result<Value> {
    let mut all: Value = serde_json::from_str(&host.ok(&["inspect", name])?)?;
    Ok(all[0].take())
}

fn address(host: &ContainerHost, name: &str) -> Result<String> {
    let inspected = inspect(host, name)?;
    let address = inspected["NetworkSettings"]["Networks"]["bridge"]["IPAddress"].as_str();
    address.map(str::to_owned).context("no address")
}

/// Whether the page is served at `url` for a program in `namespace`.
fn page(namespace: &Namespace, url: &str) -> bool {
    let mut command = namespace.command("curl");
    command.args(["--silent", "--fail", "--max-time", "2", url]);
    command.output_text().is_ok_and(|text| text == "a page\n")
}

fn page_soon(namespace: &Namespace, url: &str) -> bool {
    eventually(SOON, || page(namespace, url))
}

/// Whether the page is served at `url`, in a moment, for a program in the network of a container.
fn page_in(host: &ContainerHost, name: &str, url: &str) -> Result<bool> {
    let netns = inspect(host, name)?["NetworkSettings"]["SandboxKey"].as_str().context("no namespace")?.to_owned();
    Ok(eventually(SOON, || {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={netns}")).args(["curl", "--silent", "--fail", "--max-time", "2", url]);
        command.output_text().is_ok_and(|text| text == "a page\n")
    }))
}

/// A file as a running container sees it.
fn inside(host: &ContainerHost, name: &str, file: &str) -> Result<String> {
    let pid = inspect(host, name)?["State"]["Pid"].to_string();
    Ok(std::fs::read_to_string(format!("/proc/{pid}/root/{file}"))?)
}

#[test]
fn a_published_port_is_reached_from_everywhere_and_nothing_else_from_outside() -> Result<()> {
    let host = host()?;
    let (here, outside) = (host.namespace(), host.namespace().neighbour()?);
    serve(&host, "web", &["-p", "8080:80", "-p", "127.0.0.1:8081:80"])?;
    host.ok(&["run", "-d", "--name", "other", "web", "sleep", "1000"])?;
    let web = address(&host, "web")?;

    for url in ["http://127.0.0.1:8080/", "http://198.51.100.1:8080/", "http://127.0.0.1:8081/"] {
        ensure!(page_soon(here, url), "the host does not reach {url}");
    }
    ensure!(page_soon(here, &format!("http://{web}/")), "the host does not reach the container");
    ensure!(page_soon(&outside, "http://198.51.100.1:8080/"), "a neighbour does not reach the published port");
    ensure!(!page(&outside, "http://198.51.100.1:8081/"), "a neighbour reaches what is for loopback");
    ensure!(!page(&outside, &format!("http://{web}/")), "a neighbour reaches a port by the container's address");
    for url in [&format!("http://{web}/"), "http://198.51.100.1:8080/"] {
        ensure!(page_in(&host, "other", url)?, "another container does not reach {url}");
        ensure!(page_in(&host, "web", url)?, "the container does not reach itself at {url}");
    }
    host.ok(&["run", "--rm", "web", "ping", "-c", "1", "-W", "10", "198.51.100.2"])?;

    host.ok(&["rm", "-f", "web", "other"])?;
    ensure!(!page(here, "http://127.0.0.1:8080/"));
    host.no_leaks()
}

#[test]
fn a_port_that_is_taken_is_told_and_leaves_nothing() -> Result<()> {
    let host = host()?;
    serve(&host, "web", &["-p", "8080:80"])?;
    let refused = host.keelctl(&["run", "--rm", "-p", "8080:80", "web", "true"])?;
    ensure!(refused.code == Some(125), "{refused:?}");
    ensure!(refused.stderr.contains("Bind for 0.0.0.0:8080 failed: port is already allocated"), "{}", refused.stderr);

    let mut listener = host.namespace().command("busybox").args(["nc", "-l", "-p", "8090"]).spawn()?;
    let taken = || {
        let run = host.keelctl(&["run", "--rm", "-p", "8090:80", "web", "true"]);
        run.is_ok_and(|run| run.stderr.contains("8090 failed: port is already allocated"))
    };
    let told = eventually(SOON, taken);
    listener.kill()?;
    listener.wait()?;
    ensure!(told, "a port that a program listens on was given away");

    host.ok(&["rm", "-f", "web"])?;
    host.ok(&["run", "--rm", "-p", "8080:80", "web", "true"])?;
    host.no_leaks()
}

#[test]
fn random_ports_and_ranges() -> Result<()> {
    let host = host()?;
    serve(&host, "one", &["-P"])?;
    serve(&host, "two", &["-p", "9000-9001:80"])?;
    serve(&host, "three", &["-p", "9000-9001:80"])?;
    let port = |name: &str| -> Result<u16> {
        let inspected = inspect(&host, name)?;
        Ok(inspected["NetworkSettings"]["Ports"]["80/tcp"][0]["HostPort"].as_str().context("no port")?.parse()?)
    };
    ensure!(port("one")? >= 32768);
    ensure!((port("two")?, port("three")?) == (9000, 9001));
    for name in ["one", "two", "three"] {
        let url = format!("http://127.0.0.1:{}/", port(name)?);
        ensure!(page_soon(host.namespace(), &url), "{name} is not reached at {url}");
    }
    host.ok(&["rm", "-f", "one", "two", "three"])?;
    host.no_leaks()
}

#[test]
fn a_link_gives_names_and_variables_and_follows_a_restart() -> Result<()> {
    let host = host()?;
    serve(&host, "db", &[])?;
    host.ok(&["run", "-d", "--name", "app", "--link", "db:store", "web", "sleep", "1000"])?;
    let first = address(&host, "db")?;
    let env = host.ok(&["run", "--rm", "--name", "brief", "--link", "db:store", "web", "env"])?;
    for line in [
        format!("STORE_PORT=tcp://{first}:80"),
        format!("STORE_PORT_80_TCP_ADDR={first}"),
        "STORE_PORT_80_TCP_PROTO=tcp".to_owned(),
        "STORE_NAME=/brief/store".to_owned(),
        "STORE_ENV_COLOUR=green".to_owned(),
    ] {
        ensure!(env.lines().any(|have| have == line), "no {line} in\n{env}");
    }
    let fetch = ["timeout", "20", "wget", "-q", "-O", "-", "http://store/"];
    ensure!(host.ok(&[&["run", "--rm", "--link", "db:store", "web"][..], &fetch].concat())? == "a page");
    let line = |address: &str| -> Result<bool> {
        let hosts = inside(&host, "app", "etc/hosts")?;
        Ok(hosts.lines().any(|line| line.starts_with(&format!("{address}\tstore ")) && line.ends_with(" db")))
    };
    ensure!(line(&first)?, "{}", inside(&host, "app", "etc/hosts")?);

    // Someone else takes its place meanwhile, so that it comes back under another address.
    host.ok(&["stop", "-t", "1", "db"])?;
    host.ok(&["run", "-d", "--name", "between", "web", "sleep", "1000"])?;
    host.ok(&["start", "db"])?;
    let second = address(&host, "db")?;
    ensure!(first != second, "it came back under the same address");
    ensure!(line(&second)? && !line(&first)?, "the link does not follow: {}", inside(&host, "app", "etc/hosts")?);

    host.ok(&["stop", "-t", "1", "db"])?;
    let refused = host.keelctl(&["run", "--rm", "--link", "db", "web", "true"])?;
    ensure!(refused.stderr.contains("Cannot link to a non running container: /db AS /"), "{}", refused.stderr);
    host.ok(&["rm", "-f", "app", "db", "between"])?;
    host.no_leaks()
}

#[test]
fn none_host_and_shared_networks() -> Result<()> {
    let host = host()?;
    let links = |options: &[&str]| -> Result<String> {
        host.ok(&[&["run", "--rm"], options, &["web", "ls", "/sys/class/net"]].concat())
    };
    ensure!(links(&["--network", "none"])? == "lo");
    ensure!(links(&[])?.lines().collect::<Vec<_>>() == ["eth0", "lo"]);
    host.ok(&["run", "--rm", "--network", "none", "web", "ping", "-c", "1", "-W", "1", "127.0.0.1"])?;
    // The host's network is that of its daemon.
    let seen = host.ok(&["run", "--rm", "--network", "host", "web", "ip", "address"])?;
    ensure!(seen.contains("192.0.2.1"), "{seen}");

    serve(&host, "web", &[])?;
    ensure!(page_soon(host.namespace(), &format!("http://{}/", address(&host, "web")?)), "it is not served");
    let page = host.ok(&["run", "--rm", "--network", "container:web", "web", "wget", "-q", "-O", "-", "127.0.0.1"])?;
    ensure!(page == "a page");
    host.ok(&["stop", "-t", "1", "web"])?;
    let refused = host.keelctl(&["run", "--rm", "--network", "container:web", "web", "true"])?;
    ensure!(refused.code == Some(125) && refused.stderr.contains("non running container"), "{refused:?}");
    host.ok(&["rm", "web"])?;
    host.no_leaks()
}

#[test]
fn names_and_resolvers_are_as_asked() -> Result<()> {
    let host = host()?;
    let shown = |options: &[&str], file: &str| host.ok(&[&["run", "--rm"], options, &["web", "cat", file]].concat());
    let hosts =
        shown(&["--hostname", "me", "--add-host", "a:192.0.2.7", "--add-host", "h:host-gateway"], "/etc/hosts")?;
    for line in ["127.0.0.1\tlocalhost", "192.0.2.7\ta", "10.87.0.1\th"] {
        ensure!(hosts.lines().any(|have| have == line), "no {line:?} in\n{hosts}");
    }
    ensure!(hosts.lines().any(|line| line.starts_with("10.87.") && line.ends_with("\tme")), "{hosts}");
    ensure!(shown(&["--hostname", "me"], "/etc/hostname")? == "me");
    let resolver =
        shown(&["--dns", "192.0.2.53", "--dns-search", "example.org", "--dns-option", "ndots:2"], "/etc/resolv.conf")?;
    ensure!(resolver == "nameserver 192.0.2.53\nsearch example.org\noptions ndots:2", "{resolver}");
    host.no_leaks()
}

#[test]
fn a_killed_daemon_takes_up_the_networks_it_finds() -> Result<()> {
    let mut host = host()?;
    serve(&host, "web", &["-p", "8080:80"])?;
    host.ok(&["run", "-d", "--name", "gone", "web", "sleep", "1000"])?;
    let pid = inspect(&host, "gone")?["State"]["Pid"].to_string();
    host.kill_daemon()?;
    Command::new("kill").args(["-9", &pid]).run()?;
    ensure!(page_soon(host.namespace(), "http://127.0.0.1:8080/"), "the port went with the daemon");
    host.restart_daemon()?;
    let released = || !Path::new("/proc").join(&pid).exists() && netns(&host).is_ok_and(|left| left == 1);
    ensure!(eventually(SOON, released), "the network of a dead container is still there");
    ensure!(page_soon(host.namespace(), "http://127.0.0.1:8080/"));
    let refused = host.keelctl(&["run", "--rm", "-p", "8080:80", "web", "true"])?;
    ensure!(refused.stderr.contains("port is already allocated"), "{refused:?}");
    host.ok(&["rm", "-f", "web", "gone"])?;
    host.no_leaks()
}

/// How many namespaces are pinned.
fn netns(host: &ContainerHost) -> Result<usize> {
    Ok(std::fs::read_dir(host.folder().join("run/netns"))?.count())
}

#[test]
fn the_docker_client_sees_the_networks() -> Result<()> {
    let host = host()?;
    serve(&host, "web", &[])?;
    let listed = host.docker(&["network", "ls", "--format", "{{.Name}} {{.Driver}}"])?.expect(0)?;
    ensure!(listed.stdout == "bridge bridge\nhost host\nnone null\n", "{}", listed.stdout);
    let names = ["network", "inspect", "bridge", "--format", "{{range .Containers}}{{.Name}}{{end}}"];
    ensure!(host.docker(&names)?.expect(0)?.stdout == "web\n");
    let old = ["inspect", "web", "--format", "{{.NetworkSettings.IPAddress}}"];
    ensure!(host.docker(&old)?.expect(0)?.stdout.trim() == address(&host, "web")?);
    let refused = host.docker(&["network", "create", "mine"])?;
    ensure!(refused.code == Some(1) && refused.stderr.contains("cannot create network mine"), "{refused:?}");
    let refused = host.docker(&["run", "--rm", "--network", "mine", "web", "true"])?;
    ensure!(refused.code == Some(125) && refused.stderr.contains("network mine not found"), "{refused:?}");
    host.ok(&["rm", "-f", "web"])?;
    host.no_leaks()
}
