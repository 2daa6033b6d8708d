//! `keelctl completions`.

use std::io;

use clap::CommandFactory;
use clap_complete::Shell;

/// Print a completion script for a shell
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Prints a completion script. The Debian package has those for bash, zsh and fish installed.",
    after_help = "Example:\n  keelctl completions bash > ~/.local/share/bash-completion/completions/keelctl"
)]
pub struct Args {
    /// The shell
    shell: Shell,
}

/// Runs the verb.
pub fn run(args: Args) {
    clap_complete::generate(args.shell, &mut super::Cli::command(), "keelctl", &mut io::stdout());
}
