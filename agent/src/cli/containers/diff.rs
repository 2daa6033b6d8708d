//! `keelctl diff`.

use std::process::ExitCode;

use bollard::models::{ChangeType, FilesystemChange};

use super::Context;
use super::client::Target;
use super::common::{document, text_block};

/// Show what a container added (A), changed (C) and deleted (D) against its image
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  keelctl diff web")]
pub struct Args {
    /// The container
    container: String,
}

/// Runs the verb.
pub async fn run(args: Args, context: &Context) -> anyhow::Result<ExitCode> {
    let changes: Option<Vec<FilesystemChange>> =
        context.client.get(&Target::container(&args.container, "changes")).await?;
    let changes = changes.unwrap_or_default();
    if context.json {
        return document(&changes);
    }
    let letter = |kind: &ChangeType| match kind {
        ChangeType::_0 => 'C',
        ChangeType::_1 => 'A',
        ChangeType::_2 => 'D',
    };
    let lines = changes.iter().map(|change| format!("{} {}\n", letter(&change.kind), change.path));
    text_block(&lines.collect::<String>())
}
