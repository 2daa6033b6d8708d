//! `keelctl rm`.

use std::process::ExitCode;

use hyper::Method;

use super::Context;
use super::client::{Body, Failure, Target};
use super::common::each_with;

/// Remove containers
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  keelctl rm web\n  keelctl rm -f $(keelctl ps -aq)")]
pub struct Args {
    /// Kill what runs; an absent container is no error
    #[arg(short, long)]
    force: bool,
    /// Remove the anonymous volumes, too
    #[arg(short, long)]
    volumes: bool,
    /// Remove the link of this name, not a container
    #[arg(short, long)]
    link: bool,
    /// The containers
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// Runs the verb.
pub async fn run(args: Args, context: &Context) -> anyhow::Result<ExitCode> {
    each_with(context, &args.containers, async |given| {
        let name = given.trim_start_matches('/');
        anyhow::ensure!(!name.is_empty(), "container name cannot be empty");
        let target = Target::container(name, "").flag("v", args.volumes).flag("force", args.force);
        match context.client.send(Method::DELETE, &target.flag("link", args.link), Body::Empty).await {
            Err(error) if args.force && Failure::status_of(&error) == Some(404) => {
                eprintln!("{error}");
                Ok(String::new())
            }
            done => done.map(|_| given.to_owned()),
        }
    })
    .await
}
