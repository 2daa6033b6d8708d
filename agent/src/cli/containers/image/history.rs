//! `keelctl image history`.

use std::process::ExitCode;

use bollard::models::ImageHistoryResponseItem;
use serde_json::{Value, json};

use super::super::Context;
use super::super::client::Target;
use super::super::common::{document, text_block};
use super::super::format::choice::{Format, format};
use super::super::format::table::{Table, ellipsis, short};
use super::super::format::{ago, size};

/// The arguments of `image history`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  keelctl image history --no-trunc debian:13")]
pub struct Args {
    /// Cut nothing short
    #[arg(long)]
    no_trunc: bool,
    /// Show ids only
    #[arg(short, long)]
    quiet: bool,
    /// json for an object a line, a Go template for each, or `table` and a template for columns
    #[arg(long, value_name = "FORMAT", value_parser = format)]
    format: Option<Format>,
    /// The image
    image: String,
}

/// Runs the verb.
pub async fn run(args: Args, context: &Context) -> anyhow::Result<ExitCode> {
    let found: Value = context.client.get(&Target::image(&args.image, "history")).await?;
    if context.json {
        return document(&found);
    }
    let found: Vec<ImageHistoryResponseItem> = serde_json::from_value(found)?;
    let (now, whole) = (ago::now(), args.no_trunc);
    let id = |item: &ImageHistoryResponseItem| if whole { item.id.clone() } else { short(&item.id).to_owned() };
    if args.quiet {
        return text_block(&found.iter().map(|item| format!("{}\n", id(item))).collect::<String>());
    }
    let by = |item: &ImageHistoryResponseItem| {
        let text = item.created_by.replace('\t', " ");
        if whole { text } else { ellipsis(&text, 45) }
    };
    let objects = found.iter().map(|item| {
        json!({
            "Comment": item.comment,
            "CreatedAt": ago::date(item.created),
            "CreatedBy": by(item),
            "CreatedSince": ago::ago(item.created, now),
            "ID": id(item),
            "Size": size::decimal(item.size),
        })
    });
    if let Some(text) = Format::text(args.format.as_ref(), "IMAGE", objects)? {
        return text_block(&text);
    }
    let mut table = Table::new(&["IMAGE", "CREATED", "CREATED BY", "SIZE", "COMMENT"]);
    for item in &found {
        let created = if item.created > 0 { ago::ago(item.created, now) } else { "N/A".to_owned() };
        table.row(vec![id(item), created, by(item), size::decimal(item.size), item.comment.clone()]);
    }
    text_block(&table.text())
}
