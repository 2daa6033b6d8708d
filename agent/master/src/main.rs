//! `keeld-master`, a program of its own; see [`keelson_master`].

use std::process::ExitCode;

use clap::Parser;
use keelson_master::options::{Options, What};
use keelson_master::settings::Settings;
use keelson_master::{run, setup};

fn main() -> ExitCode {
    let options = Options::parse();
    keelson_common::journal::init();
    let done = match options.what {
        What::Setup => Settings::await_address(&options.config).and_then(|()| setup::setup(&options)).map(drop),
        What::Wait => run::wait(&options),
        What::Run => run::run(&options),
        What::CaHash => setup::ca_hash(&options).map(|hash| println!("{hash}")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
