//! `keelctl kill`.

use std::process::ExitCode;

use super::Context;
use super::client::Target;
use super::common::each;

/// Send containers a signal: SIGKILL, where nothing else is said
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  keelctl kill web\n  keelctl kill -s HUP web   have it read its configuration again"
)]
pub struct Args {
    /// The signal, by name or number
    #[arg(short, long, value_name = "SIGNAL")]
    signal: Option<String>,
    /// The containers
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// Runs the verb.
pub async fn run(args: Args, context: &Context) -> anyhow::Result<ExitCode> {
    each(context, &args.containers, async |name| {
        let target = Target::container(name, "kill").with_some("signal", args.signal.as_deref());
        context.client.act(&target).await.map(drop)
    })
    .await
}
