//! `keelctl logs`.

use std::process::ExitCode;

use anyhow::Context as _;
use bollard::models::ContainerInspectResponse;
use chrono::Local;
use http_body_util::BodyExt;
use hyper::Method;
use hyper::header::CONTENT_TYPE;

use super::Context;
use super::client::{Body, Frames, Target};
use super::parse::time;
use super::terminal::attach;

/// Show what a container printed
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  keelctl logs -f --tail 20 web\n  keelctl logs --since 10m -t web")]
pub struct Args {
    /// Go on as long as the container runs
    #[arg(short, long)]
    follow: bool,
    /// Put the time before each line
    #[arg(short, long)]
    timestamps: bool,
    /// Show the last N lines only
    #[arg(short = 'n', long, value_name = "N", default_value = "all")]
    tail: String,
    /// Show what came after: 10m, 2026-01-31T12:00:00, a Unix time
    #[arg(long, value_name = "WHEN", value_parser = |text: &str| time::moment(text, Local::now()))]
    since: Option<String>,
    /// Show what came before
    #[arg(long, value_name = "WHEN", value_parser = |text: &str| time::moment(text, Local::now()))]
    until: Option<String>,
    /// Show the details that the log driver was told to add
    #[arg(long)]
    details: bool,
    /// The container
    container: String,
}

/// Runs the verb.
pub async fn run(args: Args, context: &Context) -> anyhow::Result<ExitCode> {
    let target = Target::container(&args.container, "logs").with("stdout", 1).with("stderr", 1);
    let target = target.flag("follow", args.follow).flag("timestamps", args.timestamps).flag("details", args.details);
    let target = target.with("tail", &args.tail).with_some("since", args.since.as_deref());
    let target = target.with_some("until", args.until.as_deref());
    let response = context.client.send(Method::GET, &target, Body::Empty).await?;
    let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let tty = match kind {
        "application/vnd.docker.multiplexed-stream" => false,
        _ => has_tty(&args, context).await?,
    };
    let mut body = response.into_body();
    let mut frames = Frames::default();
    while let Some(frame) = body.frame().await {
        let frame = frame.context("the daemon went away")?;
        if let Some(data) = frame.data_ref() {
            attach::write(data, tty, &mut frames)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Daemons that do not say how they frame output do so where there is no terminal.
async fn has_tty(args: &Args, context: &Context) -> anyhow::Result<bool> {
    let container: ContainerInspectResponse = context.client.get(&Target::container(&args.container, "json")).await?;
    Ok(container.config.and_then(|config| config.tty).unwrap_or_default())
}
