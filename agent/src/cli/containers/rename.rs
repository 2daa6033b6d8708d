//! `keelctl rename`.

use std::process::ExitCode;

use super::Context;
use super::client::Target;

/// Give a container another name
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  keelctl rename web web-old")]
pub struct Args {
    /// The container
    container: String,
    /// Its new name
    new_name: String,
}

/// Runs the verb.
pub async fn run(args: Args, context: &Context) -> anyhow::Result<ExitCode> {
    let (old, new) = (args.container.trim(), args.new_name.trim());
    anyhow::ensure!(!old.is_empty() && !new.is_empty(), "Error: Neither old nor new names may be empty");
    context.client.act(&Target::container(old, "rename").with("name", new)).await?;
    Ok(ExitCode::SUCCESS)
}
