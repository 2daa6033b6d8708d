//! `keelctl pause` and `keelctl unpause`.

use std::process::ExitCode;

use super::Context;
use super::client::Target;
use super::common::each;

/// Freeze all processes of containers
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  keelctl pause db && backup; keelctl unpause db")]
pub struct PauseArgs {
    /// The containers
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// Let the processes of frozen containers go on
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  keelctl unpause db")]
pub struct UnpauseArgs {
    /// The containers
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// Runs `pause`.
pub async fn pause(args: PauseArgs, context: &Context) -> anyhow::Result<ExitCode> {
    each(context, &args.containers, async |name| context.client.act(&Target::container(name, "pause")).await.map(drop))
        .await
}

/// Runs `unpause`.
pub async fn unpause(args: UnpauseArgs, context: &Context) -> anyhow::Result<ExitCode> {
    each(context, &args.containers, async |name| {
        context.client.act(&Target::container(name, "unpause")).await.map(drop)
    })
    .await
}
