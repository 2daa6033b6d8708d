//! `keelctl container`: the verbs about all containers that have no short form, and Docker's long
//! form of the others.

use std::process::ExitCode;

use bollard::models::ContainerPruneResponse;
use clap::Subcommand;

use super::client::{Body, Filters, Target};
use super::common::{document, sure, text_block};
use super::format::size;
use super::{Context, inspect, ps, rm};

/// Everything about containers: list, inspect, remove, prune
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// List containers
    #[command(visible_aliases = ["list", "ps"])]
    Ls(ps::Args),
    /// Show everything about containers, as a JSON array
    Inspect(Inspect),
    /// Remove containers
    #[command(visible_alias = "remove")]
    Rm(rm::Args),
    /// Remove all containers that do not run
    Prune(Prune),
}

/// The arguments of `container inspect`.
#[derive(Debug, clap::Args)]
pub struct Inspect {
    /// A Go template for each instead of the array, or json for a document a line
    #[arg(short = 'f', long = "format", value_name = "TEMPLATE", value_parser = inspect::shape)]
    shape: Option<inspect::Shape>,
    /// Show how much each wrote, too
    #[arg(short, long)]
    size: bool,
    /// The containers
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// The arguments of `container prune`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  keelctl container prune -f --filter until=24h")]
pub struct Prune {
    /// Do not ask
    #[arg(short, long)]
    force: bool,
    /// Only those that match: until=24h, label=…
    #[arg(long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
}

/// Runs a verb.
pub async fn run(verb: Verb, context: &Context) -> anyhow::Result<ExitCode> {
    match verb {
        Verb::Ls(args) => ps::run(args, context).await,
        Verb::Inspect(args) => {
            let get =
                async |name: &str| context.client.get(&Target::container(name, "json").flag("size", args.size)).await;
            inspect::all(&args.containers, args.shape.as_ref(), get).await
        }
        Verb::Rm(args) => rm::run(args, context).await,
        Verb::Prune(args) => prune(args, context).await,
    }
}

async fn prune(args: Prune, context: &Context) -> anyhow::Result<ExitCode> {
    if !args.force && !sure(context, "all stopped containers")? {
        return Ok(ExitCode::SUCCESS);
    }
    let target = Target::new("/containers/prune").filters(&Filters::parse(&args.filter)?);
    let done: ContainerPruneResponse = context.client.call(hyper::Method::POST, &target, Body::Empty).await?;
    if context.json {
        return document(&done);
    }
    let removed = done.containers_deleted.unwrap_or_default();
    let mut out = String::new();
    if !removed.is_empty() {
        out = format!("Deleted Containers:\n{}\n\n", removed.join("\n"));
    }
    text_block(&format!("{out}Total reclaimed space: {}\n", size::decimal4(done.space_reclaimed.unwrap_or_default())))
}
