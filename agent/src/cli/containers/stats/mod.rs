//! `keelctl stats`.

mod usage;

use std::collections::BTreeMap;
use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::time::Duration;

use bollard::models::{ContainerStatsResponse, ContainerSummary, EventMessage};
use futures_util::StreamExt;
use futures_util::stream::{BoxStream, SelectAll};
use hyper::Method;

use super::super::print;
use super::Context;
use super::client::{Body, Filters, Lines, Target};
use super::common::{document, text_block};
use super::format::choice::{Format, format};
use super::format::table::Table;
use usage::Usage;

/// How often the table is drawn.
const REFRESH: Duration = Duration::from_millis(500);

/// Show what containers use up, as it changes
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Shows what containers use up: once a second on a terminal, or once with --no-stream. With --format \
        json each line is an object.",
    after_help = "Examples:\n  keelctl stats\n  keelctl stats --no-stream web db"
)]
pub struct Args {
    /// Show those that do not run, too
    #[arg(short, long)]
    all: bool,
    /// Show one measurement and end
    #[arg(long)]
    no_stream: bool,
    /// Cut nothing short
    #[arg(long)]
    no_trunc: bool,
    /// json for an object a line, a Go template for each, or `table` and a template for columns
    #[arg(long, value_name = "FORMAT", value_parser = format)]
    format: Option<Format>,
    /// The containers; all that run where none is named
    #[arg(value_name = "CONTAINER")]
    containers: Vec<String>,
}

type Measured = (String, anyhow::Result<ContainerStatsResponse>);

/// Runs the verb.
pub async fn run(args: Args, context: &Context) -> anyhow::Result<ExitCode> {
    let names = match args.containers.is_empty() {
        false => args.containers.clone(),
        true => {
            let target = Target::new("/containers/json").flag("all", args.all);
            let found: Vec<ContainerSummary> = context.client.get(&target).await?;
            found.into_iter().filter_map(|one| one.id).collect()
        }
    };
    if args.no_stream || context.json {
        return once(&args, context, &names).await;
    }
    live(&args, context, names).await
}

async fn once(args: &Args, context: &Context, names: &[String]) -> anyhow::Result<ExitCode> {
    let one = async |name: &String| {
        let target = Target::container(name, "stats").with("stream", false);
        context.client.get::<ContainerStatsResponse>(&target).await
    };
    let found: Vec<_> = futures_util::future::join_all(names.iter().map(one)).await;
    let found: Vec<ContainerStatsResponse> = found.into_iter().collect::<anyhow::Result<_>>()?;
    if context.json {
        return document(&found);
    }
    let rows: Vec<Usage> = found.iter().map(Usage::new).collect();
    show(args, rows.iter())
}

fn show<'a>(args: &Args, rows: impl Iterator<Item = &'a Usage>) -> anyhow::Result<ExitCode> {
    let rows: Vec<&Usage> = rows.collect();
    let objects = rows.iter().map(|row| row.object(args.no_trunc));
    match Format::text(args.format.as_ref(), "CONTAINER", objects)? {
        Some(text) => text_block(&text),
        None => text_block(&table(rows.into_iter(), args.no_trunc)),
    }
}

fn table<'a>(rows: impl Iterator<Item = &'a Usage>, whole: bool) -> String {
    let mut table =
        Table::new(&["CONTAINER ID", "NAME", "CPU %", "MEM USAGE / LIMIT", "MEM %", "NET I/O", "BLOCK I/O", "PIDS"]);
    for row in rows {
        table.row(row.cells(whole));
    }
    table.text()
}

/// Draws again and again; where all containers are meant, those that start are added.
async fn live(args: &Args, context: &Context, names: Vec<String>) -> anyhow::Result<ExitCode> {
    let mut filters = Filters::default();
    for (key, value) in [("type", "container"), ("event", "start"), ("event", "die"), ("event", "destroy")] {
        filters.add(key, value);
    }
    let named = !args.containers.is_empty();
    let mut events =
        Lines::new(context.client.send(Method::GET, &Target::new("/events").filters(&filters), Body::Empty).await?);
    let mut measured: SelectAll<BoxStream<'static, Measured>> = SelectAll::new();
    for name in names {
        measured.push(follow(context, &name).await?);
    }
    let mut rows = BTreeMap::<String, Usage>::new();
    let mut tick = tokio::time::interval_at(tokio::time::Instant::now() + REFRESH, REFRESH);
    loop {
        tokio::select! {
            Some((name, stats)) = measured.next() => match stats {
                Ok(stats) => _ = rows.insert(name, Usage::new(&stats)),
                Err(error) if named => return Err(error),
                Err(_) => _ = rows.remove(&name),
            },
            event = events.next::<EventMessage>() => {
                let Some(event) = event? else { return Ok(ExitCode::SUCCESS) };
                let id = event.actor.and_then(|actor| actor.id).unwrap_or_default();
                match event.action.as_deref() {
                    Some("start") if !named && !rows.contains_key(&id) => measured.push(follow(context, &id).await?),
                    Some("start") | None => {}
                    Some(action) => if !args.all || action == "destroy" {
                        rows.retain(|name, row| *name != id && row.id() != id);
                    },
                }
            }
            _ = tick.tick() => draw(args, &rows)?,
        }
        if named && measured.is_empty() {
            return Ok(ExitCode::SUCCESS);
        }
    }
}

async fn follow(context: &Context, name: &str) -> anyhow::Result<BoxStream<'static, Measured>> {
    let target = Target::container(name, "stats").with("stream", true);
    let lines = Lines::new(context.client.send(Method::GET, &target, Body::Empty).await?);
    let name = name.to_owned();
    let stream = futures_util::stream::unfold((lines, name), async |(mut lines, name)| {
        let stats = lines.next().await.transpose()?;
        Some(((name.clone(), stats), (lines, name)))
    });
    Ok(stream.boxed())
}

/// From the top of the terminal, each line cleared behind what is written.
fn draw(args: &Args, rows: &BTreeMap<String, Usage>) -> anyhow::Result<()> {
    if !matches!(args.format, None | Some(Format::Table)) || !io::stdout().is_terminal() {
        show(args, rows.values())?;
        return Ok(());
    }
    let text = table(rows.values(), args.no_trunc).replace('\n', "\x1b[K\n");
    print::line(&format!("\x1b[H{text}\x1b[J"))
}
