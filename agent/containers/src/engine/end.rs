//! What happens when a container's process ends: it is written down, what the run needed is taken
//! away, and its policy decides what comes next.

use std::sync::Arc;

use super::Engine;
use super::clock::Clock;
use super::container::Container;
use super::moment::Moment;
use super::policy::{self, End, Verdict};
use super::record::{State, Status};
use super::task::Exit;

impl Engine {
    /// containerd says that the process `pid` of a container ended.
    pub(super) async fn ended(self: &Arc<Self>, id: &str, pid: u32, exit: Exit) {
        let Some(container) = self.registry().get(id) else { return };
        let _turn = container.turn().await;
        let state = container.state();
        if state.status.alive() && state.pid == pid {
            self.settle(&container, exit).await;
        }
    }

    /// Writes an end down, whose turn is held, and does what follows from it.
    pub(super) async fn settle(self: &Arc<Self>, container: &Arc<Container>, exit: Exit) {
        let before = container.state();
        let end = End {
            code: i64::from(exit.code),
            ran: before.started.map_or_else(Default::default, |started| exit.at.since(started)),
            stopped: before.stopped,
            restarts: before.restarts,
            failures: before.failures,
        };
        let record = container.record();
        let verdict = policy::decide(record.host.restart_policy.as_ref(), end);
        container.set(|state| after(state, exit.at, end, verdict));
        self.tell(
            container,
            "die",
            &[("exitCode", exit.code.to_string()), ("execDuration", end.ran.as_secs().to_string())],
        );
        let mut clock = Clock::new(container.id());
        self.bring_down(container).await;
        clock.lap("brought down");
        match verdict {
            Verdict::Again { delay, .. } => self.again_in(container, delay),
            Verdict::Rest if record.host.auto_remove.unwrap_or(false) => {
                if let Err(error) = self.remove_in_turn(container, true).await {
                    tracing::warn!(id = container.id(), "cannot remove: {error}");
                }
                clock.lap("removed");
            }
            Verdict::Rest => {}
        }
    }

    /// Starts a container that its policy wants back, after `delay`, if it is still waiting then.
    pub(super) fn again_in(self: &Arc<Self>, container: &Arc<Container>, delay: std::time::Duration) {
        let (engine, container) = (self.clone(), container.clone());
        let ends = container.state().ends;
        tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            let _turn = container.turn().await;
            let state = container.state();
            if state.status == Status::Restarting && state.ends == ends && !state.removed {
                engine.again(&container).await;
            }
        });
    }

    /// Starts it again. A start that fails is an end like others, for its policy to decide about.
    async fn again(self: &Arc<Self>, container: &Arc<Container>) {
        container.set(|state| state.restarts = state.restarts.saturating_add(1));
        if let Err(error) = self.launch(container).await {
            tracing::warn!(id = container.id(), "cannot start again: {error}");
            let code = u32::try_from(container.state().exit_code).unwrap_or(128);
            container.set(|state| state.started = None);
            // Boxed, since an end may lead to a start that leads to an end.
            Box::pin(self.settle(container, Exit { code, at: Moment::now() })).await;
        }
    }
}

fn after(state: &mut State, at: Moment, end: End, verdict: Verdict) {
    state.pid = 0;
    state.exit_code = end.code;
    state.finished = Some(at);
    state.ends += 1;
    match verdict {
        Verdict::Rest => state.status = Status::Exited,
        Verdict::Again { failures, .. } => {
            state.status = Status::Restarting;
            state.failures = failures;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const END: End = End { code: 3, ran: Duration::ZERO, stopped: false, restarts: 0, failures: 0 };

    #[test]
    fn an_end_is_written_down() {
        let mut state = State { status: Status::Running, pid: 7, ..State::default() };
        after(&mut state, Moment::now(), END, Verdict::Rest);
        assert_eq!((state.status, state.pid, state.exit_code, state.ends), (Status::Exited, 0, 3, 1));
        after(&mut state, Moment::now(), END, Verdict::Again { delay: Duration::ZERO, failures: 4 });
        assert_eq!((state.status, state.failures, state.ends), (Status::Restarting, 4, 2));
    }
}
