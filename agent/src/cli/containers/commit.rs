//! `keelctl commit`.

use std::process::ExitCode;

use bollard::models::{ContainerConfig, IdResponse};
use serde_json::json;

use super::Context;
use super::client::Target;
use super::common::told;
use super::format::name;

/// Make an image of what a container changed
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  keelctl commit -m 'with curl' -c 'CMD [\"curl\"]' shell debian-curl:1")]
pub struct Args {
    /// Who made it
    #[arg(short, long, value_name = "NAME")]
    author: Option<String>,
    /// Change the image's configuration, as a line of a Dockerfile does
    #[arg(short, long, value_name = "INSTRUCTION")]
    change: Vec<String>,
    /// A message, for its history
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
    /// Freeze the container meanwhile
    #[arg(short, long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value_t = true, default_missing_value = "true", action = clap::ArgAction::Set, hide_possible_values = true)]
    pause: bool,
    /// The container
    container: String,
    /// The name of the image
    #[arg(value_name = "REPOSITORY[:TAG]")]
    name: Option<String>,
}

/// Runs the verb.
pub async fn run(args: Args, context: &Context) -> anyhow::Result<ExitCode> {
    let (repository, tag) = match args.name.as_deref().map(name::tagged) {
        Some((repository, "<none>")) => (Some(repository), None),
        Some((repository, tag)) => (Some(repository), Some(tag)),
        None => (None, None),
    };
    let target = Target::new("/commit").with("container", &args.container).with("pause", args.pause);
    let target = target.with_some("repo", repository).with_some("tag", tag).with_some("author", args.author);
    let mut target = target.with_some("comment", args.message);
    for change in &args.change {
        target = target.with("changes", change);
    }
    let made: IdResponse = context.client.post(&target, &ContainerConfig::default()).await?;
    told(context, &made.id, json!({ "Id": made.id }))
}
