//! `keeld-node`, a program of its own: it starts the runtime and does what its command line says; see
//! [`keelson_node`].

use std::process::ExitCode;

use clap::Parser;
use keelson_node::options::Options;

fn main() -> ExitCode {
    let options = Options::parse();
    keelson_common::journal::init();
    // Everything that speaks TLS here computes with the same code; only a second call could fail.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!("cannot start the asynchronous runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let ended = runtime.block_on(keelson_node::cli::run(options));
    runtime.shutdown_background();
    ended
}
