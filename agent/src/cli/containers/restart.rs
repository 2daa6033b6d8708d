//! `keelctl restart`.

use std::process::ExitCode;

use super::Context;
use super::client::Target;
use super::common::each;

/// Stop containers and start them again
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  keelctl restart web\n  keelctl restart -t 60 db")]
pub struct Args {
    /// The signal, instead of the container's own (SIGTERM where none is set)
    #[arg(short, long, value_name = "SIGNAL")]
    signal: Option<String>,
    /// How many seconds to wait before killing; -1 to wait for ever
    #[arg(short, long, visible_alias = "time", value_name = "SECONDS")]
    timeout: Option<i64>,
    /// The containers
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// Runs the verb.
pub async fn run(args: Args, context: &Context) -> anyhow::Result<ExitCode> {
    each(context, &args.containers, async |name| {
        let target = Target::container(name, "restart").with_some("signal", args.signal.as_deref());
        context.client.act(&target.with_some("t", args.timeout)).await.map(drop)
    })
    .await
}
