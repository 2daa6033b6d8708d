//! The verb `serve`: a repository over HTTP.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use keelson_common::signals;

use crate::serve::Server;

/// Serve a repository over HTTP
///
/// Answers GET and HEAD, with ranges, for the files of an archive repository and nothing outside
/// it, until SIGINT or SIGTERM. Hosts verify what they pull by its signature, so plain HTTP is
/// enough; any static web server pointed at the folder does as well. With -v every request is
/// logged.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  keelson serve\n  keelson serve --listen 0.0.0.0:8080 --repo /srv/repo\n  \
    keelson serve -v --listen 127.0.0.1:0    # a free port, which the first line names")]
pub struct Args {
    /// The repository
    #[arg(long, value_name = "DIR", default_value = super::DEFAULT_REPO)]
    repo: PathBuf,
    /// Address and port to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080", value_parser = address)]
    listen: String,
}

/// Runs the verb.
pub fn run(args: Args) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(serve(&args.repo, &args.listen))?;
    Ok(ExitCode::SUCCESS)
}

async fn serve(repo: &Path, listen: &str) -> Result<()> {
    let server = Server::bind(repo, listen).await?;
    let stop = signals::stopped().context("cannot wait for signals")?;
    let mut stdout = io::stdout();
    writeln!(stdout, "serving {} at http://{}/", repo.display(), server.address())?;
    stdout.flush()?;
    Ok(server.run(stop).await?)
}

fn address(text: &str) -> Result<String, String> {
    let good = text.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    if good { Ok(text.to_owned()) } else { Err("an address and a port, like 127.0.0.1:8080 or [::]:8080".to_owned()) }
}
