//! The verbs of `keelson`, one file each; this file only names and dispatches them.

mod cluster;
mod completions;
mod compose;
mod diff;
mod disk;
mod image;
mod lint;
mod lock;
mod run;
mod seed;
mod serve;
mod show;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The repository when none is named.
pub const DEFAULT_REPO: &str = ".cache/repo";
/// The cache folder when none is named.
pub const DEFAULT_CACHE: &str = ".cache";

/// Compose immutable container hosts from Debian packages, make disks of them, and run them.
#[derive(Parser)]
#[command(name = "keelson", version, propagate_version = true)]
pub struct Cli {
    /// Say more; twice says everything.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What `keelson` can do.
#[derive(Subcommand)]
#[expect(missing_docs, reason = "a verb's help is the documentation of its Args")]
pub enum Verb {
    Cluster(cluster::Args),
    Completions(completions::Args),
    Compose(compose::Args),
    Diff(diff::Args),
    Image(image::Args),
    Lint(lint::Args),
    Lock(lock::Args),
    Run(run::Args),
    Seed(seed::Args),
    Serve(serve::Args),
    Show(show::Args),
}

impl Verb {
    /// Runs the verb; the exit code is 0 only when it did what it was asked.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Verb::Cluster(args) => cluster::run(args),
            Verb::Completions(args) => completions::run(args),
            Verb::Compose(args) => compose::run(args),
            Verb::Diff(args) => diff::run(args),
            Verb::Image(args) => image::run(args),
            Verb::Lint(args) => lint::run(args),
            Verb::Lock(args) => lock::run(args),
            Verb::Run(args) => run::run(args),
            Verb::Seed(args) => seed::run(args),
            Verb::Serve(args) => serve::run(args),
            Verb::Show(args) => show::run(args),
        }
    }
}
