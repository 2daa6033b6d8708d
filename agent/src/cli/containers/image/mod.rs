//! The verbs about images: those at the top, and `keelctl image`.

pub mod history;
pub mod load;
pub mod ls;
pub mod prune;
pub mod rm;
pub mod save;
pub mod tag;

use std::process::ExitCode;

use clap::Subcommand;

use super::client::Target;
use super::{Context, inspect, pull, push};

/// Everything about images: list, inspect, remove, prune, their history
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// List images
    #[command(visible_alias = "list")]
    Ls(ls::Args),
    /// Show everything about images, as a JSON array
    Inspect(Inspect),
    /// Show how an image came about, layer by layer
    History(history::Args),
    /// Get an image from its registry
    Pull(pull::Args),
    /// Put an image into its registry
    Push(push::Args),
    /// Remove images
    #[command(visible_alias = "remove")]
    Rm(rm::Args),
    /// Remove images that nothing uses
    Prune(prune::Args),
    /// Give an image another name
    Tag(tag::Args),
    /// Write images into an archive
    Save(save::Args),
    /// Take images from an archive
    Load(load::Args),
}

/// The arguments of `image inspect`.
#[derive(Debug, clap::Args)]
pub struct Inspect {
    /// A Go template for each instead of the array, or json for a document a line
    #[arg(short = 'f', long = "format", value_name = "TEMPLATE", value_parser = inspect::shape)]
    shape: Option<inspect::Shape>,
    /// The images
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
}

/// Runs a verb.
pub async fn run(verb: Verb, context: &Context) -> anyhow::Result<ExitCode> {
    match verb {
        Verb::Ls(args) => ls::run(args, context).await,
        Verb::Inspect(args) => {
            let get = async |name: &str| context.client.get(&Target::image(name, "json")).await;
            inspect::all(&args.images, args.shape.as_ref(), get).await
        }
        Verb::History(args) => history::run(args, context).await,
        Verb::Pull(args) => pull::run(args, context).await,
        Verb::Push(args) => push::run(args, context).await,
        Verb::Rm(args) => rm::run(args, context).await,
        Verb::Prune(args) => prune::run(args, context).await,
        Verb::Tag(args) => tag::run(args, context).await,
        Verb::Save(args) => save::run(args, context).await,
        Verb::Load(args) => load::run(args, context).await,
    }
}
