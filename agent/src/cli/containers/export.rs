//! `keelctl export`, and the saving of archives that `image save` shares.

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::{Method, Response};

use super::Context;
use super::client::{Body, Target};

/// Write the files of a container as a tar archive
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  keelctl export web | tar -t")]
pub struct Args {
    /// Write to a file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<std::path::PathBuf>,
    /// The container
    container: String,
}

/// Runs the verb.
pub async fn run(args: Args, context: &Context) -> anyhow::Result<ExitCode> {
    check(args.output.as_deref())?;
    let target = Target::container(&args.container, "export");
    let response = context.client.send(Method::GET, &target, Body::Empty).await?;
    write(response, args.output.as_deref()).await?;
    Ok(ExitCode::SUCCESS)
}

/// Refuses to fill a terminal with an archive.
pub fn check(output: Option<&Path>) -> anyhow::Result<()> {
    anyhow::ensure!(
        output.is_some() || !io::stdout().is_terminal(),
        "cowardly refusing to save to a terminal. Use the -o flag or redirect"
    );
    Ok(())
}

/// Writes an archive to standard output, or to a file that appears when it is whole.
pub async fn write(response: Response<Incoming>, output: Option<&Path>) -> anyhow::Result<()> {
    let Some(path) = output else { return copy(response, &mut io::stdout().lock()).await };
    let cannot = || format!("cannot write {}", path.display());
    if path.metadata().is_ok_and(|found| !found.is_file()) {
        // A device or a pipe is written to, not replaced.
        let mut file = std::fs::File::options().write(true).open(path).with_context(cannot)?;
        return copy(response, &mut file).await;
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder).with_context(cannot)?;
    copy(response, file.as_file_mut()).await.with_context(cannot)?;
    file.persist(path).with_context(cannot)?;
    Ok(())
}

async fn copy(response: Response<Incoming>, to: &mut impl Write) -> anyhow::Result<()> {
    let mut body = response.into_body();
    while let Some(frame) = body.frame().await {
        if let Some(data) = frame.context("the daemon went away before the archive was whole")?.data_ref() {
            to.write_all(data)?;
        }
    }
    Ok(to.flush()?)
}
