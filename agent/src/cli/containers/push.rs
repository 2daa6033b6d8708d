//! `keelctl push`.

use std::process::ExitCode;

use hyper::Method;
use serde_json::json;

use super::Context;
use super::client::{Body, Lines, Target};
use super::common::told;
use super::format::name;
use super::login::auth;
use super::terminal::progress::{Display, Progress, Show};

/// Put an image into its registry
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  keelctl tag web registry.example/web:1 && keelctl push registry.example/web:1")]
pub struct Args {
    /// Put all its tags
    #[arg(short, long)]
    all_tags: bool,
    /// Print its name only
    #[arg(short, long)]
    quiet: bool,
    /// The image
    #[arg(value_name = "NAME[:TAG]")]
    image: String,
}

/// Runs the verb.
pub async fn run(args: Args, context: &Context) -> anyhow::Result<ExitCode> {
    let quiet = args.quiet || context.json;
    let (repository, tag) = match name::tagged(&args.image) {
        (_, tag) if args.all_tags && tag != "<none>" => anyhow::bail!("tag can't be used with --all-tags/-a"),
        (repository, _) if args.all_tags => (repository, None),
        (repository, "<none>") => {
            if !quiet {
                super::super::print::line("Using default tag: latest")?;
            }
            (repository, Some("latest"))
        }
        (repository, tag) => (repository, Some(tag)),
    };
    // A daemon takes no push without this header, so there is one also where nobody logged in.
    let auth = auth::header(repository)?.unwrap_or_else(auth::nobody);
    let target = Target::image(repository, "push").with_some("tag", tag).header("X-Registry-Auth", auth);
    let mut lines = Lines::new(context.client.send(Method::POST, &target, Body::Empty).await?);
    let mut display = Display::new(if quiet { Show::Nothing } else { Show::Out });
    while let Some(progress) = lines.next::<Progress>().await? {
        display.show(progress)?;
    }
    drop(display);
    match quiet {
        true => told(context, &args.image, json!({ "name": args.image })),
        false => Ok(ExitCode::SUCCESS),
    }
}
