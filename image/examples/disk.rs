//! The shortest use of this crate: `cargo run --example disk -- REPO REF OUTPUT` makes a raw disk.

use std::process::ExitCode;

use keelson_image::{Format, ImageRequest, Progress, Step, build};

struct Lines;

impl Progress for Lines {
    fn step(&self, step: Step) {
        eprintln!("{} ...", step.title());
    }
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [repo, rev, output] = args.as_slice() else {
        eprintln!("usage: disk REPO REF OUTPUT");
        return ExitCode::from(2);
    };
    let mut request = ImageRequest::new(repo, rev, output);
    if output.ends_with(".qcow2") {
        request.format = Format::Qcow2;
    }
    match build(&request, &Lines) {
        Ok(report) => {
            println!("{report:#?}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("disk: {error}");
            let mut source = std::error::Error::source(&error);
            while let Some(cause) = source {
                eprintln!("  because: {cause}");
                source = cause.source();
            }
            ExitCode::FAILURE
        }
    }
}
