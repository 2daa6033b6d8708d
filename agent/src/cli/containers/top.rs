//! `keelctl top`.

use std::process::ExitCode;

use bollard::models::ContainerTopResponse;

use super::Context;
use super::client::Target;
use super::common::{document, text_block};

/// Show the processes of a container
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "keelctl top CONTAINER [ps OPTIONS]",
    after_help = "Examples:\n  keelctl top web\n  keelctl top web -o pid,rss,args"
)]
pub struct Args {
    /// The container, and options of ps(1)
    #[arg(trailing_var_arg = true, required = true, value_name = "CONTAINER [ps OPTIONS]")]
    container: Vec<String>,
}

/// Runs the verb.
pub async fn run(args: Args, context: &Context) -> anyhow::Result<ExitCode> {
    let Some((name, options)) = args.container.split_first() else { anyhow::bail!("a container is needed") };
    let options = (!options.is_empty()).then(|| options.join(" "));
    let target = Target::container(name, "top").with_some("ps_args", options);
    let top: ContainerTopResponse = context.client.get(&target).await?;
    if context.json {
        return document(&top);
    }
    text_block(&text(&top.titles.unwrap_or_default(), &top.processes.unwrap_or_default()))
}

/// Columns that are at least twenty wide.
fn text(titles: &[String], processes: &[Vec<String>]) -> String {
    let rows: Vec<&[String]> = std::iter::once(titles).chain(processes.iter().map(Vec::as_slice)).collect();
    let widest = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..titles.len()).map(|column| (widest(column).unwrap_or(0) + 3).max(20)).collect();
    let mut out = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        out.push_str(cells.collect::<String>().trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn columns() {
        let text = super::text(&["PID".into(), "CMD".into()], &[vec!["1".into(), "sh".into()]]);
        assert_eq!(text, format!("{:<20}{}\n{:<20}{}\n", "PID", "CMD", "1", "sh"));
    }
}
