//! keeld, the host daemon; see [`keelson_agent::daemon`].

use std::process::ExitCode;

fn main() -> ExitCode {
    keelson_agent::daemon::main()
}
