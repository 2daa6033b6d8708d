//! Owns the agent that systemd runs: one step after the other, for as long as the host was told to go over to
//! new versions by itself.

use std::time::Duration;

use keelson_common::{journal, signals};

use super::agent::Agent;
use super::status::describe;
use super::{Paths, act, guard};
use crate::daemon::supervision;
use crate::model::time;
use crate::update::{Settings, Step, next};

/// How long to wait where somebody else acts, where something is in the way, and at most: what a person
/// stages, or the host is told anew, is seen after that.
const BUSY: Duration = Duration::from_secs(5);
const AGAIN: Duration = Duration::from_secs(30);
const LONGEST: Duration = Duration::from_secs(300);
/// How long a reboot may take to begin.
const REBOOT: Duration = Duration::from_secs(600);

/// Runs until asked to stop, or until there is nothing to do by itself.
pub async fn run(paths: Paths, bus: Option<&str>) -> anyhow::Result<()> {
    guard::need_root("run")?;
    journal::init();
    let mut stopped = std::pin::pin!(signals::stopped()?);
    let mut agent = Agent::open(paths, bus, true).await?;
    (agent.started, agent.logs) = (time::now(), true);
    supervision::ready();
    let mut last = String::new();
    loop {
        let turn = async { turn(&mut agent, &mut last).await };
        let pause = tokio::select! {
            pause = turn => pause,
            () = &mut stopped => None,
        };
        let Some(pause) = pause else { break };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = &mut stopped => break,
        }
    }
    supervision::stopping();
    Ok(())
}

/// One step; gives how long to wait after it, or nothing when there is no more to do.
async fn turn(agent: &mut Agent, last: &mut String) -> Option<Duration> {
    match step(agent).await {
        Ok(Done { said, pause, .. }) => {
            if !said.is_empty() && said != *last {
                tracing::info!("{said}");
            }
            supervision::status(&said);
            *last = said;
            pause
        }
        Err(error) => {
            let said = format!("{error:#}");
            if said != *last {
                tracing::warn!("{said}");
            }
            supervision::status(&said);
            *last = said;
            Some(AGAIN)
        }
    }
}

struct Done {
    said: String,
    pause: Option<Duration>,
}

async fn step(agent: &mut Agent) -> anyhow::Result<Done> {
    let Some(_guard) = guard::try_take()? else {
        return Ok(Done { said: "somebody else is at it".to_owned(), pause: Some(BUSY) });
    };
    agent.session.renew(agent.bus.as_deref()).await?;
    agent.settings = Settings::read(&agent.paths.settings)?;
    let mut seen = act::look(agent, None).await?;
    let step = next(&agent.observed(&seen));
    let said = act::perform(agent, &mut seen, &step).await?;
    let pause = match &step {
        Step::Rest => None,
        Step::Wait { until, .. } => {
            let wait = Duration::from_secs(until.saturating_sub(time::now()).max(1));
            return Ok(Done { said: describe(&step), pause: Some(wait.min(LONGEST)) });
        }
        Step::AwaitHealth if seen.healthy == Some(true) => {
            let step = next(&agent.observed(&seen));
            let said = act::perform(agent, &mut seen, &step).await?;
            return Ok(Done { said, pause: Some(Duration::ZERO) });
        }
        Step::AwaitHealth => Some(AGAIN),
        Step::Reboot => Some(REBOOT),
        Step::GiveBack(_) | Step::Check | Step::Lock | Step::Drain => Some(Duration::ZERO),
    };
    let said = if pause.is_none() { describe(&step) } else { said };
    Ok(Done { said, pause })
}
