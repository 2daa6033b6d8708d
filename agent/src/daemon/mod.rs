//! keeld: one main loop that serves D-Bus, and one worker thread that alone touches libostree.
//!
//! ```text
//! D-Bus call --submit--> state::State --Job--> worker thread --Event--> main loop --> signals
//!                             ^                     |
//!                             '----- View (watch) --'
//! ```
//!
//! [`book`] decides purely what a new request meets (it starts, joins the same one, or is refused
//! as busy). [`run`] ends when systemd asks it to, after the running transaction was cancelled.

pub mod book;
pub(crate) mod boot;
mod mainloop;
mod options;
pub(crate) mod privileges;
pub(crate) mod reboot;
pub mod state;
pub(crate) mod supervision;
mod worker;

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use anyhow::Context;
use clap::Parser;
use keelson_common::journal;

pub use options::{Options, Part};

/// Runs keeld with the arguments of this process.
pub fn main() -> ExitCode {
    let options = Options::parse();
    journal::init();
    match start(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(mut options: Options) -> anyhow::Result<()> {
    match options.part.take() {
        None => start_host(options),
        Some(Part::Containers { words }) => Err(become_part("keeld-containers", &words)),
        Some(Part::Node { words }) => Err(become_part("keeld-node", &words)),
    }
}

/// Becomes the program beside this one: it is without libostree, which it would only hold in memory.
fn become_part(name: &str, words: &[OsString]) -> anyhow::Error {
    let beside = std::env::current_exe().map(|path| path.with_file_name(name));
    match beside {
        Ok(program) => {
            let error = Command::new(&program).args(words).exec();
            anyhow::Error::new(error).context(format!("cannot start {}", program.display()))
        }
        Err(error) => anyhow::Error::new(error).context("cannot tell where keeld is"),
    }
}

fn start_host(options: Options) -> anyhow::Result<()> {
    // Both before the first other thread: they hold for the whole process.
    let own_mounts = options.is_host() && privileges::own_mounts()?;
    privileges::drop_unneeded()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the asynchronous runtime")?;
    runtime.block_on(mainloop::run(options, own_mounts))
}
