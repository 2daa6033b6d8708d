//! Health checks of containers: Docker's HEALTHCHECK, a process in the container at intervals, whose
//! exit code says how it is. What follows from it is decided in [`decide`]; the reconciler of declared
//! containers, and who listens to `health_status` events, act on it.

pub mod decide;

use std::sync::Arc;
use std::time::Duration;

use bollard::models::{EventMessage, EventMessageTypeEnum, ExecConfig, HealthStatusEnum, HealthcheckResult};
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{sleep, timeout};

use self::decide::{Check, OUTPUT};
use super::engine::{Container, Engine, Moment, Status};
use super::error::Result;
use super::events::Events;
use super::exec::{Exec, Execs};
use super::streams::session::Output;

/// What a check that could not be run, or took too long, counts as.
const FAILED: i64 = -1;
/// How long a check that took too long has to end when it is killed.
const KILLED: Duration = Duration::from_secs(10);

/// Runs the health checks.
#[derive(Debug)]
pub struct Checks {
    engine: Arc<Engine>,
    execs: Arc<Execs>,
}

impl Checks {
    /// Checks of the containers of `engine`.
    pub fn new(engine: Arc<Engine>, execs: Arc<Execs>) -> Self {
        Self { engine, execs }
    }

    /// Looks after the containers that run, and those that will be started, for good.
    pub async fn run(self: Arc<Self>, events: Events) {
        let (_, mut events) = events.subscribe();
        self.begin_all();
        loop {
            match events.recv().await {
                Ok(event) => {
                    if let Some(container) = started(&event).and_then(|id| self.engine.find(id).ok()) {
                        self.begin(container);
                    }
                }
                // Whoever is looked after twice is so until the first check.
                Err(RecvError::Lagged(_)) => self.begin_all(),
                Err(RecvError::Closed) => return,
            }
        }
    }

    fn begin_all(self: &Arc<Self>) {
        self.engine.all().into_iter().for_each(|container| self.begin(container));
    }

    /// Looks after one run of a container, if it runs and has a check.
    fn begin(self: &Arc<Self>, container: Arc<Container>) {
        let config = &container.record().config;
        let check = Check::new(config.healthcheck.as_ref(), config.shell.as_deref());
        let state = container.state();
        if let (Some(check), true, Some(run)) = (check, state.status.alive(), state.started) {
            tokio::spawn(self.clone().look_after(container, check, run));
        }
    }

    /// Checks until the run is over.
    async fn look_after(self: Arc<Self>, container: Arc<Container>, check: Check, run: Moment) {
        let mut watch = container.watch();
        let this_run = |state: &super::engine::State| state.status.alive() && state.started == Some(run);
        loop {
            let health = container.state().health.unwrap_or_else(decide::starting);
            let status = health.status.unwrap_or(HealthStatusEnum::STARTING);
            let pause = check.wait(Moment::now().since(run), status);
            let over = async { watch.wait_for(|state| !this_run(state)).await.map(drop) };
            tokio::select! {
                () = sleep(pause) => {}
                _ = over => return,
            }
            // Nothing of it runs while it is frozen.
            if container.state().status == Status::Paused {
                continue;
            }
            let ran = Moment::now().since(run);
            let result = self.check(&container, &check).await;
            if !self.engine.set_health(&container, run, check.after(&health, result, ran)).await {
                return;
            }
        }
    }

    async fn check(self: &Arc<Self>, container: &Arc<Container>, check: &Check) -> HealthcheckResult {
        let start = Moment::now();
        let (code, output) = match self.probe(container, check).await {
            Ok(found) => found,
            Err(error) => (FAILED, error.to_string()),
        };
        HealthcheckResult {
            start: Some(start.to_string()),
            end: Some(Moment::now().to_string()),
            exit_code: Some(code),
            output: Some(output),
        }
    }

    /// Runs the command; its exit code, and the beginning of what it printed.
    async fn probe(self: &Arc<Self>, container: &Arc<Container>, check: &Check) -> Result<(i64, String)> {
        let config = ExecConfig {
            cmd: Some(check.command.clone()),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            ..ExecConfig::default()
        };
        let exec = self.execs.create(container.clone(), config)?;
        self.execs.claim(&exec)?;
        let found = self.watched(&exec, check).await;
        self.execs.forget(&exec.id);
        found
    }

    async fn watched(self: &Arc<Self>, exec: &Arc<Exec>, check: &Check) -> Result<(i64, String)> {
        let mut reader = self.execs.start(exec, true, None).await?;
        let mut output = Vec::new();
        let mut read = async || {
            while let Ok(Some(piece)) = reader.next().await {
                let room = OUTPUT.saturating_sub(output.len());
                output.extend_from_slice(&piece.data[..piece.data.len().min(room)]);
            }
        };
        if timeout(check.timeout, read()).await.is_err() {
            self.execs.kill(exec).await?;
            timeout(KILLED, read()).await.ok();
            return Ok((
                FAILED,
                format!("Health check exceeded timeout ({})", humantime::format_duration(check.timeout)),
            ));
        }
        let code = exec.state().exit.map_or(FAILED, |(code, _)| code);
        Ok((code, String::from_utf8_lossy(&output).into_owned()))
    }
}

/// The container that an event tells the start of.
fn started(event: &EventMessage) -> Option<&str> {
    let starts = event.typ == Some(EventMessageTypeEnum::CONTAINER) && event.action.as_deref() == Some("start");
    event.actor.as_ref().filter(|_| starts)?.id.as_deref()
}
