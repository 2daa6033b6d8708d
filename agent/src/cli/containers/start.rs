//! `keelctl start`.

use std::process::ExitCode;

use super::Context;
use super::attach::{Wish, attach};
use super::client::Target;
use super::common::each;
use super::parse::keys;

/// Start containers that were made or have ended
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  keelctl start web db\n  keelctl start -ai debian-shell   and go on in it")]
pub struct Args {
    /// Attach to its output and pass signals on; gives its exit status
    #[arg(short, long)]
    attach: bool,
    /// Attach to its input, too
    #[arg(short, long)]
    interactive: bool,
    /// The keys that detach from a terminal: ctrl-p,ctrl-q
    #[arg(long, value_name = "KEYS", value_parser = |text: &str| keys::keys(text).map(|_| text.to_owned()))]
    detach_keys: Option<String>,
    /// The containers
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// Runs the verb.
pub async fn run(args: Args, context: &Context) -> anyhow::Result<ExitCode> {
    let start = async |name: &str| context.client.act(&Target::container(name, "start")).await.map(drop);
    if !args.attach && !args.interactive {
        return each(context, &args.containers, start).await;
    }
    let [name] = args.containers.as_slice() else {
        anyhow::bail!("you cannot start and attach multiple containers at once")
    };
    let wish = Wish { input: args.interactive, proxy: true, detach_keys: args.detach_keys.as_deref(), started: false };
    attach(context, name, wish, start).await
}
