//! `keelctl image prune`.

use std::process::ExitCode;

use bollard::models::ImagePruneResponse;

use super::super::Context;
use super::super::client::{Body, Filters, Target};
use super::super::common::{document, sure, text_block};
use super::super::format::size;
use super::rm;

/// The arguments of `image prune`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  keelctl image prune -af --filter until=240h")]
pub struct Args {
    /// Remove all that no container uses, not only those without a name
    #[arg(short, long)]
    all: bool,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
    /// Only those that match: until=24h, label=…
    #[arg(long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
}

/// Runs the verb.
pub async fn run(args: Args, context: &Context) -> anyhow::Result<ExitCode> {
    let what =
        if args.all { "all images without at least one container associated to them" } else { "all dangling images" };
    if !args.force && !sure(context, what)? {
        return Ok(ExitCode::SUCCESS);
    }
    let mut filters = Filters::parse(&args.filter)?;
    filters.add("dangling", if args.all { "false" } else { "true" });
    let target = Target::new("/images/prune").filters(&filters);
    let done: ImagePruneResponse = context.client.call(hyper::Method::POST, &target, Body::Empty).await?;
    if context.json {
        return document(&done);
    }
    let removed = done.images_deleted.unwrap_or_default();
    let mut out = String::new();
    if !removed.is_empty() {
        let lines = rm::text(&removed).replace("Untagged: ", "untagged: ").replace("Deleted: ", "deleted: ");
        out = format!("Deleted Images:\n{lines}\n");
    }
    text_block(&format!("{out}Total reclaimed space: {}\n", size::decimal4(done.space_reclaimed.unwrap_or_default())))
}
