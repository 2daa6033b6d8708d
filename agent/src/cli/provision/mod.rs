//! `keelctl provision`: the host is set up as cloud-init, or `/etc/keelson/host.toml`, says.
//!
//! ```text
//! /etc/keelson/host.toml ─┐
//!                         ├─> sources ─> HostConfig ─> parts, one after the other ─> report
//! cloud-init's merged ────┘   (whole, or nothing is done)
//! ```
//!
//! Every part is brought to what is asked for, which changes nothing where it is so already.

mod containers;
mod instance;
mod join;
mod kernel;
mod keys;
mod master;
mod own_node;
mod registries;
mod report;
mod sources;
mod update;

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use anyhow::{anyhow, ensure};
use clap::Subcommand;
use keelson_common::provision::schema;

use super::print;
use super::session::Session;
use report::{Outcome, Part, Report};
use sources::Wanted;

/// Set this host up as cloud-init was told, and show what came of it
#[derive(Debug, clap::Args)]
#[command(
    long_about = "A host is set up by the key `keelson:` of its cloud-config, or by /etc/keelson/host.toml; where both \
        have a part, cloud-init's counts. At each boot it is read, checked whole, and applied part by part: what is as it \
        should be is left alone. keelson-host(5) tells of every key.",
    after_help = "Examples:\n  \
        keelctl provision                   what came of it at this boot\n  \
        keelctl provision apply --dry-run   what would be changed\n  \
        keelctl provision schema            the JSON schema of the key"
)]
pub struct Args {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Show what came of it at this boot (the default)
    Status,
    /// Set the host up; done at each boot
    Apply(Apply),
    /// Print the JSON schema of `keelson:`
    Schema,
}

#[derive(Debug, clap::Args)]
struct Apply {
    /// Change nothing, and say what would be changed
    #[arg(long)]
    dry_run: bool,
    /// cloud-init's merged configuration
    #[arg(long, value_name = "FILE", hide = true, default_value = "/run/cloud-init/combined-cloud-config.json")]
    cloud_config: PathBuf,
    /// What cloud-init knows of the instance
    #[arg(long, value_name = "FILE", hide = true, default_value = "/run/cloud-init/instance-data-sensitive.json")]
    instance: PathBuf,
    /// The host's own file
    #[arg(long, value_name = "FILE", hide = true, default_value = "/etc/keelson/host.toml")]
    host_config: PathBuf,
    /// The folder of what is forgotten with the boot
    #[arg(long, value_name = "DIR", hide = true, default_value = RUN)]
    run: PathBuf,
    /// What outlives a reboot
    #[arg(long, value_name = "DIR", hide = true, default_value = "/var/lib/keelson")]
    state: PathBuf,
    /// The node's configuration
    #[arg(long, value_name = "FILE", hide = true, default_value = "/etc/keelson/node.toml")]
    node: PathBuf,
    /// Where registries are described, as containerd's hosts.toml
    #[arg(long, value_name = "DIR", hide = true, default_value = "/etc/containerd/certs.d")]
    registries: PathBuf,
    /// The master's configuration
    #[arg(long, value_name = "FILE", hide = true, default_value = "/etc/keelson/master.toml")]
    master: PathBuf,
}

/// What is forgotten with the boot.
const RUN: &str = "/run/keelson";
/// The last report, below it.
const REPORT: &str = "provision.json";

/// Runs a verb.
pub async fn run(args: Args, bus: Option<&str>, json: bool) -> anyhow::Result<()> {
    match args.what {
        None | Some(What::Status) => status(json),
        Some(What::Schema) => print::document(&schema()),
        Some(What::Apply(args)) => apply(&args, bus, json).await,
    }
}

fn status(json: bool) -> anyhow::Result<()> {
    ensure!(nix::unistd::geteuid().is_root(), "`keelctl provision` needs root: it shows what the host was told");
    let report = Report::read(&Path::new(RUN).join(REPORT))?;
    if json { print::document(&report) } else { print::line(&report.text()) }
}

async fn apply(args: &Apply, bus: Option<&str>, json: bool) -> anyhow::Result<()> {
    ensure!(nix::unistd::geteuid().is_root(), "`keelctl provision apply` needs root");
    let (mut report, mut good) = (Report::default(), false);
    match sources::read(&args.cloud_config, &args.host_config) {
        Ok(wanted) => {
            parts(&wanted, args, bus, json, &mut report).await;
            good = !report.refused();
            // cloud-init has left them out: the host is not worse for it.
            report.parts.extend(wanted.in_vain);
        }
        Err(problems) => {
            let refused = problems.into_iter().map(|problem| Part::new("configuration", Outcome::Refused(problem)));
            report.parts.extend(refused);
        }
    }
    if !args.dry_run {
        report.write(&args.run.join(REPORT))?;
    }
    match json {
        true => print::document(&report)?,
        // The console of a host of which nothing was asked is not told so at each boot.
        false if report.parts.is_empty() && !std::io::stdout().is_terminal() => {}
        false => print::line(&report.text())?,
    }
    ensure!(good, "not everything was set up, see above; everything else is as it was asked for");
    Ok(())
}

async fn parts(wanted: &Wanted, args: &Apply, bus: Option<&str>, json: bool, report: &mut Report) {
    let (Wanted { config, containers, .. }, dry) = (wanted, args.dry_run);
    // Before those who pull from them.
    report.add_asked("registries", registries::apply(&config.registries, &args.registries, &args.run, dry));
    if !containers.is_empty() || args.run.join(containers::FOLDER).exists() {
        report.add("containers", containers::apply(containers, &args.run, dry));
    }
    if let Some(wanted) = &config.master {
        report.add("master", master::apply(wanted, args, bus, dry).await);
    }
    match (&config.join, &config.master) {
        (Some(join), _) => report.add("join", join::apply(join, args, bus, dry).await),
        (None, Some(master)) if own_node::wanted(master) => {
            report.add("node", own_node::apply(master, args, bus, dry).await);
        }
        _ => {}
    }
    report.add_asked("update-policy", update::policy(config, &args.run, bus, dry).await);
    let kernel = kernel::Wanted { arguments: config.kernel_arguments.as_ref(), console: config.console.as_ref() };
    // Keys that nobody asks for any more are trusted no more; a record that cannot be read is told there.
    let update = config.update.is_some() || update::has_brought_keys(&args.state).unwrap_or(true);
    if !update && kernel.is_nothing() {
        return;
    }
    let session = Session::open(bus, json).await;
    // Each part says why there is none.
    let session = || session.as_ref().map_err(|error| anyhow!("{error:#}"));
    if update {
        let wanted = config.update.clone().unwrap_or_default();
        report.add("update", async { update::apply(&wanted, session()?, &args.state, dry).await }.await);
    }
    if !kernel.is_nothing() {
        for (part, outcome) in kernel::apply(&kernel, session(), dry).await {
            report.add(part, outcome);
        }
    }
}
