//! The verb `lint`: checks a tree.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use keelson_common::commit::CommitInfo;
use serde_json::{Value, json};

use crate::diff;
use crate::lint::{Context, Finding, LINTS, Level, Tree, run as check};

/// Check a tree against the rules of OSTree and of this project
///
/// Runs every lint over a folder or a commit and prints what they find. A fatal finding, with which
/// `keelson compose` commits nothing, makes the exit status 1; a warning does not. Ids are compared
/// with a lock only by a compose.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  keelson lint keelson/host/amd64\n  keelson lint ./tree\n  \
    keelson lint --json keelson/host/amd64 | jq -r '.findings[] | select(.level == \"fatal\") | .path'\n  \
    keelson lint --list")]
pub struct Args {
    /// List the lints and what each checks
    #[arg(long)]
    list: bool,
    /// The repository that a commit is looked for in
    #[arg(long, value_name = "DIR", default_value = super::DEFAULT_REPO)]
    repo: PathBuf,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    /// A folder, or else a ref or checksum of the repository
    #[arg(value_name = "TREE-OR-REF", required_unless_present = "list", conflicts_with = "list")]
    tree: Option<String>,
}

/// Runs the verb.
pub fn run(args: Args) -> Result<ExitCode> {
    let Some(tree) = args.tree else {
        print(&if args.json { document(&list()) } else { list_text() })?;
        return Ok(ExitCode::SUCCESS);
    };
    let findings = findings(&tree, &args.repo)?;
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    let (fatal, warnings) = (count(Level::Fatal), count(Level::Warning));
    if args.json {
        print(&document(&json!({ "findings": findings, "fatal": fatal, "warnings": warnings })))?;
    } else {
        let lines: String = findings.iter().map(|finding| format!("{finding}\n")).collect();
        print(&format!("{lines}{} lints: {fatal} fatal findings, {warnings} warnings\n", LINTS.len()))?;
    }
    Ok(if fatal == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn findings(tree: &str, repo: &Path) -> Result<Vec<Finding>> {
    let folder = Path::new(tree);
    if folder.is_dir() {
        return Ok(check(&Tree::from_folder(folder)?, &Context::default())?);
    }
    let opened = diff::open(repo).with_context(|| format!("{tree} is no folder, and there is no repository"))?;
    let checksum = opened
        .require_rev(tree)
        .with_context(|| format!("{tree} is neither a folder nor a commit of {}", repo.display()))?;
    let (commit, _) = opened.load_commit(&checksum).with_context(|| format!("cannot read the commit {checksum}"))?;
    let kargs = CommitInfo::from_variant(&commit).kargs;
    Ok(check(&Tree::from_commit(&opened, &checksum)?, &Context { accounts: None, kargs: &kargs })?)
}

fn list() -> Value {
    LINTS.iter().map(|lint| json!({ "id": lint.id, "level": lint.level, "doc": lint.doc })).collect()
}

fn list_text() -> String {
    let width = LINTS.iter().map(|lint| lint.id.len()).max().unwrap_or_default();
    LINTS.iter().map(|lint| format!("{:width$}  {:7}  {}\n", lint.id, lint.level, lint.doc)).collect()
}

fn document(value: &Value) -> String {
    format!("{value:#}\n")
}

fn print(text: &str) -> io::Result<()> {
    io::stdout().write_all(text.as_bytes())
}
