//! `keelctl stop`.

use std::process::ExitCode;

use super::Context;
use super::client::Target;
use super::common::each;

/// Ask containers to end, and kill them when they do not
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  keelctl stop web\n  keelctl stop -t 60 db")]
pub struct Args {
    #[command(flatten)]
    how: How,
}

/// How containers are stopped, and which.
#[derive(Debug, clap::Args)]
pub struct How {
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

impl How {
    /// Asks for `verb`, which stops containers, of each.
    pub async fn ask(&self, context: &Context, verb: &str) -> anyhow::Result<ExitCode> {
        each(context, &self.containers, async |name| {
            let target = Target::container(name, verb).with_some("signal", self.signal.as_deref());
            context.client.act(&target.with_some("t", self.timeout)).await.map(drop)
        })
        .await
    }
}

/// Runs the verb.
pub async fn run(args: Args, context: &Context) -> anyhow::Result<ExitCode> {
    args.how.ask(context, "stop").await
}
