//! keelctl: one module a verb. Each asks keeld over D-Bus ([`session`]), follows what it does
//! ([`follow`]) and prints text for a person or, with `--json`, exactly one document ([`print`]).

mod cleanup;
mod completions;
mod confirm;
mod follow;
mod history;
mod kargs;
mod pin;
mod print;
mod rebase;
mod remote;
mod rollback;
mod session;
mod status;
mod upgrade;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use session::Session;

/// Shows and changes the deployments of this host.
#[derive(Debug, Parser)]
#[command(
    name = "keelctl",
    version,
    long_about = "Shows and changes the deployments of this host: which version runs, which one is staged, and \
        which one to go back to. keelctl only asks; keeld, the daemon, does the work, and goes on with it when \
        keelctl ends. Reading needs no privilege, changing needs root or what polkit allows.",
    after_help = "Examples:\n  \
        keelctl status            what runs, what is staged, what there is to go back to\n  \
        keelctl upgrade --check   what the newest version would change\n  \
        keelctl upgrade --reboot  take it, and boot it\n  \
        keelctl rollback --reboot boot the version before\n\n\
        Exit status: 0 done, 1 failed or refused, 2 wrong usage."
)]
struct Cli {
    /// Print exactly one JSON document, and nothing else, on standard output
    #[arg(long, global = true)]
    json: bool,
    /// The address of the bus keeld serves on, instead of the system bus
    #[arg(long, global = true, value_name = "ADDRESS", hide_short_help = true)]
    bus: Option<String>,
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
    Completions(completions::Args),
}

/// Runs keelctl with the arguments of this process.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return print::failed(&anyhow::Error::from(error), cli.json),
    };
    let json = cli.json;
    match runtime.block_on(run(cli)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => print::failed(&error, json),
    }
}

async fn run(cli: Cli) -> anyhow::Result<()> {
    if let Verb::Completions(args) = cli.verb {
        completions::run(args);
        return Ok(());
    }
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
        Verb::Completions(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
