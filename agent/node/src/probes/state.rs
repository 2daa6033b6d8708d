//! Owns what probes know of one container, and how results change it. Pure.

use k8s_openapi::api::core::v1::ContainerStatus;

use super::Findings;
use super::plan::Kind;

/// What is known of a container that runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct State {
    /// Whether its startup probe succeeded; true where there is none.
    pub(super) started: bool,
    /// Whether its readiness probe says so; true where there is none.
    pub(super) ready: bool,
    /// Whether it is going, so that nobody asks to restart it.
    pub(super) ending: bool,
    kill: Option<(String, Option<i64>)>,
}

impl State {
    /// Before the first result, as the kubelet: not started until the startup probe succeeded, not ready
    /// until the readiness probe did. `before` is what an earlier run of the agent told of this very
    /// container: it holds until a probe says otherwise, so that a restart of the agent changes nothing.
    pub(super) fn first(has_startup: bool, has_readiness: bool, before: Option<&ContainerStatus>) -> Self {
        let started = !has_startup || before.is_some_and(|status| status.started == Some(true));
        let ready = !has_readiness || (started && before.is_some_and(|status| status.ready));
        Self { started, ready, ..Self::default() }
    }

    /// Takes in a result that counts; says whether anything changed.
    pub(super) fn conclude(&mut self, kind: Kind, success: bool, container: &str, grace: Option<i64>) -> bool {
        let before = self.clone();
        match (kind, success) {
            (Kind::Readiness, success) => self.ready = success,
            (Kind::Startup, true) => self.started = true,
            (Kind::Liveness, true) => {}
            (Kind::Startup | Kind::Liveness, false) => {
                if !self.ending && self.kill.is_none() {
                    let probe = if kind == Kind::Startup { "startup" } else { "liveness" };
                    self.kill = Some((format!("Container {container} failed {probe} probe"), grace));
                }
            }
        }
        *self != before
    }

    /// The container is going: nothing asks for its restart any more.
    pub(super) fn end(&mut self) {
        self.ending = true;
        self.kill = None;
    }

    /// As others see it.
    pub(super) fn findings(&self) -> Findings {
        let (kill, grace) = self.kill.clone().unzip();
        Findings { started: self.started, ready: self.started && self.ready, kill, grace: grace.flatten() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(started: bool, ready: bool) -> ContainerStatus {
        ContainerStatus { started: Some(started), ready, ..Default::default() }
    }

    fn seen(state: &State) -> (bool, bool) {
        let findings = state.findings();
        (findings.started, findings.ready)
    }

    #[test]
    fn begins_as_the_kubelet_does() {
        assert_eq!(seen(&State::first(false, false, None)), (true, true));
        assert_eq!(seen(&State::first(false, true, None)), (true, false));
        assert_eq!(seen(&State::first(true, false, None)), (false, false));
    }

    #[test]
    fn keeps_what_an_earlier_run_told() {
        assert_eq!(seen(&State::first(true, true, Some(&status(true, true)))), (true, true));
        assert_eq!(seen(&State::first(true, true, Some(&status(true, false)))), (true, false));
        assert_eq!(seen(&State::first(true, true, Some(&status(false, false)))), (false, false));
    }

    #[test]
    fn a_container_without_readiness_probe_is_ready_once_started() {
        let mut state = State::first(true, false, None);
        assert!(state.conclude(Kind::Startup, true, "web", None));
        assert_eq!(seen(&state), (true, true));
        assert!(!state.conclude(Kind::Startup, true, "web", None));
    }

    #[test]
    fn says_which_probe_failed_and_how_long_to_wait() {
        let mut state = State::first(false, false, None);
        assert!(!state.conclude(Kind::Liveness, true, "web", Some(5)));
        assert!(state.conclude(Kind::Liveness, false, "web", Some(5)));
        let findings = state.findings();
        assert_eq!(findings.kill.as_deref(), Some("Container web failed liveness probe"));
        assert_eq!(findings.grace, Some(5));
        let mut state = State::first(true, false, None);
        state.conclude(Kind::Startup, false, "web", None);
        assert_eq!(state.findings().kill.as_deref(), Some("Container web failed startup probe"));
    }

    #[test]
    fn nobody_restarts_what_is_going() {
        let mut state = State::first(false, true, None);
        state.conclude(Kind::Liveness, false, "web", None);
        state.end();
        assert_eq!(state.findings().kill, None);
        assert!(!state.conclude(Kind::Liveness, false, "web", None));
        assert!(state.conclude(Kind::Readiness, true, "web", None));
        assert_eq!(seen(&state), (true, true));
    }
}
