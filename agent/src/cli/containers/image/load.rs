//! `keelctl load`.

use std::io::{self, IsTerminal, Read};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use hyper::Method;

use super::super::Context;
use super::super::client::{Body, Lines, Target, archive};
use super::super::terminal::progress::{Display, Progress, Show};

/// Take images from an archive
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  keelctl load -i web.tar")]
pub struct Args {
    /// Read from a file instead of standard input
    #[arg(short, long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Print nothing of how it goes
    #[arg(short, long)]
    quiet: bool,
}

/// Runs the verb.
pub async fn run(args: Args, context: &Context) -> anyhow::Result<ExitCode> {
    let source: Box<dyn Read + Send> = match &args.input {
        Some(path) => Box::new(std::fs::File::open(path).with_context(|| format!("open {}", path.display()))?),
        None => {
            anyhow::ensure!(!io::stdin().is_terminal(), "requested load from stdin, but stdin is empty");
            Box::new(io::stdin())
        }
    };
    let quiet = args.quiet || context.json || !io::stdout().is_terminal();
    let target = Target::new("/images/load").with("quiet", u8::from(quiet));
    let response = context.client.send(Method::POST, &target, Body::Archive(archive::read(source))).await?;
    let mut lines = Lines::new(response);
    if context.json {
        let mut steps = Vec::new();
        while let Some(step) = lines.next::<serde_json::Value>().await? {
            steps.push(step);
        }
        return super::super::common::document(&steps);
    }
    let mut display = Display::new(Show::Out);
    while let Some(progress) = lines.next::<Progress>().await? {
        display.show(progress)?;
    }
    Ok(ExitCode::SUCCESS)
}
