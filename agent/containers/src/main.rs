//! `keeld containers`, a program of its own: it starts the runtime and serves; see [`keelson_containers`].

use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use keelson_containers::Options;

fn main() -> ExitCode {
    let options = Options::parse();
    keelson_common::journal::init();
    match start(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(options: Options) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the asynchronous runtime")?;
    runtime.block_on(keelson_containers::run(options))
}
