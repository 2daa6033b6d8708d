//! `keelctl tag`.

use std::process::ExitCode;

use super::super::Context;
use super::super::client::Target;
use super::super::format::name;

/// Give an image another name
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  keelctl tag web registry.example/web:1")]
pub struct Args {
    /// The image
    #[arg(value_name = "IMAGE")]
    source: String,
    /// The name
    #[arg(value_name = "NAME[:TAG]")]
    target: String,
}

/// Runs the verb.
pub async fn run(args: Args, context: &Context) -> anyhow::Result<ExitCode> {
    let (repository, tag) = name::tagged(&args.target);
    let target = Target::image(&args.source, "tag").with("repo", repository);
    context.client.act(&target.with("tag", if tag == "<none>" { "latest" } else { tag })).await?;
    Ok(ExitCode::SUCCESS)
}
