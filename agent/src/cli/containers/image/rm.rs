//! `keelctl rmi`.

use std::process::ExitCode;

use bollard::models::ImageDeleteResponseItem;
use hyper::Method;

use super::super::Context;
use super::super::client::{Body, Failure, Target};
use super::super::common::each_with;

/// Remove images
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  keelctl rmi debian:12 registry.example/web:1")]
pub struct Args {
    /// Remove it also where a stopped container uses it; an absent image is no error
    #[arg(short, long)]
    force: bool,
    /// Leave its nameless parents
    #[arg(long)]
    no_prune: bool,
    /// The images
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
}

/// Runs the verb.
pub async fn run(args: Args, context: &Context) -> anyhow::Result<ExitCode> {
    each_with(context, &args.images, async |name| {
        let target = Target::image(name, "").flag("force", args.force).flag("noprune", args.no_prune);
        let done: anyhow::Result<Vec<ImageDeleteResponseItem>> =
            context.client.call(Method::DELETE, &target, Body::Empty).await;
        match done {
            Err(error) if args.force && Failure::status_of(&error) == Some(404) => {
                eprintln!("{error}");
                Ok(String::new())
            }
            done => Ok(text(&done?)),
        }
    })
    .await
}

/// What was removed, a line each.
pub fn text(removed: &[ImageDeleteResponseItem]) -> String {
    let lines = removed.iter().filter_map(|item| match (&item.deleted, &item.untagged) {
        (Some(id), _) => Some(format!("Deleted: {id}\n")),
        (None, Some(name)) => Some(format!("Untagged: {name}\n")),
        (None, None) => None,
    });
    lines.collect()
}
