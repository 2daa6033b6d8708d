//! `keelctl health`: looks at the host once ([`checks`]) or until it is healthy ([`wait`]), or judges a boot by it
//! ([`boot`]).

mod boot;
mod checks;
mod scripts;
mod services;
mod units;
mod wait;

use std::path::PathBuf;
use std::process::ExitCode;

use super::node::Places;
use super::print;
use crate::update::Settings;

pub(super) use checks::look;

/// Show whether this host is healthy
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Looks once whether all is well that must be: keeld answers, the boot is done, no unit that every host \
        has (or that health.required of keelson-host(5) names) is failed, containerd is up where it is enabled, the node \
        runs where the host is one, declared containers stand as declared, and every executable in \
        /usr/lib/keelson/health.d and /etc/keelson/health.d exits with 0. What is in a folder wanted.d below those only \
        warns. Run it as root: what somebody may not ask is bad to them.\n\n\
        At each boot keelson-health.service looks until all is well. A new version that is not within the time of \
        health.timeout is given up for the one before, if that was healthy. Where nothing is given up, \
        keelson-health-late.service goes on looking, so that a host that is healthy later is known to be.",
    after_help = "Examples:\n  sudo keelctl health\n  sudo keelctl health --json | jq '.checks[] | select(.standing == \"bad\")'\n  \
        sudo timeout 600 keelctl health --wait\n\n\
        Exit status: 1 when the host is not healthy."
)]
pub struct Args {
    /// Judge this boot: wait until the host is healthy, and give a new version up that is not
    #[arg(long)]
    boot: bool,
    /// Wait until the host is healthy
    #[arg(long, conflicts_with_all = ["boot", "count"])]
    wait: bool,
    /// Have the boot loader count the boots of what boots next; a unit does that when the host goes down
    #[arg(long, hide = true, conflicts_with = "boot")]
    count: bool,
    #[command(flatten)]
    places: Paths,
}

/// Where things are; other places are for development.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Paths {
    /// What the host was told
    #[arg(long, value_name = "FILE", hide = true, default_value = crate::update::settings::PATH)]
    pub settings: PathBuf,
    /// What outlives a reboot
    #[arg(long, value_name = "DIR", hide = true, default_value = "/var/lib/keelson")]
    pub state: PathBuf,
    /// Folders of executables that look at the host; a name in a later one counts for all before
    #[arg(long, value_name = "DIR", hide = true, default_values = ["/usr/lib/keelson/health.d", "/etc/keelson/health.d"])]
    pub scripts: Vec<PathBuf>,
    /// The node's places.
    #[command(flatten)]
    pub node: Places,
}

/// Runs the verb.
pub async fn run(args: &Args, bus: Option<&str>, json: bool) -> anyhow::Result<ExitCode> {
    if args.boot {
        return boot::judge(&args.places, bus).await;
    }
    if args.count {
        return boot::count(&args.places);
    }
    if args.wait {
        return wait::until_healthy(&args.places, bus).await;
    }
    let settings = Settings::read(&args.places.settings)?;
    let report = look(&args.places, &settings, bus).await;
    if json {
        print::document(&report)?
    } else {
        print::line(&report.text())?
    }
    Ok(if report.healthy { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
