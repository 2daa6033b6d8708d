//! Starts a throw-away Kubernetes cluster with nodes, whose agent is upstream's kubelet or ours, for a
//! person or a script that wants to try something there, and takes everything down again. See `--help`.

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use keelson_tests::cluster::{Agent, ControlPlane, NodeRig, beside};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

const USAGE: &str = "\
Usage: cluster-node [--kubelet upstream|ours] [--nodes NUMBER] [--dns] [COMMAND [ARGUMENT]...]

Starts a Kubernetes control plane and nodes, each in a network namespace of its
own with a containerd of its own, waits until the nodes are Ready, and runs
COMMAND in the control plane's namespace, or waits for ctrl-c where there is
none. When that ends, all of it is gone. Needs root, and what
`manifests/kubernetes/build.sh --judges --dns` builds.

  --kubelet   whose agent makes the nodes: ours (keeld-node, the default) or
              upstream's kubelet with upstream's kube-proxy
  --nodes     how many (1)
  --dns       starts CoreDNS in a pod and waits for it

  cluster-node --kubelet upstream bash
  kubectl run demo --image=$KEELSON_TEST_BUSYBOX -- sleep 1000      # there

COMMAND finds what that of cluster-master does, and of the first node:
KEELSON_TEST_NODE (its folder with its logs), KEELSON_TEST_AGENT and
KEELSON_TEST_CONTAINERD (pids), KEELSON_TEST_PROGRAMS (NAME=PID of each),
CONTAINER_RUNTIME_ENDPOINT, and the seconds from the agent's start to Ready,
KEELSON_TEST_READY; and the images KEELSON_TEST_BUSYBOX and KEELSON_TEST_PAUSE.
";

/// What the command line asks for.
struct Wanted {
    agent: Agent,
    nodes: usize,
    dns: bool,
    command: Vec<OsString>,
}

fn main() -> Result<ExitCode> {
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    if matches!(words.first().and_then(|word| word.to_str()), Some("-h" | "--help")) {
        print!("{USAGE}");
        return Ok(ExitCode::SUCCESS);
    }
    let Ok(wanted) = parse(words) else {
        eprint!("{USAGE}");
        return Ok(ExitCode::from(2));
    };
    // From here on a signal ends the wait, or the command, and this program tidies up after it.
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM])?;
    let start = Instant::now();
    let cluster = ControlPlane::start()?;
    let mut rigs = Vec::new();
    let mut ready = Vec::new();
    for number in 1..=wanted.nodes {
        if signals.pending().next().is_some() {
            return Ok(ExitCode::FAILURE);
        }
        let mut rig = NodeRig::start(&cluster, &name(number))?;
        ready.push(rig.join(&cluster, wanted.agent)?);
        rigs.push(rig);
    }
    if wanted.dns {
        cluster.start_dns().with_context(|| rigs[0].logs("the cluster's DNS does not start"))?;
    }
    eprintln!("ready after {:.1} s:", start.elapsed().as_secs_f64());
    for (rig, ready) in rigs.iter().zip(&ready) {
        let agent = rig.agent().context("the agent does not run")?;
        let (pid, memory) = (agent.pid(), agent.memory("Rss")? / 1024);
        let seconds = ready.as_secs_f64();
        eprintln!("  {} {}  agent: pid {pid}, {memory} MB, Ready after {seconds:.1} s", rig.name(), rig.address());
        eprintln!("      {}", rig.folder().display());
    }
    if signals.pending().next().is_some() {
        return Ok(ExitCode::FAILURE);
    }
    if wanted.command.is_empty() {
        eprintln!("  enter it  nsenter --net={}", cluster.namespace().path().display());
        eprintln!("  kubeconfig {}", cluster.kubeconfig().display());
        eprintln!("ctrl-c takes it down");
        signals.forever().next();
        return Ok(ExitCode::SUCCESS);
    }
    beside(&cluster, signals, &wanted.command, &rigs[0].environment(ready[0])?)
}

fn parse(words: Vec<OsString>) -> Result<Wanted> {
    let mut wanted = Wanted { agent: Agent::Ours, nodes: 1, dns: false, command: Vec::new() };
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let mut value = || words.next().and_then(|word| word.into_string().ok()).context("an option has no value");
        match word.to_str() {
            Some("--kubelet") => {
                wanted.agent = match value()?.as_str() {
                    "ours" => Agent::Ours,
                    "upstream" => Agent::Upstream,
                    other => bail!("there is no kubelet {other}"),
                }
            }
            Some("--nodes") => {
                wanted.nodes = value()?.parse().ok().filter(|nodes| (1..=9).contains(nodes)).context("1 to 9")?
            }
            Some("--dns") => wanted.dns = true,
            Some(option) if option.starts_with('-') => bail!("there is no option {option}"),
            _ => {
                wanted.command = [word].into_iter().chain(words).collect();
                return Ok(wanted);
            }
        }
    }
    Ok(wanted)
}

fn name(number: usize) -> String {
    let names = ["one", "two", "three"];
    names.get(number - 1).map_or_else(|| format!("node-{number}"), |&name| name.to_owned())
}
