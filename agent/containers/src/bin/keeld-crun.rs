//! crun, with what it leaves out: the OOM score of a further process.
//!
//! `crun exec` takes no notice of the `oomScoreAdj` in a process, which then inherits that of
//! containerd's shim, -998: the kernel would spare it when memory runs out, and kill the host's
//! services in its place. Here the score is set before crun is started, which hands it on; no moment
//! is left in which the process runs without it.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{BufReader, Error, Result};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use serde::Deserialize;

const CRUN: &str = "crun";

/// What is read of an OCI process.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Process {
    oom_score_adj: Option<i32>,
}

fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    let error = match process_file(&words).map_or(Ok(()), take_score) {
        // Returns only when it fails.
        Ok(()) => Command::new(CRUN).args(&words).exec(),
        Err(error) => error,
    };
    eprintln!("keeld-crun: cannot start {CRUN}: {error}");
    ExitCode::FAILURE
}

/// The file that describes the process to start, when a further process is asked for.
fn process_file(words: &[OsString]) -> Option<&Path> {
    let exec = words.iter().position(|word| word == "exec")?;
    let mut rest = words[exec + 1..].iter().map(OsString::as_os_str);
    while let Some(word) = rest.next() {
        match word.to_str() {
            Some("--process" | "-p") => return rest.next().map(Path::new),
            Some(word) if word.starts_with("--process=") => {
                return word.split_once('=').map(|(_, file)| Path::new(file));
            }
            _ => {}
        }
    }
    None
}

/// Takes the score of the process in `file`, for itself and so for what it starts.
fn take_score(file: &Path) -> Result<()> {
    let failed = |what: &OsStr, error: Error| Error::new(error.kind(), format!("{}: {error}", what.display()));
    let process = File::open(file).map_err(|error| failed(file.as_os_str(), error))?;
    let process: Process =
        serde_json::from_reader(BufReader::new(process)).map_err(|error| failed(file.as_os_str(), error.into()))?;
    let Some(score) = process.oom_score_adj else { return Ok(()) };
    let own = "/proc/self/oom_score_adj";
    std::fs::write(own, score.to_string()).map_err(|error| failed(OsStr::new(own), error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn the_process_of_an_exec_is_found() {
        for (line, expected) in [
            ("--root /run/crun --log /l exec --process /tmp/p --detach --pid-file /q id", Some("/tmp/p")),
            ("exec --process=/tmp/p id", Some("/tmp/p")),
            ("exec id sh", None),
            ("--root /run/crun create --bundle /b --process /x id", None),
            ("delete id", None),
        ] {
            assert_eq!(process_file(&words(line)), expected.map(Path::new), "{line}");
        }
    }

    #[test]
    fn a_file_that_is_no_process_is_named() {
        let error = take_score(Path::new("/dev/null")).unwrap_err().to_string();
        assert!(error.starts_with("/dev/null: EOF"), "{error}");
        assert!(take_score(Path::new("/nowhere")).unwrap_err().to_string().starts_with("/nowhere: "));
    }
}
