//! Owns waiting for the signals by which a program is asked to stop.

use std::future::pending;
use std::io;

use tokio::signal::unix::{SignalKind, signal};

/// Ends when the process gets SIGTERM or SIGINT, from the call on; both no longer kill it. To be called in
/// an asynchronous runtime.
pub fn stopped() -> io::Result<impl Future<Output = ()> + Send + 'static> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// The same for what a person runs: also SIGHUP, by which it hears that its terminal is gone, unless it was started
/// with that ignored.
pub fn interrupted() -> io::Result<impl Future<Output = ()> + Send + 'static> {
    let ignored = std::fs::read_to_string("/proc/self/status").is_ok_and(|status| ignores_hangup(&status));
    stopped_or_hung_up(!ignored)
}

fn stopped_or_hung_up(hangup: bool) -> io::Result<impl Future<Output = ()> + Send + 'static> {
    let stopped = stopped()?;
    let mut hangup = if hangup { Some(signal(SignalKind::hangup())?) } else { None };
    Ok(async move {
        let hung_up = async {
            match &mut hangup {
                Some(hangup) => {
                    hangup.recv().await;
                }
                None => pending().await,
            }
        };
        tokio::select! {
            () = hung_up => {}
            () = stopped => {}
        }
    })
}

/// Whether SIGHUP, the first signal, is among those that the kernel says a process ignores, as nohup(1) has it.
fn ignores_hangup(status: &str) -> bool {
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_terminal_that_is_gone_ends_what_a_person_runs() {
        for name in ["HUP", "TERM", "INT"] {
            let ended = stopped_or_hung_up(true).unwrap();
            let kill = format!("kill -{name} {}", std::process::id());
            assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
            tokio::time::timeout(Duration::from_secs(60), ended).await.unwrap();
        }
    }

    #[test]
    fn nohup_is_obeyed() {
        assert!(ignores_hangup("Name:\tkeelctl\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000001001\n"));
        assert!(!ignores_hangup("SigIgn:\t0000000000001000\nSigCgt:\t0000000000000001\n"));
        assert!(!ignores_hangup(""));
    }
}
