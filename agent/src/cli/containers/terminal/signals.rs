//! Owns signals that keelctl gets while a container runs in its foreground.

use anyhow::Context;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::super::client::{Client, Target};

/// What is passed on: all that can be caught, but for what concerns keelctl alone (children, pipes,
/// the size of its terminal).
const PROXIED: [(i32, &str); 16] = [
    (libc::SIGHUP, "HUP"),
    (libc::SIGINT, "INT"),
    (libc::SIGQUIT, "QUIT"),
    (libc::SIGUSR1, "USR1"),
    (libc::SIGUSR2, "USR2"),
    (libc::SIGALRM, "ALRM"),
    (libc::SIGTERM, "TERM"),
    (libc::SIGCONT, "CONT"),
    (libc::SIGTSTP, "TSTP"),
    (libc::SIGTTIN, "TTIN"),
    (libc::SIGTTOU, "TTOU"),
    (libc::SIGXCPU, "XCPU"),
    (libc::SIGXFSZ, "XFSZ"),
    (libc::SIGVTALRM, "VTALRM"),
    (libc::SIGPROF, "PROF"),
    (libc::SIGPWR, "PWR"),
];
/// After so many requests to end, keelctl ends without the container.
const PATIENCE: u32 = 3;

/// Catches signals from here on, so that none is lost before [`Proxy::run`].
#[derive(Debug)]
pub struct Proxy(Vec<(Signal, i32, &'static str)>);

impl Proxy {
    /// Catches what is passed on.
    pub fn new() -> anyhow::Result<Self> {
        let catch = |(number, name)| Ok((signal(SignalKind::from_raw(number))?, number, name));
        let all: std::io::Result<_> = PROXIED.into_iter().map(catch).collect();
        Ok(Self(all.context("cannot catch signals")?))
    }

    /// Passes signals on to `container`; ends, with the signal, when asked to end too often.
    pub async fn run(&mut self, client: &Client, container: &str) -> i32 {
        let mut asked = 0;
        loop {
            let mut next: FuturesUnordered<_> = self
                .0
                .iter_mut()
                .map(async |(signal, number, name)| {
                    signal.recv().await;
                    (*number, *name)
                })
                .collect();
            let Some((number, name)) = next.next().await else { return 0 };
            if matches!(number, libc::SIGINT | libc::SIGTERM) {
                asked += 1;
                if asked >= PATIENCE {
                    eprintln!("\ngot {PATIENCE} SIGTERM/SIGINTs, forcefully exiting");
                    return number;
                }
            }
            let target = Target::container(container, "kill").with("signal", name);
            if let Err(error) = client.act(&target).await {
                tracing::debug!("cannot pass {name} on: {error:#}");
            }
        }
    }
}

/// Signals that end keelctl, caught so that the terminal can be put back before.
#[derive(Debug)]
pub struct Ending([(Signal, i32); 4]);

impl Ending {
    /// Catches them from here on: the terminal may be changed after this, not before.
    pub fn new() -> anyhow::Result<Self> {
        let catch = |number| signal(SignalKind::from_raw(number)).map(|signal| (signal, number));
        let all = || Ok([catch(libc::SIGTERM)?, catch(libc::SIGHUP)?, catch(libc::SIGINT)?, catch(libc::SIGQUIT)?]);
        all().map(Self).map_err(|error: std::io::Error| anyhow::Error::new(error).context("cannot catch signals"))
    }

    /// Waits for one of them; gives its number.
    pub async fn wait(&mut self) -> i32 {
        let [term, hup, int, quit] = &mut self.0;
        tokio::select! {
            _ = term.0.recv() => term.1,
            _ = hup.0.recv() => hup.1,
            _ = int.0.recv() => int.1,
            _ = quit.0.recv() => quit.1,
        }
    }
}
