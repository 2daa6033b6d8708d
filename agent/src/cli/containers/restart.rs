//! `keelctl restart`.

use std::process::ExitCode;

use super::Context;
use super::stop::How;

/// Stop containers and start them again
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  keelctl restart web\n  keelctl restart -t 60 db")]
pub struct Args {
    #[command(flatten)]
    how: How,
}

/// Runs the verb.
pub async fn run(args: Args, context: &Context) -> anyhow::Result<ExitCode> {
    args.how.ask(context, "restart").await
}
