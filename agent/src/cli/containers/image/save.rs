//! `keelctl save`.

use std::path::PathBuf;
use std::process::ExitCode;

use hyper::Method;

use super::super::Context;
use super::super::client::{Body, Target};
use super::super::export;

/// Write images into an archive
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  keelctl save -o web.tar web:1 && scp web.tar other: && ssh other keelctl load -i web.tar"
)]
pub struct Args {
    /// Write to a file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The images
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
}

/// Runs the verb.
pub async fn run(args: Args, context: &Context) -> anyhow::Result<ExitCode> {
    export::check(args.output.as_deref())?;
    let target = match args.images.as_slice() {
        [image] => Target::image(image, "get"),
        images => images.iter().fold(Target::new("/images/get"), |target, image| target.with("names", image)),
    };
    let response = context.client.send(Method::GET, &target, Body::Empty).await?;
    export::write(response, args.output.as_deref()).await?;
    Ok(ExitCode::SUCCESS)
}
