//! Owns waiting for the signals by which a program is asked to stop.

use std::future::pending;
use std::io;

use procfs::process::Process;
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
    stopped_or_hung_up(!Process::myself().is_ok_and(|this| ignores_hangup(&this)))
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
fn ignores_hangup(process: &Process) -> bool {
    process.status().is_ok_and(|status| status.sigign & 1 == 1)
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};
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
        for (command, obeyed) in [("exec nohup sleep 100", true), ("exec sleep 100", false)] {
            let mut child = Command::new("sh").args(["-c", command]).stderr(Stdio::null()).spawn().unwrap();
            let process = Process::new(child.id().try_into().unwrap()).unwrap();
            let runs = || process.stat().is_ok_and(|stat| stat.comm == "sleep");
            let begun = (0..600).any(|_| {
                std::thread::sleep(Duration::from_millis(100));
                runs()
            });
            let ignores = ignores_hangup(&process);
            child.kill().unwrap();
            child.wait().unwrap();
            assert!(begun && ignores == obeyed, "{command}");
        }
    }
}
