//! `keelctl cp`.

mod extract;
mod pack;
mod place;

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::BodyExt;
use hyper::{Method, Response};
use serde::Deserialize;

use super::Context;
use super::client::{Body, Failure, Target, archive};
use super::export;
use super::format::size;
use place::{Place, Side};

const STAT: &str = "X-Docker-Container-Path-Stat";
/// Links are followed so often.
const LINKS: usize = 10;

/// Copy files between a container and this host
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "keelctl cp [OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\n       keelctl cp [OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH",
    long_about = "Copies files and folders between a container, running or not, and this host. `-` in place of a path \
        of this host is a tar archive on standard input or output. A folder whose path ends in `/.` stands for what is \
        in it.",
    after_help = "Examples:\n  keelctl cp web:/var/log/web.log .\n  keelctl cp site/. web:/srv\n  keelctl cp web:/etc - | tar -t"
)]
pub struct Args {
    /// Keep owners and groups
    #[arg(short, long)]
    archive: bool,
    /// Copy what a link at SRC_PATH points to
    #[arg(short = 'L', long)]
    follow_link: bool,
    /// Do not say what was copied
    #[arg(short, long)]
    quiet: bool,
    /// From where
    #[arg(value_name = "SRC_PATH", allow_hyphen_values = true)]
    source: String,
    /// To where
    #[arg(value_name = "DEST_PATH", allow_hyphen_values = true)]
    target: String,
}

/// What is at a path of a container.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Stat {
    name: String,
    mode: u32,
    #[serde(rename = "linkTarget")]
    link_target: String,
}

impl Stat {
    /// Go's bits, not the kernel's.
    fn is_dir(&self) -> bool {
        self.mode & (1 << 31) != 0
    }

    fn is_link(&self) -> bool {
        self.mode & (1 << 27) != 0
    }
}

/// Runs the verb.
pub async fn run(args: Args, context: &Context) -> anyhow::Result<ExitCode> {
    let bytes = match (Place::parse(&args.source), Place::parse(&args.target)) {
        (Place::Container(name, path), Place::Local(target)) => from(&args, context, name, path, target).await?,
        (Place::Local(source), Place::Container(name, path)) => to(&args, context, source, name, path).await?,
        (Place::Container(..), Place::Container(..)) => anyhow::bail!("copying between containers is not supported"),
        (Place::Local(_), Place::Local(_)) => anyhow::bail!("must specify at least one container source"),
    };
    if !args.quiet && args.target != "-" && io::stdout().is_terminal() && !context.json {
        writeln!(io::stderr(), "Successfully copied {} to {}", size::decimal(bytes as i64), args.target)?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn from(args: &Args, context: &Context, name: &str, path: &str, target: &str) -> anyhow::Result<u64> {
    let mut path = place::absolute(path);
    if args.follow_link && !path.ends_with('/') {
        path = followed(context, name, path).await?.0;
    }
    let archive_at = Target::container(name, "archive").with("path", &path);
    if target == "-" {
        export::check(None)?;
        export::write(context.client.send(Method::GET, &archive_at, Body::Empty).await?, None).await?;
        return Ok(0);
    }
    let response = context.client.send(Method::GET, &archive_at, Body::Empty).await?;
    let source = Side { is_dir: stat_of(&response)?.is_dir(), path: &path };
    let found = std::fs::metadata(target).ok().map(|found| found.is_dir());
    let root = place::root(&source, target, found).map_err(|why| anyhow::anyhow!(why.describe(target)))?;
    let (sender, pieces) = archive::pipe();
    let ownership = args.archive;
    let unpacking = tokio::task::spawn_blocking(move || extract::extract(pieces, Path::new(&root), ownership));
    let mut body = response.into_body();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.context("the daemon went away before all was copied")?.into_data() else { continue };
        if sender.send(data).await.is_err() {
            break;
        }
    }
    drop(sender);
    unpacking.await?
}

async fn to(args: &Args, context: &Context, source: &str, name: &str, path: &str) -> anyhow::Result<u64> {
    let path = place::absolute(path);
    let (path, found) = match followed(context, name, path.clone()).await {
        Ok((followed, stat)) => (followed, Some(stat.is_dir())),
        Err(error) if Failure::status_of(&error) == Some(404) && !is_container_absent(&error) => (path, None),
        Err(error) => return Err(error),
    };
    let put = |folder: &str| {
        let target = Target::container(name, "archive").with("path", folder).with("noOverwriteDirNonDir", true);
        if args.archive { target.with("copyUIDGID", true) } else { target }
    };
    if source == "-" {
        anyhow::ensure!(found == Some(true), "destination \"{name}:{path}\" must be a directory");
        let body = Body::Archive(archive::read(Box::new(io::stdin())));
        context.client.send(Method::PUT, &put(&path), body).await?;
        return Ok(0);
    }
    let read = if args.follow_link { std::fs::metadata } else { std::fs::symlink_metadata };
    let metadata = read(source).with_context(|| format!("cannot copy {source}"))?;
    let side = Side { is_dir: metadata.is_dir(), path: source };
    let root = place::root(&side, &path, found).map_err(|why| anyhow::anyhow!(why.describe(&path)))?;
    let (folder, base) = place::split(&root);
    let (source, follow) = (source.to_owned(), args.follow_link);
    let bytes = pack::size(Path::new(&source), follow);
    let pieces = archive::make(move |to| pack::pack(Path::new(&source), &base, follow, to));
    context.client.send(Method::PUT, &put(&folder), Body::Archive(pieces)).await?;
    Ok(bytes)
}

fn is_container_absent(error: &anyhow::Error) -> bool {
    error.to_string().to_lowercase().contains("no such container")
}

/// The path that a path leads to, and what is there.
async fn followed(context: &Context, name: &str, path: String) -> anyhow::Result<(String, Stat)> {
    let mut path = path;
    for _ in 0..LINKS {
        let target = Target::container(name, "archive").with("path", &path);
        let stat = stat_of(&context.client.send(Method::HEAD, &target, Body::Empty).await?)?;
        if !stat.is_link() || stat.link_target.is_empty() {
            return Ok((path, stat));
        }
        path = place::linked(&path, &stat.link_target);
    }
    anyhow::bail!("too many links at {name}:{path}")
}

fn stat_of<B>(response: &Response<B>) -> anyhow::Result<Stat> {
    let header = response.headers().get(STAT).context("the daemon did not say what is at the path")?;
    let text = STANDARD.decode(header.as_bytes()).context("the daemon said oddly what is at the path")?;
    let stat: Stat = serde_json::from_slice(&text).context("the daemon said oddly what is at the path")?;
    tracing::debug!("found {}", stat.name);
    Ok(stat)
}
