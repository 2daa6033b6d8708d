//! The verb `completions`: what makes a shell complete `keelson`.

use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::Shell;

/// Print the completions of a shell
#[derive(clap::Args)]
#[command(after_help = "Example:\n  keelson completions bash > ~/.local/share/bash-completion/completions/keelson")]
pub struct Args {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// Runs the verb.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    clap_complete::generate(args.shell, &mut super::Cli::command(), "keelson", &mut std::io::stdout());
    Ok(ExitCode::SUCCESS)
}
