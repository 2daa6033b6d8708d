//! `keelctl create`, and the making of a container that `run` shares.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use anyhow::Context as _;
use bollard::models::{ContainerCreateBody, ContainerCreateResponse};
use serde_json::json;

use super::client::{Failure, Target};
use super::common::told;
use super::format::name::with_default_tag;
use super::options::Options;
use super::terminal::size;
use super::{Context, pull};

/// Make a container, and do not start it
#[derive(Debug, clap::Args)]
#[command(
    args_override_self = true,
    disable_help_flag = true,
    override_usage = "keelctl create [OPTIONS] IMAGE [COMMAND] [ARG...]",
    after_help = "Example:\n  keelctl create --name web -p 80:8080 registry.example/web:1 && keelctl start web"
)]
pub struct Args {
    /// Print help
    #[arg(long, action = clap::ArgAction::Help)]
    help: Option<bool>,
    #[command(flatten)]
    options: Options,
    #[command(flatten)]
    making: Making,
    /// The image, and what to run instead of its own command
    #[arg(trailing_var_arg = true, required = true, value_name = "IMAGE [COMMAND] [ARG...]")]
    image: Vec<String>,
}

/// The flags about making a container rather than about the container.
#[derive(Debug, clap::Args)]
pub struct Making {
    /// When to pull the image
    #[arg(long, value_name = "WHEN", value_parser = ["always", "missing", "never"], default_value = "missing")]
    pull: String,
    /// The platform of the image, where it has several: linux/amd64
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<String>,
    /// Write the container's id to a file, which must not exist
    #[arg(long, value_name = "FILE")]
    pub cidfile: Option<String>,
    /// Do not show how pulling goes
    #[arg(short, long)]
    quiet: bool,
}

/// Runs the verb.
pub async fn run(args: Args, context: &Context) -> anyhow::Result<ExitCode> {
    let Some((image, command)) = args.image.split_first() else { anyhow::bail!("an image is needed") };
    let name = args.options.basics.name.clone();
    let mut body = args.options.body(image, command)?;
    (body.attach_stdout, body.attach_stderr) = (Some(true), Some(true));
    body.attach_stdin = body.open_stdin;
    body.stdin_once = body.open_stdin;
    let id = make(context, body, name.as_deref(), &args.making).await?;
    told(context, &id, json!({ "Id": id }))
}

/// Makes the container, pulling its image where asked to or absent; its id.
pub async fn make(
    context: &Context,
    mut body: ContainerCreateBody,
    name: Option<&str>,
    making: &Making,
) -> anyhow::Result<String> {
    let mut cidfile = making.cidfile.as_deref().map(CidFile::open).transpose()?;
    if body.tty == Some(true)
        && io::stdout().is_terminal()
        && let Some((rows, columns)) = size::size()
        && let Some(host) = &mut body.host_config
    {
        host.console_size = Some(vec![rows.into(), columns.into()]);
    }
    let image = body.image.clone().unwrap_or_default();
    let get = async || pull::pull(context, &image, making.platform.as_deref(), pull::Show::stderr(making.quiet)).await;
    if making.pull == "always" {
        get().await?;
    }
    let target = Target::new("/containers/create").with_some("name", name);
    let target = target.with_some("platform", making.platform.as_deref());
    let made: anyhow::Result<ContainerCreateResponse> = context.client.post(&target, &body).await;
    let made = match made {
        Err(error) if making.pull == "missing" && is_image_absent(&error) => {
            if !making.quiet {
                eprintln!("Unable to find image '{}' locally", with_default_tag(&image));
            }
            get().await?;
            context.client.post(&target, &body).await?
        }
        made => made?,
    };
    for warning in &made.warnings {
        eprintln!("WARNING: {warning}");
    }
    if let Some(cidfile) = &mut cidfile {
        cidfile.write(&made.id)?;
    }
    Ok(made.id)
}

/// Whether the daemon has no such image, rather than no such container or network.
fn is_image_absent(error: &anyhow::Error) -> bool {
    Failure::status_of(error) == Some(404) && error.to_string().to_lowercase().contains("no such image")
}

/// A file for the id: made first, so that no container is without it, and removed where none came.
struct CidFile {
    path: String,
    file: std::fs::File,
    written: bool,
}

impl CidFile {
    fn open(path: &str) -> anyhow::Result<Self> {
        let made = std::fs::File::create_new(path);
        if made.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::AlreadyExists) {
            anyhow::bail!("container ID file found, make sure the other container isn't running or delete {path}");
        }
        let file = made.with_context(|| format!("failed to create the container ID file {path}"))?;
        Ok(Self { path: path.to_owned(), file, written: false })
    }

    fn write(&mut self, id: &str) -> anyhow::Result<()> {
        self.file
            .write_all(id.as_bytes())
            .with_context(|| format!("failed to write the container ID file {}", self.path))?;
        self.written = true;
        Ok(())
    }
}

impl Drop for CidFile {
    fn drop(&mut self) {
        if !self.written {
            // One that stays is empty, which says as much.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
