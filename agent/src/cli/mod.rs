//! keelctl: one module a verb. Those about the host ask keeld over D-Bus ([`session`]), follow what
//! it does ([`follow`]) and print text for a person or, with `--json`, exactly one document
//! ([`print`]). Those about containers and images are in [`containers`], and open no D-Bus.

mod cleanup;
mod completions;
mod confirm;
mod containers;
mod files;
mod follow;
mod health;
mod help;
mod history;
mod kargs;
mod node;
mod pin;
mod print;
mod provision;
mod rebase;
mod remote;
mod rollback;
mod session;
mod status;
mod systemd;
mod updates;
mod upgrade;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use session::Session;

/// Runs containers, joins a Kubernetes cluster, and shows and changes the deployments of this host.
#[derive(Debug, Parser)]
#[command(
    name = "keelctl",
    version,
    long_about = "Runs containers, as people know it from Docker, makes this host a node of a Kubernetes cluster, and \
        shows and changes its deployments: which version runs, which one is staged, and which one to go back to. keelctl only asks; keeld, the daemon, \
        does the work, and goes on with it when keelctl ends. Reading the host's state needs no privilege, changing it \
        needs root or what polkit allows; containers need root.",
    after_help = "Examples:\n  \
        keelctl run --rm -it debian:13 bash          a shell in a container\n  \
        keelctl run -d --name web -p 80:8080 web:1   a service\n  \
        keelctl ps                                   what runs\n  \
        keelctl status                               which version of the host runs, which is staged\n  \
        keelctl upgrade --reboot                     take the newest version, and boot it\n  \
        keelctl join --server HOST:6443 ...          be a node of a Kubernetes cluster\n\n\
        `keelctl VERB --help` explains a verb, with examples.\n\
        Exit status: 0 done, 1 failed or refused, 2 wrong usage; run and exec give the command's own."
)]
struct Cli {
    /// Print exactly one JSON document, and nothing else, on standard output
    #[arg(long, global = true, help_heading = "Everywhere")]
    json: bool,
    /// The address of the bus keeld serves on, instead of the system bus
    #[arg(long, global = true, value_name = "ADDRESS", hide_short_help = true, help_heading = "Everywhere")]
    bus: Option<String>,
    #[command(flatten)]
    daemon: containers::Connection,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Status(status::Args),
    Upgrade(upgrade::Args),
    Rollback(rollback::Args),
    Pin(pin::PinArgs),
    Unpin(pin::UnpinArgs),
    Kargs(kargs::Args),
    Rebase(rebase::Args),
    Remote(remote::Args),
    History(history::Args),
    Cleanup(cleanup::Args),
    Provision(provision::Args),
    Updates(updates::Args),
    Health(health::Args),
    Completions(completions::Args),
    #[command(flatten)]
    Node(node::Verb),
    #[command(flatten)]
    Container(containers::Verb),
}

/// Runs keelctl with the arguments of this process.
pub fn main() -> ExitCode {
    let matches = containers::dashes_in_values(help::grouped(Cli::command())).get_matches();
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return print::failed(&anyhow::Error::from(error), cli.json),
    };
    let json = cli.json;
    let ended = runtime.block_on(run(cli));
    // A thread that waits for what is typed ends with the process.
    runtime.shutdown_background();
    ended.unwrap_or_else(|error| print::failed(&error, json))
}

async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.verb {
        Verb::Container(verb) => containers::run(verb, &cli.daemon, cli.json).await,
        Verb::Node(verb) => node::run(verb, cli.bus.as_deref(), cli.json).await.map(|()| ExitCode::SUCCESS),
        Verb::Health(args) => health::run(&args, cli.bus.as_deref(), cli.json).await,
        Verb::Updates(args) => updates::run(args, cli.bus.as_deref(), cli.json).await.map(|()| ExitCode::SUCCESS),
        Verb::Provision(args) => provision::run(args, cli.bus.as_deref(), cli.json).await.map(|()| ExitCode::SUCCESS),
        Verb::Completions(args) => {
            completions::run(args);
            Ok(ExitCode::SUCCESS)
        }
        _ => host(cli).await.map(|()| ExitCode::SUCCESS),
    }
}

/// Runs a verb about the host.
async fn host(cli: Cli) -> anyhow::Result<()> {
    let session = Session::open(cli.bus.as_deref(), cli.json).await?;
    match cli.verb {
        Verb::Status(args) => status::run(args, &session).await,
        Verb::Upgrade(args) => upgrade::run(args, &session).await,
        Verb::Rollback(args) => rollback::run(args, &session).await,
        Verb::Pin(args) => pin::pin(args, &session).await,
        Verb::Unpin(args) => pin::unpin(args, &session).await,
        Verb::Kargs(args) => kargs::run(args, &session).await,
        Verb::Rebase(args) => rebase::run(args, &session).await,
        Verb::Remote(args) => remote::run(args, &session).await,
        Verb::History(args) => history::run(args, &session).await,
        Verb::Cleanup(args) => cleanup::run(args, &session).await,
        Verb::Provision(_)
        | Verb::Updates(_)
        | Verb::Health(_)
        | Verb::Completions(_)
        | Verb::Node(_)
        | Verb::Container(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        containers::dashes_in_values(help::grouped(Cli::command())).debug_assert();
    }
}
