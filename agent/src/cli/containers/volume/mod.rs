//! `keelctl volume`.

use std::collections::HashMap;
use std::process::ExitCode;

use bollard::models::{Volume, VolumeCreateRequest, VolumeListResponse, VolumePruneResponse};
use clap::Subcommand;
use hyper::Method;
use serde_json::{Value, json};

use super::client::{Body, Failure, Filters, Target};
use super::common::{document, each, sure, text_block, told};
use super::format::choice::{Format, format};
use super::format::size;
use super::format::table::Table;
use super::parse::environment;
use super::{Context, inspect};

/// Everything about volumes: list, create, inspect, remove, prune
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// List volumes
    #[command(visible_alias = "list")]
    Ls(Ls),
    /// Make a volume
    Create(Create),
    /// Show everything about volumes, as a JSON array
    Inspect(Names),
    /// Remove volumes that no container uses
    #[command(visible_alias = "remove")]
    Rm(Rm),
    /// Remove all volumes that no container uses: those without a name, or all
    Prune(Prune),
}

/// The arguments of `volume ls`.
#[derive(Debug, clap::Args)]
pub struct Ls {
    /// Only those that match: dangling, driver, label, name
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// Show names only
    #[arg(short, long)]
    quiet: bool,
    /// json for an object a line, a Go template for each, or `table` and a template for columns
    #[arg(long, value_name = "FORMAT", value_parser = format)]
    format: Option<Format>,
}

/// The arguments of `volume create`.
#[derive(Debug, clap::Args)]
pub struct Create {
    /// What keeps it
    #[arg(short, long, default_value = "local")]
    driver: String,
    /// Set a label
    #[arg(long, value_name = "KEY[=VALUE]")]
    label: Vec<String>,
    /// Set an option of the driver
    #[arg(short, long, value_name = "KEY=VALUE")]
    opt: Vec<String>,
    /// Its name; a random one where none is given
    name: Option<String>,
}

/// The arguments of `volume inspect`.
#[derive(Debug, clap::Args)]
pub struct Names {
    /// A Go template for each instead of the array, or json for a document a line
    #[arg(short = 'f', long = "format", value_name = "TEMPLATE", value_parser = inspect::shape)]
    shape: Option<inspect::Shape>,
    /// The volumes
    #[arg(required = true, value_name = "VOLUME")]
    volumes: Vec<String>,
}

/// The arguments of `volume rm`.
#[derive(Debug, clap::Args)]
pub struct Rm {
    /// An absent volume is no error
    #[arg(short, long)]
    force: bool,
    /// The volumes
    #[arg(required = true, value_name = "VOLUME")]
    volumes: Vec<String>,
}

/// The arguments of `volume prune`.
#[derive(Debug, clap::Args)]
pub struct Prune {
    /// Remove those with a name, too
    #[arg(short, long)]
    all: bool,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
    /// Only those that match: label=…
    #[arg(long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
}

/// Runs a verb.
pub async fn run(verb: Verb, context: &Context) -> anyhow::Result<ExitCode> {
    match verb {
        Verb::Ls(args) => ls(args, context).await,
        Verb::Create(args) => create(args, context).await,
        Verb::Inspect(args) => {
            inspect::all(&args.volumes, args.shape.as_ref(), async |name| {
                context.client.get(&Target::of("volumes", name, "")).await
            })
            .await
        }
        Verb::Rm(args) => {
            each(context, &args.volumes, async |name| {
                let target = Target::of("volumes", name, "").flag("force", args.force);
                match context.client.send(Method::DELETE, &target, Body::Empty).await {
                    Err(error) if args.force && Failure::status_of(&error) == Some(404) => Ok(()),
                    done => done.map(drop),
                }
            })
            .await
        }
        Verb::Prune(args) => prune(args, context).await,
    }
}

async fn ls(args: Ls, context: &Context) -> anyhow::Result<ExitCode> {
    let target = Target::new("/volumes").filters(&Filters::parse(&args.filter)?);
    let found: VolumeListResponse = context.client.get(&target).await?;
    let mut volumes = found.volumes.unwrap_or_default();
    volumes.sort_by(|one, other| one.name.cmp(&other.name));
    if context.json {
        return document(&volumes);
    }
    if args.quiet {
        return text_block(&volumes.iter().map(|volume| format!("{}\n", volume.name)).collect::<String>());
    }
    if let Some(text) = Format::text(args.format.as_ref(), "VOLUME", volumes.iter().map(object))? {
        return text_block(&text);
    }
    let mut table = Table::new(&["DRIVER", "VOLUME NAME"]);
    for volume in volumes {
        table.row(vec![volume.driver, volume.name]);
    }
    text_block(&table.text())
}

fn object(volume: &Volume) -> Value {
    let labels: Vec<String> = volume.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    json!({
        "Driver": volume.driver,
        "Labels": labels.join(","),
        "Mountpoint": volume.mountpoint,
        "Name": volume.name,
        "Scope": volume.scope.map(|scope| scope.to_string()).unwrap_or_default(),
    })
}

async fn create(args: Create, context: &Context) -> anyhow::Result<ExitCode> {
    let request = VolumeCreateRequest {
        name: args.name,
        driver: Some(args.driver),
        driver_opts: some(environment::map(args.opt)),
        labels: some(environment::map(args.label)),
        ..VolumeCreateRequest::default()
    };
    let made: Volume = context.client.post(&Target::new("/volumes/create"), &request).await?;
    told(context, &made.name, json!({ "Name": made.name }))
}

fn some(map: HashMap<String, String>) -> Option<HashMap<String, String>> {
    (!map.is_empty()).then_some(map)
}

async fn prune(args: Prune, context: &Context) -> anyhow::Result<ExitCode> {
    let what = if args.all {
        "all volumes not used by at least one container"
    } else {
        "anonymous local volumes not used by at least one container"
    };
    if !args.force && !sure(context, what)? {
        return Ok(ExitCode::SUCCESS);
    }
    let mut filters = Filters::parse(&args.filter)?;
    if args.all {
        filters.add("all", "true");
    }
    let target = Target::new("/volumes/prune").filters(&filters);
    let done: VolumePruneResponse = context.client.call(Method::POST, &target, Body::Empty).await?;
    if context.json {
        return document(&done);
    }
    let removed = done.volumes_deleted.unwrap_or_default();
    let mut out = String::new();
    if !removed.is_empty() {
        out = format!("Deleted Volumes:\n{}\n\n", removed.join("\n"));
    }
    text_block(&format!("{out}Total reclaimed space: {}\n", size::decimal4(done.space_reclaimed.unwrap_or_default())))
}
