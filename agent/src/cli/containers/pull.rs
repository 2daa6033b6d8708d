//! `keelctl pull`, and the pulling that `run` and `create` share.

use std::process::ExitCode;

use hyper::Method;
use serde_json::json;

use super::Context;
use super::client::{Body, Lines, Target};
use super::common::told;
use super::format::name;
use super::login::auth;
use super::terminal::progress::{self, Progress};
use keelson_containers::images::reference;

pub use super::terminal::progress::Show;

/// Get an image from its registry
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  keelctl pull registry.example/web:1\n  keelctl pull registry.example/web@sha256:…"
)]
pub struct Args {
    /// Get all its tags
    #[arg(short, long)]
    all_tags: bool,
    /// The platform, where the image has several: linux/amd64
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<String>,
    /// Print its name only
    #[arg(short, long)]
    quiet: bool,
    /// The image
    #[arg(value_name = "NAME[:TAG|@DIGEST]")]
    image: String,
}

/// Runs the verb.
pub async fn run(args: Args, context: &Context) -> anyhow::Result<ExitCode> {
    let quiet = args.quiet || context.json;
    if args.all_tags {
        anyhow::ensure!(
            name::tagged(&args.image).1 == "<none>" && !args.image.contains('@'),
            "tag can't be used with --all-tags/-a"
        );
        let show = if quiet { Show::Nothing } else { Show::Out };
        stream(
            context,
            Target::new("/images/create").with("fromImage", &args.image),
            &args.image,
            args.platform.as_deref(),
            show,
        )
        .await?;
    } else {
        let image = name::with_default_tag(&args.image);
        if image != args.image && !quiet {
            super::super::print::line("Using default tag: latest")?;
        }
        pull(context, &image, args.platform.as_deref(), if quiet { Show::Nothing } else { Show::Out }).await?;
    }
    let whole = whole(&args.image);
    told(context, &whole, json!({ "name": whole }))
}

/// Pulls one image, with the credentials for its registry.
pub async fn pull(context: &Context, image: &str, platform: Option<&str>, show: Show) -> anyhow::Result<()> {
    let image = name::with_default_tag(image);
    let (repository, tag) = match image.split_once('@') {
        Some(parts) => parts,
        None => name::tagged(&image),
    };
    let target = Target::new("/images/create").with("fromImage", repository).with("tag", tag);
    stream(context, target, repository, platform, show).await
}

async fn stream(
    context: &Context,
    target: Target,
    repository: &str,
    platform: Option<&str>,
    show: Show,
) -> anyhow::Result<()> {
    let mut target = target.with_some("platform", platform);
    if let Some(auth) = auth::header(repository)? {
        target = target.header("X-Registry-Auth", auth);
    }
    let response = context.client.send(Method::POST, &target, Body::Empty).await?;
    let mut lines = Lines::new(response);
    let mut display = progress::Display::new(show);
    while let Some(progress) = lines.next::<Progress>().await? {
        display.show(progress)?;
    }
    Ok(())
}

/// The name with what is left out: `docker.io/library/debian:latest`.
fn whole(image: &str) -> String {
    reference::whole(image).unwrap_or_else(|_| image.to_owned())
}
