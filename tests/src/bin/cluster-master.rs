//! Starts a throw-away Kubernetes control plane for a person who wants to try something, runs a
//! command beside it or waits, and takes everything down again. See `--help`.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use keelson_tests::cluster::{ControlPlane, TOKEN, beside, program};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

const USAGE: &str = "\
Usage: cluster-master [COMMAND [ARGUMENT]...]

Starts a Kubernetes control plane (upstream's servers, Debian's etcd) in a
network namespace of its own and runs COMMAND there, or waits for ctrl-c where
there is none. When that ends, all of it is gone. Needs root, and what
manifests/kubernetes/build.sh builds.

  cluster-master bash
  kubectl get namespaces       # there

COMMAND has an administrator's kubectl in PATH and finds KUBECONFIG,
KEELSON_TEST_SERVER, KEELSON_TEST_TOKEN and KEELSON_TEST_CA_HASH (what a node
joins with) and KEELSON_TEST_FOLDER (logs, keys) in its environment.
";

fn main() -> Result<ExitCode> {
    let mut words = std::env::args_os().skip(1);
    let wanted = words.next();
    match wanted.as_ref().and_then(|word| word.to_str()) {
        Some("-h" | "--help") => {
            print!("{USAGE}");
            return Ok(ExitCode::SUCCESS);
        }
        Some(option) if option.starts_with('-') => {
            eprint!("{USAGE}");
            return Ok(ExitCode::from(2));
        }
        _ => {}
    }
    // From here on a signal ends the wait, or the command, and this program tidies up after it.
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM])?;
    let start = Instant::now();
    let cluster = ControlPlane::start()?;
    eprintln!("ready after {:.1} s:", start.elapsed().as_secs_f64());
    for (name, process) in cluster.servers() {
        eprintln!("  {name:<24} pid {:<8} {:>4} MB", process.pid(), process.memory("Rss")? / 1024);
    }
    if signals.pending().next().is_some() {
        return Ok(ExitCode::FAILURE);
    }
    if let Some(program) = wanted {
        return beside(&cluster, signals, &[program].into_iter().chain(words).collect::<Vec<_>>(), &[]);
    }
    eprintln!("  server    {}\n  token     {TOKEN}\n  CA hash   {}", cluster.server(), cluster.ca_hash());
    eprintln!("  enter it  nsenter --net={}", cluster.namespace().path().display());
    eprintln!("  kubectl   {} --kubeconfig {}", program("kubectl")?.display(), cluster.kubeconfig().display());
    eprintln!("ctrl-c takes it down");
    signals.forever().next();
    Ok(ExitCode::SUCCESS)
}
