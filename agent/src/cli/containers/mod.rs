//! The container verbs of keelctl, one file each: what people know from Docker, over the API of
//! `keeld containers`.
//!
//! ```text
//! verb ─> options, parse   flags to documents, pure     client ─> the daemon's socket
//!    '──> format           documents to text, pure      terminal ─> raw mode, sizes, signals
//! ```

mod attach;
mod client;
mod commit;
mod common;
mod container;
mod cp;
mod create;
mod declared;
mod diff;
mod events;
mod exec;
mod export;
mod format;
mod image;
mod inspect;
mod kill;
mod login;
mod logs;
mod options;
mod parse;
mod pause;
mod port;
mod ps;
mod pull;
mod push;
mod rename;
mod restart;
mod rm;
mod run;
mod start;
mod stats;
mod stop;
mod terminal;
mod top;
mod update;
mod volume;
mod wait;

use std::process::ExitCode;

use clap::{Command, Subcommand};

use client::{Client, DEFAULT_HOST};
pub(super) use declared::of_host as declared_of_host;

/// Where the daemon is, and how to print.
#[derive(Debug)]
struct Context {
    client: Client,
    json: bool,
}

/// How to reach the daemon.
#[derive(Debug, clap::Args)]
pub struct Connection {
    /// The socket of the container daemon
    #[arg(
        short = 'H',
        long,
        global = true,
        value_name = "unix://PATH",
        env = "KEELCTL_HOST",
        hide_env = true,
        hide_short_help = true,
        default_value = DEFAULT_HOST,
        hide_default_value = true,
        help_heading = "Everywhere"
    )]
    host: String,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    Run(Box<run::Args>),
    Ps(ps::Args),
    Exec(exec::Args),
    Logs(logs::Args),
    Start(start::Args),
    Stop(stop::Args),
    Restart(restart::Args),
    Kill(kill::Args),
    Rm(rm::Args),
    Attach(attach::Args),
    Create(Box<create::Args>),
    Wait(wait::Args),
    Pause(pause::PauseArgs),
    Unpause(pause::UnpauseArgs),
    Rename(rename::Args),
    Update(update::Args),
    Inspect(inspect::Args),
    Top(top::Args),
    Stats(stats::Args),
    Port(port::Args),
    Diff(diff::Args),
    Cp(cp::Args),
    Export(export::Args),
    Commit(commit::Args),
    Events(events::Args),
    #[command(subcommand)]
    Container(container::Verb),
    #[command(subcommand)]
    Containers(declared::Verb),
    #[command(subcommand)]
    Volume(volume::Verb),
    Images(image::ls::Args),
    Pull(pull::Args),
    Push(push::Args),
    Rmi(image::rm::Args),
    Tag(image::tag::Args),
    Save(image::save::Args),
    Load(image::load::Args),
    Login(login::Args),
    Logout(login::LogoutArgs),
    #[command(subcommand)]
    Image(image::Verb),
}

/// The names of the verbs about images, for the help.
pub const IMAGE_VERBS: &[&str] = &["images", "pull", "push", "rmi", "tag", "save", "load", "login", "logout", "image"];

/// Lets values of flags begin with a dash, as they may in Docker: `-e -x`, `--memory-swap -1`.
pub fn dashes_in_values(command: Command) -> Command {
    let named: Vec<String> =
        Verb::augment_subcommands(Command::new("")).get_subcommands().map(|verb| verb.get_name().to_owned()).collect();
    named.into_iter().fold(command, |command, name| {
        command.mut_subcommand(name, |verb| {
            verb.mut_args(|arg| {
                let takes_value = arg.get_action().takes_values() && !arg.is_positional();
                if takes_value { arg.allow_hyphen_values(true) } else { arg }
            })
        })
    })
}

/// Runs a verb; what it ends with is the exit status.
pub async fn run(verb: Verb, connection: &Connection, json: bool) -> anyhow::Result<ExitCode> {
    let context = &Context { client: Client::new(&connection.host)?, json };
    match verb {
        Verb::Run(args) => run::run(*args, context).await,
        Verb::Ps(args) => ps::run(args, context).await,
        Verb::Exec(args) => exec::run(args, context).await,
        Verb::Logs(args) => logs::run(args, context).await,
        Verb::Start(args) => start::run(args, context).await,
        Verb::Stop(args) => stop::run(args, context).await,
        Verb::Restart(args) => restart::run(args, context).await,
        Verb::Kill(args) => kill::run(args, context).await,
        Verb::Rm(args) => rm::run(args, context).await,
        Verb::Attach(args) => attach::run(args, context).await,
        Verb::Create(args) => create::run(*args, context).await,
        Verb::Wait(args) => wait::run(args, context).await,
        Verb::Pause(args) => pause::pause(args, context).await,
        Verb::Unpause(args) => pause::unpause(args, context).await,
        Verb::Rename(args) => rename::run(args, context).await,
        Verb::Update(args) => update::run(args, context).await,
        Verb::Inspect(args) => inspect::run(args, context).await,
        Verb::Top(args) => top::run(args, context).await,
        Verb::Stats(args) => stats::run(args, context).await,
        Verb::Port(args) => port::run(args, context).await,
        Verb::Diff(args) => diff::run(args, context).await,
        Verb::Cp(args) => cp::run(args, context).await,
        Verb::Export(args) => export::run(args, context).await,
        Verb::Commit(args) => commit::run(args, context).await,
        Verb::Events(args) => events::run(args, context).await,
        Verb::Container(verb) => container::run(verb, context).await,
        Verb::Containers(verb) => declared::run(verb, context).await,
        Verb::Volume(verb) => volume::run(verb, context).await,
        Verb::Images(args) => image::ls::run(args, context).await,
        Verb::Pull(args) => pull::run(args, context).await,
        Verb::Push(args) => push::run(args, context).await,
        Verb::Rmi(args) => image::rm::run(args, context).await,
        Verb::Tag(args) => image::tag::run(args, context).await,
        Verb::Save(args) => image::save::run(args, context).await,
        Verb::Load(args) => image::load::run(args, context).await,
        Verb::Login(args) => login::run(args, context).await,
        Verb::Logout(args) => login::logout(args, context),
        Verb::Image(verb) => image::run(verb, context).await,
    }
}
