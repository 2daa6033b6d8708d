//! Ends containers, by request: stop, kill, restart; and freezes them.

use std::sync::Arc;
use std::time::Duration;

use super::Engine;
use super::container::Container;
use super::record::{State, Status};
use super::signal;
use super::wait::Condition;
use crate::error::{Error, Result};

/// How long a container has to end after its stop signal, when nothing is asked.
pub(super) const PATIENCE: i64 = 10;
/// How long the kernel has to end what was killed.
const KILLED: Duration = Duration::from_secs(10);

impl Engine {
    /// Asks a container to end, with its stop signal or `signal`; kills it after `timeout` seconds
    /// (never, when negative), its own or 10 when not given.
    pub async fn stop(&self, container: &Arc<Container>, signal: Option<&str>, timeout: Option<i64>) -> Result<()> {
        let record = container.record();
        let signal = signal::parse(signal.or(record.config.stop_signal.as_deref()).unwrap_or_default(), signal::TERM)?;
        let timeout = timeout.or(record.config.stop_timeout).unwrap_or(PATIENCE);
        let ended = {
            let _turn = container.turn().await;
            let state = container.state();
            if state.status == Status::Restarting {
                self.give_up(container);
                return Ok(());
            }
            if !state.status.alive() {
                return Err(Error::NotModified);
            }
            container.set(|state| state.stopped = true);
            let ended = container.wait(Condition::NextExit);
            self.signal(container, &state, signal).await?;
            ended
        };
        self.see_it_end(container, ended, timeout).await?;
        self.tell(container, "stop", &[]);
        Ok(())
    }

    async fn see_it_end(
        &self,
        container: &Arc<Container>,
        ended: impl Future<Output = State>,
        timeout: i64,
    ) -> Result<()> {
        let mut ended = std::pin::pin!(ended);
        let Ok(timeout) = u64::try_from(timeout) else {
            ended.await;
            return Ok(());
        };
        if tokio::time::timeout(Duration::from_secs(timeout), &mut ended).await.is_ok() {
            return Ok(());
        }
        {
            let _turn = container.turn().await;
            let state = container.state();
            if state.status.alive() {
                self.signal(container, &state, signal::KILL).await?;
            }
        }
        match tokio::time::timeout(KILLED, ended).await {
            Ok(_) => Ok(()),
            Err(_) => Err(Error::Failed(format!(
                "cannot stop container: {}: it did not end {} seconds after it was killed",
                container.id(),
                KILLED.as_secs()
            ))),
        }
    }

    /// Its policy was about to start it again: it is not to.
    fn give_up(&self, container: &Container) {
        container.set(|state| {
            state.status = Status::Exited;
            state.stopped = true;
        });
        self.tell(container, "stop", &[]);
    }

    /// Sends a signal; it does not wait for what comes of it.
    pub async fn kill(&self, container: &Arc<Container>, signal: Option<&str>) -> Result<()> {
        let number = signal::parse(signal.unwrap_or_default(), signal::KILL)?;
        let _turn = container.turn().await;
        let state = container.state();
        if state.status == Status::Restarting && number == signal::KILL {
            self.give_up(container);
            return Ok(());
        }
        if !state.status.alive() {
            return Err(Error::Conflict(format!(
                "cannot kill container: {0}: container {0} is not running",
                container.id()
            )));
        }
        let record = container.record();
        let stopping = signal::parse(record.config.stop_signal.as_deref().unwrap_or_default(), signal::TERM)?;
        if number == signal::KILL || number == stopping {
            container.set(|state| state.stopped = true);
        }
        self.signal(container, &state, number).await?;
        self.tell(container, "kill", &[("signal", number.to_string())]);
        Ok(())
    }

    /// Sends a signal to its process; its turn is held. What is frozen is thawed to feel it.
    async fn signal(&self, container: &Container, state: &State, signal: u32) -> Result<()> {
        match self.tasks.kill(container.id(), signal, false).await {
            // It has just ended; the news is on its way.
            Err(Error::NotFound(_)) => return Ok(()),
            Err(Error::Failed(text)) if text.contains("already finished") => return Ok(()),
            done => done?,
        }
        if state.status == Status::Paused && (state.stopped || signal == signal::KILL || container.state().stopped) {
            self.tasks.resume(container.id()).await?;
            container.set(|state| state.status = Status::Running);
        }
        Ok(())
    }

    /// Stops a container, if it runs, and starts it.
    pub async fn restart(
        self: &Arc<Self>,
        container: &Arc<Container>,
        signal: Option<&str>,
        timeout: Option<i64>,
    ) -> Result<()> {
        // What removes itself at its end is kept for the start that follows.
        let removes = container.record().host.auto_remove.unwrap_or(false) && container.state().status.alive();
        if removes {
            container.change(|record| record.host.auto_remove = Some(false))?;
        }
        let stopped = self.stop(container, signal, timeout).await;
        if removes {
            container.change(|record| record.host.auto_remove = Some(true))?;
        }
        match stopped {
            Ok(()) | Err(Error::NotModified) => {}
            Err(error) => return Err(error),
        }
        match self.start(container).await {
            Ok(()) | Err(Error::NotModified) => {}
            Err(error) => return Err(error),
        }
        self.tell(container, "restart", &[]);
        Ok(())
    }

    /// Freezes all processes of a container.
    pub async fn pause(&self, container: &Arc<Container>) -> Result<()> {
        let _turn = container.turn().await;
        match container.state().status {
            Status::Running => {}
            Status::Paused => return Err(Error::Conflict(format!("Container {} is already paused", container.id()))),
            _ => return Err(Error::Conflict(format!("Container {} is not running", container.id()))),
        }
        self.tasks.pause(container.id()).await?;
        container.set(|state| state.status = Status::Paused);
        self.tell(container, "pause", &[]);
        Ok(())
    }

    /// Lets them go on.
    pub async fn unpause(&self, container: &Arc<Container>) -> Result<()> {
        let _turn = container.turn().await;
        if container.state().status != Status::Paused {
            return Err(Error::Conflict(format!("Container {} is not paused", container.id())));
        }
        self.tasks.resume(container.id()).await?;
        container.set(|state| state.status = Status::Running);
        self.tell(container, "unpause", &[]);
        Ok(())
    }
}
