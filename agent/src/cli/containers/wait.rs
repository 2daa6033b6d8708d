//! `keelctl wait`.

use std::process::ExitCode;

use bollard::models::ContainerWaitResponse;

use super::Context;
use super::client::{Body, Target};
use super::common::each_with;

/// Wait until containers end, and print their exit statuses
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  keelctl wait job && keelctl logs job")]
pub struct Args {
    /// The containers
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// Runs the verb.
pub async fn run(args: Args, context: &Context) -> anyhow::Result<ExitCode> {
    each_with(context, &args.containers, async |name| {
        let target = Target::container(name, "wait");
        let ended: ContainerWaitResponse = context.client.call(hyper::Method::POST, &target, Body::Empty).await?;
        match ended.error.and_then(|error| error.message).filter(|why| !why.is_empty()) {
            Some(why) => anyhow::bail!(why),
            None => Ok(ended.status_code.to_string()),
        }
    })
    .await
}
