//! `keelctl images`.

use std::process::ExitCode;

use bollard::models::ImageSummary;
use serde_json::{Value, json};

use super::super::Context;
use super::super::client::{Filters, Target};
use super::super::common::{document, text_block};
use super::super::format::choice::{Format, format};
use super::super::format::table::{Table, short};
use super::super::format::{ago, name, size};

const NONE: &str = "<none>";

/// List images
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  keelctl images\n  keelctl images debian\n  keelctl images -q --filter dangling=true"
)]
pub struct Args {
    /// Show intermediate images, too
    #[arg(short, long)]
    all: bool,
    /// Show digests
    #[arg(long)]
    digests: bool,
    /// Show only those that match: dangling, label, before, since, reference
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// Cut nothing short
    #[arg(long)]
    no_trunc: bool,
    /// Show ids only
    #[arg(short, long)]
    quiet: bool,
    /// json for an object a line, a Go template for each, or `table` and a template for columns
    #[arg(long, value_name = "FORMAT", value_parser = format)]
    format: Option<Format>,
    /// Only this repository, or pattern
    #[arg(value_name = "REPOSITORY[:TAG]")]
    reference: Option<String>,
}

/// A line of the table.
struct Row<'a> {
    repository: &'a str,
    tag: &'a str,
    digest: &'a str,
    image: &'a ImageSummary,
}

/// Runs the verb.
pub async fn run(args: Args, context: &Context) -> anyhow::Result<ExitCode> {
    let mut filters = Filters::parse(&args.filter)?;
    if let Some(reference) = &args.reference {
        filters.add("reference", reference);
    }
    let target = Target::new("/images/json").flag("all", args.all).flag("digests", args.digests).filters(&filters);
    let found: Value = context.client.get(&target).await?;
    if context.json {
        return document(&found);
    }
    let mut found: Vec<ImageSummary> = serde_json::from_value(found)?;
    found.sort_by_key(|image| -image.created);
    let id = |image: &ImageSummary| if args.no_trunc { image.id.clone() } else { short(&image.id).to_owned() };
    let rows: Vec<Row> = found.iter().flat_map(|image| rows(image, args.digests)).collect();
    let now = ago::now();
    if args.quiet {
        let ids = rows.iter().map(|row| format!("{}\n", id(row.image)));
        return text_block(&ids.collect::<String>());
    }
    let objects = rows.iter().map(|row| object(row, now, id(row.image)));
    if let Some(text) = Format::text(args.format.as_ref(), "IMAGE", objects)? {
        return text_block(&text);
    }
    let mut headings = vec!["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE"];
    if args.digests {
        headings.insert(2, "DIGEST");
    }
    let mut table = Table::new(&headings);
    for row in &rows {
        let mut cells = vec![row.repository.to_owned(), row.tag.to_owned()];
        if args.digests {
            cells.push(row.digest.to_owned());
        }
        let created = if row.image.created > 0 { ago::ago(row.image.created, now) } else { "N/A".to_owned() };
        cells.extend([id(row.image), created, size::decimal(row.image.size)]);
        table.row(cells);
    }
    text_block(&table.text())
}

/// A line for each tag; with digests, or without tags, one for each repository at least.
fn rows(image: &ImageSummary, digests: bool) -> Vec<Row<'_>> {
    let known = |name: &&str| !name.starts_with(NONE);
    let tags: Vec<&str> = image.repo_tags.iter().map(String::as_str).filter(known).collect();
    let by_digest: Vec<&str> = image.repo_digests.iter().map(String::as_str).filter(known).collect();
    let digest_of = |repository: &str| {
        let digest = by_digest.iter().map(|name| name::digested(name)).find(|(owner, _)| *owner == repository);
        digest.map_or(NONE, |(_, digest)| digest)
    };
    let mut rows: Vec<Row> = Vec::new();
    for name in &tags {
        let (repository, tag) = name::tagged(name);
        let digest = if digests { digest_of(repository) } else { NONE };
        rows.push(Row { repository, tag, digest, image });
    }
    for name in &by_digest {
        let (repository, digest) = name::digested(name);
        if !rows.iter().any(|row| row.repository == repository) {
            rows.push(Row { repository, tag: NONE, digest, image });
        }
    }
    if rows.is_empty() {
        rows.push(Row { repository: NONE, tag: NONE, digest: NONE, image });
    }
    rows
}

fn object(row: &Row, now: i64, id: String) -> Value {
    let image = row.image;
    json!({
        "Containers": if image.containers >= 0 { image.containers.to_string() } else { "N/A".to_owned() },
        "CreatedAt": ago::date(image.created),
        "CreatedSince": ago::ago(image.created, now),
        "Digest": row.digest,
        "ID": id,
        "Repository": row.repository,
        "SharedSize": if image.shared_size >= 0 { size::decimal(image.shared_size) } else { "N/A".to_owned() },
        "Size": size::decimal(image.size),
        "Tag": row.tag,
        "UniqueSize": "N/A",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_for_each_name() {
        let image = ImageSummary {
            repo_tags: vec!["a:1".into(), "a:2".into(), "<none>:<none>".into()],
            repo_digests: vec!["a@sha256:1".into(), "b@sha256:2".into()],
            ..ImageSummary::default()
        };
        let of = |digests| {
            rows(&image, digests)
                .into_iter()
                .map(|row| [row.repository, row.tag, row.digest].join(" "))
                .collect::<Vec<_>>()
        };
        assert_eq!(of(true), ["a 1 sha256:1", "a 2 sha256:1", "b <none> sha256:2"]);
        assert_eq!(of(false), ["a 1 <none>", "a 2 <none>", "b <none> sha256:2"]);
        let nameless = ImageSummary::default();
        assert_eq!(rows(&nameless, false).len(), 1);
    }
}
