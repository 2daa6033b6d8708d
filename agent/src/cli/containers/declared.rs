//! `keelctl containers`: what is declared, how it stands with that, and the way there.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;
use hyper::Method;
use serde_json::json;

use super::Context;
use super::client::{Body, Client, DEFAULT_HOST, Target};
use super::common::{document, text_block};
use super::format::table::{Table, ellipsis, short};
use keelson_containers::declared::load;
use keelson_containers::declared::report::{Report, Row};
use keelson_containers::declared::step::{Action, Standing};

/// Declared containers: the files in /etc/keelson/containers.d
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Show how it stands with the declared containers
    #[command(after_help = "Examples:\n  keelctl containers status\n  keelctl containers status --json\n\n\
        Exit status: 1 when something failed or a file is broken. keelson-containers(5) tells of the files.")]
    Status,
    /// Bring the containers to what is declared, now
    #[command(after_help = "Examples:\n  keelctl containers apply --dry-run\n  keelctl containers apply\n\n\
        The daemon does this by itself when a file changes; this does it at once, and tries anew what failed.")]
    Apply(ApplyArgs),
    /// Check files that declare containers, without using them
    #[command(
        after_help = "Examples:\n  keelctl containers check web.toml && sudo cp web.toml /etc/keelson/containers.d/"
    )]
    Check(CheckArgs),
}

/// Arguments of `apply`.
#[derive(Debug, clap::Args)]
pub struct ApplyArgs {
    /// Show what would be done, and do nothing
    #[arg(long, conflicts_with = "update")]
    dry_run: bool,
    /// Ask the registries for newer images now, of containers that follow a tag
    #[arg(long)]
    update: bool,
}

/// Arguments of `check`.
#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    /// The files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// How it stands with the declared containers of this host.
pub async fn of_host() -> anyhow::Result<Report> {
    Client::new(DEFAULT_HOST)?.get(&Target::new("/keelson/declared")).await
}

/// Runs a verb.
pub async fn run(verb: Verb, context: &Context) -> anyhow::Result<ExitCode> {
    match verb {
        Verb::Status => {
            let report: Report = context.client.get(&Target::new("/keelson/declared")).await?;
            shown(&report, context, &status(&report))
        }
        Verb::Apply(args) => {
            let target =
                Target::new("/keelson/declared/apply").flag("dry_run", args.dry_run).flag("update", args.update);
            let report: Report = context.client.call(Method::POST, &target, Body::Empty).await?;
            shown(&report, context, &plan(&report))
        }
        Verb::Check(args) => check(&args.files, context),
    }
}

fn shown(report: &Report, context: &Context, text: &str) -> anyhow::Result<ExitCode> {
    if context.json {
        document(report)?;
    } else {
        text_block(text)?;
        complain(report);
    }
    Ok(if report.good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Broken files, and what failed, on standard error.
fn complain(report: &Report) {
    for problem in report.broken.iter().flat_map(|broken| &broken.problems) {
        eprintln!("{problem}");
    }
    for row in &report.containers {
        if let Some(error) = &row.error {
            eprintln!("{}: {error}", row.name);
        }
    }
}

fn status(report: &Report) -> String {
    let mut table = Table::new(&["NAME", "FILE", "STANDING", "HEALTH", "IMAGE", "DIGEST", "WHY"]);
    for row in &report.containers {
        table.row(vec![
            row.name.clone(),
            row.file.clone(),
            word(row.standing).to_owned(),
            row.health.map(|health| format!("{health:?}").to_lowercase()).unwrap_or_default(),
            ellipsis(row.image.split('@').next().unwrap_or_default(), 40),
            row.digest.as_deref().map(short).unwrap_or_default().to_owned(),
            why(row),
        ]);
    }
    table.text()
}

fn word(standing: Standing) -> &'static str {
    match standing {
        Standing::Ok => "ok",
        Standing::Waiting => "waiting",
        Standing::Failed => "failed",
    }
}

fn why(row: &Row) -> String {
    let mut text = row.error.clone().or_else(|| row.waits.clone()).unwrap_or_else(|| row.reason.clone());
    if let Some(update) = &row.update {
        text = format!("{text}; {update}");
    }
    text.lines().next().unwrap_or_default().to_owned()
}

/// `+ web  create: it is not there`; what is kept is only counted.
fn plan(report: &Report) -> String {
    let mut text = String::new();
    let kept = report.containers.iter().filter(|row| row.action == Action::Keep).count();
    for row in report.containers.iter().filter(|row| row.action != Action::Keep) {
        let sign = match row.action {
            Action::Create | Action::Start => '+',
            Action::Stop | Action::Remove => '-',
            Action::Replace | Action::Restart => '~',
            Action::Refuse | Action::Keep => '!',
        };
        let action = format!("{:?}", row.action).to_lowercase();
        let waits = row.waits.as_ref().map(|waits| format!(" ({waits})")).unwrap_or_default();
        text += &format!("{sign} {:<20} {action}: {}{waits}\n", row.name, row.reason);
    }
    if text.is_empty() {
        return format!("All {kept} containers are as declared\n");
    }
    if kept > 0 {
        text += &format!("  {kept} more as declared\n");
    }
    text
}

/// Reads files as the daemon would, and prints every problem.
fn check(files: &[PathBuf], context: &Context) -> anyhow::Result<ExitCode> {
    let mut problems = Vec::new();
    let mut names = Vec::new();
    for path in files {
        match load::read(path) {
            Ok(file) => names.extend(file.into_iter().flat_map(|file| file.containers).map(|one| one.name)),
            Err(found) => problems.extend(found.iter().map(ToString::to_string)),
        }
    }
    let good = problems.is_empty();
    if context.json {
        document(&json!({ "containers": names, "problems": problems }))?;
    } else {
        problems.iter().for_each(|problem| eprintln!("{problem}"));
        if good {
            text_block(&format!("good: {}\n", names.join(", ")))?;
        }
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, action: Action, standing: Standing) -> Row {
        Row {
            name: name.into(),
            file: "web.toml".into(),
            standing,
            action,
            reason: "it is not there".into(),
            waits: None,
            id: None,
            image: "web:1".into(),
            digest: Some("sha256:0123456789abcdef".into()),
            health: None,
            update: None,
            error: None,
        }
    }

    #[test]
    fn a_plan_shows_what_changes() {
        let mut waiting = row("web", Action::Create, Standing::Waiting);
        waiting.waits = Some("it requires db to be healthy".into());
        let report = Report { containers: vec![row("db", Action::Keep, Standing::Ok), waiting], broken: vec![] };
        let text = plan(&report);
        assert!(text.starts_with("+ web                  create: it is not there (it requires db"), "{text}");
        assert!(text.ends_with("  1 more as declared\n"));
        let report = Report { containers: vec![row("db", Action::Keep, Standing::Ok)], broken: vec![] };
        assert_eq!(plan(&report), "All 1 containers are as declared\n");
    }

    #[test]
    fn the_status_has_a_line_a_container() {
        let report = Report { containers: vec![row("db", Action::Keep, Standing::Ok)], broken: vec![] };
        let text = status(&report);
        assert!(
            text.lines().nth(1).is_some_and(|line| line.contains("web:1") && line.contains("0123456789ab")),
            "{text}"
        );
        assert!(report.good());
    }
}
