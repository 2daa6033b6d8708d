//! A hundred containers on one host.

use std::time::Instant;

use anyhow::{Result, ensure};
use keelson_tests::containers::ContainerHost;
use serde_json::Value;

use crate::tools::{detached, host};

#[test]
fn a_hundred_containers_outlive_keeld_and_leave_nothing() -> Result<()> {
    let mut host = host()?;
    let idle = host.daemon().memory("Rss")?;
    let names: Vec<String> = (0..100).map(|number| format!("c{number}")).collect();
    let start = Instant::now();
    for name in &names {
        detached(&host, name, "trap 'exit 9' TERM; echo up; while :; do sleep 1; done")?;
    }
    let used = host.daemon().memory("Rss")?;
    eprintln!("100 starts: {:?}; RSS {idle} kB idle, {used} kB now", start.elapsed());
    ensure!(used < 40_000, "keeld uses {used} kB with 100 containers");
    let pids = pids(&host)?;
    ensure!(pids.len() == 100, "{} run", pids.len());
    host.kill_daemon()?;
    let start = Instant::now();
    host.restart_daemon()?;
    eprintln!("up again after {:?}; RSS {} kB", start.elapsed(), host.daemon().memory("Rss")?);
    ensure!(self::pids(&host)? == pids, "other processes run");
    // The address of each is its own.
    let mut addresses: Vec<String> =
        all(&host)?.iter().map(|container| container["NetworkSettings"]["IPAddress"].to_string()).collect();
    addresses.sort();
    addresses.dedup();
    ensure!(addresses.len() == 100, "{} addresses", addresses.len());
    let start = Instant::now();
    host.ok(&[&["stop"][..], &words(&names)].concat())?;
    eprintln!("100 stopped after {:?}", start.elapsed());
    let codes = host.ok(&[&["wait"][..], &words(&names)].concat())?;
    ensure!(codes.lines().all(|code| code == "9"), "exit codes {codes:?}");
    let logs = names.iter().map(|name| host.ok(&["logs", name])).collect::<Result<Vec<_>>>()?;
    ensure!(logs.iter().all(|log| log == "up"), "output is lost: {logs:?}");
    host.ok(&[&["rm"][..], &words(&names)].concat())?;
    ensure!(host.ok(&["ps", "--all", "--quiet"])?.is_empty(), "a container is left");
    host.no_leaks()
}

fn words(names: &[String]) -> Vec<&str> {
    names.iter().map(String::as_str).collect()
}

/// What `inspect` says of every running container.
fn all(host: &ContainerHost) -> Result<Vec<Value>> {
    let ids = host.ok(&["ps", "--quiet", "--no-trunc"])?;
    let ids: Vec<&str> = ids.lines().collect();
    Ok(serde_json::from_str(&host.ok(&[&["inspect"][..], &ids].concat())?)?)
}

/// The first process of each running container, by name.
fn pids(host: &ContainerHost) -> Result<Vec<String>> {
    let mut pids: Vec<String> =
        all(host)?.iter().map(|container| format!("{} {}", container["Name"], container["State"]["Pid"])).collect();
    pids.sort();
    Ok(pids)
}
