//! Owns waiting for containers.

use super::container::Container;
use super::record::{State, Status};
use crate::error::{Error, Result};

/// What is waited for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Condition {
    /// That it does not run; right away when it does not.
    #[default]
    NotRunning,
    /// Its next end.
    NextExit,
    /// That it is gone.
    Removed,
}

impl Condition {
    /// As the API writes it.
    pub fn parse(text: &str) -> Result<Self> {
        match text {
            "" | "not-running" => Ok(Self::NotRunning),
            "next-exit" => Ok(Self::NextExit),
            "removed" => Ok(Self::Removed),
            other => Err(Error::Invalid(format!("invalid condition: {other:?}"))),
        }
    }

    /// Is it so, `ends` ends after the wait began?
    fn met(self, state: &State, ends: u64) -> bool {
        let rests = matches!(state.status, Status::Created | Status::Exited | Status::Dead);
        match self {
            _ if state.removed => true,
            Self::NotRunning => rests,
            Self::NextExit => state.ends != ends,
            Self::Removed => false,
        }
    }
}

impl Container {
    /// Waits for `condition`, from this call on, and gives the state that met it. The wait begins
    /// with the call, not with the first poll.
    pub fn wait(&self, condition: Condition) -> impl Future<Output = State> + Send + 'static {
        let mut watch = self.watch();
        let first = watch.borrow().clone();
        async move {
            let found = watch.wait_for(|state| condition.met(state, first.ends)).await.map(|state| state.clone());
            found.unwrap_or(State { removed: true, ..first })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions() {
        let state = |status| State { status, ends: 3, ..State::default() };
        assert!(Condition::NotRunning.met(&state(Status::Created), 3));
        assert!(!Condition::NotRunning.met(&state(Status::Running), 3));
        assert!(!Condition::NotRunning.met(&state(Status::Restarting), 3));
        assert!(!Condition::NextExit.met(&state(Status::Exited), 3));
        assert!(Condition::NextExit.met(&state(Status::Running), 2));
        assert!(!Condition::Removed.met(&state(Status::Exited), 2));
        for condition in [Condition::NotRunning, Condition::NextExit, Condition::Removed] {
            assert!(condition.met(&State { removed: true, ..state(Status::Running) }, 3));
        }
        assert!(Condition::parse("soon").is_err());
    }
}
