//! keelctl, the client of keeld; see [`keelson_agent::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    keelson_agent::cli::main()
}
