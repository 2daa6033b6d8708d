//! `keelctl ps`.

use std::process::ExitCode;

use bollard::models::ContainerSummary;
use serde_json::{Value, json};

use super::Context;
use super::client::{Filters, Target};
use super::common::{document, text_block};
use super::format::choice::{Format, format};
use super::format::table::{Table, ellipsis, short};
use super::format::{ago, ports, size};

/// List containers
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  keelctl ps -a\n  keelctl ps -q --filter status=exited --filter label=tier=web\n  \
        keelctl ps --json | jq -r '.[].Names[0]'"
)]
pub struct Args {
    /// Show those that do not run, too
    #[arg(short, long)]
    all: bool,
    /// Show only the one made last, whatever its state
    #[arg(short, long)]
    latest: bool,
    /// Show only the N made last, whatever their state
    #[arg(short = 'n', long, value_name = "N")]
    last: Option<i64>,
    /// Show ids only
    #[arg(short, long)]
    quiet: bool,
    /// Show how much each wrote
    #[arg(short, long)]
    size: bool,
    /// Cut nothing short
    #[arg(long)]
    no_trunc: bool,
    /// Show only those that match: name, id, status, label, ancestor, exited, volume, network, …
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// json for an object a line, a Go template for each, or `table` and a template for columns
    #[arg(long, value_name = "FORMAT", value_parser = format)]
    format: Option<Format>,
}

/// Runs the verb.
pub async fn run(args: Args, context: &Context) -> anyhow::Result<ExitCode> {
    let limit = if args.latest { Some(1) } else { args.last.filter(|last| *last > 0) };
    let target = Target::new("/containers/json").flag("all", args.all).flag("size", args.size);
    let target = target.with_some("limit", limit).filters(&Filters::parse(&args.filter)?);
    let found: Value = context.client.get(&target).await?;
    if context.json {
        return document(&found);
    }
    let found: Vec<ContainerSummary> = serde_json::from_value(found)?;
    let whole = args.no_trunc;
    if args.quiet {
        let ids = found.iter().filter_map(|one| one.id.as_deref());
        let ids = ids.map(|id| format!("{}\n", if whole { id } else { short(id) }));
        return text_block(&ids.collect::<String>());
    }
    let now = ago::now();
    let objects = found.iter().map(|one| object(one, now, whole));
    if let Some(text) = Format::text(args.format.as_ref(), "CONTAINER", objects)? {
        return text_block(&text);
    }
    let mut headings = vec!["CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"];
    if args.size {
        headings.push("SIZE");
    }
    let mut table = Table::new(&headings);
    for one in &found {
        let mut row = cells(one, now, whole);
        if args.size {
            row.push(sizes(one));
        }
        table.row(row);
    }
    text_block(&table.text())
}

fn cells(one: &ContainerSummary, now: i64, whole: bool) -> Vec<String> {
    let id = one.id.as_deref().unwrap_or_default();
    vec![
        if whole { id } else { short(id) }.to_owned(),
        image(one, whole),
        command(one, whole),
        ago::ago(one.created.unwrap_or_default(), now),
        one.status.clone().unwrap_or_default(),
        ports::column(one.ports.as_deref().unwrap_or_default()),
        names(one, whole),
    ]
}

fn image(one: &ContainerSummary, whole: bool) -> String {
    let image = one.image.as_deref().unwrap_or_default();
    match image {
        "" => "<no image>".to_owned(),
        image if whole => image.to_owned(),
        image if image.starts_with("sha256:") => short(image).to_owned(),
        // a:1@sha256:…: the tag says enough.
        image => {
            image.split_once('@').filter(|(name, _)| name.contains(':')).map_or(image, |(name, _)| name).to_owned()
        }
    }
}

fn command(one: &ContainerSummary, whole: bool) -> String {
    let command = one.command.as_deref().unwrap_or_default();
    let command = if whole { command.to_owned() } else { ellipsis(command, 20) };
    format!("\"{}\"", command.escape_default().to_string().replace("\\'", "'").replace("\\u{2026}", "…"))
}

/// The names; those that links gave only where nothing is cut.
fn names(one: &ContainerSummary, whole: bool) -> String {
    let names = one.names.iter().flatten().map(|name| name.trim_start_matches('/'));
    names.filter(|name| whole || !name.contains('/')).collect::<Vec<_>>().join(",")
}

fn sizes(one: &ContainerSummary) -> String {
    let own = size::decimal(one.size_rw.unwrap_or_default());
    match one.size_root_fs {
        Some(all) if all > 0 => format!("{own} (virtual {})", size::decimal(all)),
        _ => own,
    }
}

fn object(one: &ContainerSummary, now: i64, whole: bool) -> Value {
    let labels = one.labels.iter().flatten();
    let mounts: Vec<&str> = one
        .mounts
        .iter()
        .flatten()
        .filter_map(|mount| mount.name.as_deref().filter(|name| !name.is_empty()).or(mount.source.as_deref()))
        .collect();
    let networks = one.network_settings.iter().flat_map(|settings| settings.networks.iter().flatten());
    let id = one.id.as_deref().unwrap_or_default();
    json!({
        "Command": command(one, whole),
        "CreatedAt": ago::date(one.created.unwrap_or_default()),
        "ID": if whole { id } else { short(id) },
        "Image": image(one, whole),
        "Labels": labels.map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(","),
        "LocalVolumes": one.mounts.iter().flatten().filter(|mount| mount.driver.as_deref() == Some("local")).count().to_string(),
        "Mounts": mounts.join(","),
        "Names": names(one, whole),
        "Networks": networks.map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(","),
        "Ports": ports::column(one.ports.as_deref().unwrap_or_default()),
        "RunningFor": ago::ago(one.created.unwrap_or_default(), now),
        "Size": sizes(one),
        "State": one.state.map(|state| state.to_string()).unwrap_or_default(),
        "Status": one.status.clone().unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one() -> ContainerSummary {
        ContainerSummary {
            id: Some("0123456789abcdef".into()),
            image: Some("busybox".into()),
            command: Some("sh -c 'echo \"hello world\"'".into()),
            created: Some(100),
            names: Some(vec!["/web".into(), "/other/db".into()]),
            status: Some("Up 2 minutes".into()),
            size_rw: Some(10),
            size_root_fs: Some(1_981_234),
            ..ContainerSummary::default()
        }
    }

    #[test]
    fn a_line() {
        let row = cells(&one(), 220, false);
        assert_eq!(
            row[..5],
            ["0123456789ab", "busybox", "\"sh -c 'echo \\\"hello …\"", "2 minutes ago", "Up 2 minutes"]
        );
        assert_eq!(row[6], "web");
        assert_eq!(names(&one(), true), "web,other/db");
        assert_eq!(sizes(&one()), "10B (virtual 1.98MB)");
    }

    #[test]
    fn images_by_digest_or_id() {
        let of = |name: &str| image(&ContainerSummary { image: Some(name.into()), ..one() }, false);
        assert_eq!(of("sha256:0123456789abcdef"), "0123456789ab");
        assert_eq!(of("a:1@sha256:2"), "a:1");
        assert_eq!(of("a@sha256:2"), "a@sha256:2");
    }
}
