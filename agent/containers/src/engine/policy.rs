//! Decides whether an ended container is started again, and when.

use std::time::Duration;

use bollard::models::{RestartPolicy, RestartPolicyNameEnum as Name};

use crate::error::{Error, Result};

const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(60);
const LONG_ENOUGH: Duration = Duration::from_secs(10);

/// How a container ended.
#[derive(Debug, Clone, Copy)]
pub struct End {
    /// What its process left.
    pub code: i64,
    /// For how long it had run.
    pub ran: Duration,
    /// Did someone ask for its end?
    pub stopped: bool,
    /// How often it had been started again since someone asked for it.
    pub restarts: u32,
    /// How often in a row without running for long.
    pub failures: u32,
}

/// What to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Leave it ended.
    Rest,
    /// Start it again after this time, as so many short runs in a row say.
    Again {
        /// How long to wait.
        delay: Duration,
        /// Short runs in a row, this one counted.
        failures: u32,
    },
}

/// Refuses policies that make no sense, in Docker's words.
pub fn check(policy: Option<&RestartPolicy>, auto_remove: bool) -> Result<()> {
    let Some(policy) = policy else { return Ok(()) };
    let name = policy.name.unwrap_or(Name::EMPTY);
    let retries = policy.maximum_retry_count.unwrap_or(0);
    if !matches!(name, Name::EMPTY | Name::NO) && auto_remove {
        return Err(Error::Invalid("can't create 'AutoRemove' container with restart policy".to_owned()));
    }
    if retries < 0 {
        return Err(Error::Invalid("invalid restart policy: maximum retry count cannot be negative".to_owned()));
    }
    if retries > 0 && !matches!(name, Name::ON_FAILURE) {
        return Err(Error::Invalid(
            "invalid restart policy: maximum retry count can only be used with 'on-failure'".to_owned(),
        ));
    }
    Ok(())
}

/// What `policy` makes of an end.
pub fn decide(policy: Option<&RestartPolicy>, end: End) -> Verdict {
    let retries = policy.and_then(|policy| policy.maximum_retry_count).unwrap_or(0);
    let again = match policy.and_then(|policy| policy.name).unwrap_or(Name::EMPTY) {
        Name::ALWAYS | Name::UNLESS_STOPPED => true,
        Name::ON_FAILURE => end.code != 0 && (retries == 0 || i64::from(end.restarts) < retries),
        Name::EMPTY | Name::NO => false,
    };
    if !again || end.stopped {
        return Verdict::Rest;
    }
    let failures = if end.ran >= LONG_ENOUGH { 1 } else { end.failures.saturating_add(1) };
    Verdict::Again { delay: delay(failures), failures }
}

/// 100 ms after the first, twice as long after each further, never more than a minute.
fn delay(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    (FIRST_DELAY * (1 << doublings)).min(LONGEST_DELAY)
}

/// Is a container that does not run to be started with the host, or with a new daemon? `code` is
/// how it ended.
pub fn at_boot(policy: Option<&RestartPolicy>, stopped: bool, ran_before: bool, code: i64) -> bool {
    let wanted = match policy.and_then(|policy| policy.name).unwrap_or(Name::EMPTY) {
        Name::ALWAYS => true,
        Name::UNLESS_STOPPED => !stopped,
        Name::ON_FAILURE => !stopped && code != 0,
        Name::EMPTY | Name::NO => false,
    };
    wanted && ran_before
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(name: Name, retries: i64) -> Option<RestartPolicy> {
        Some(RestartPolicy { name: Some(name), maximum_retry_count: Some(retries) })
    }

    const END: End = End { code: 1, ran: Duration::from_secs(1), stopped: false, restarts: 0, failures: 0 };

    fn again(policy: Option<&RestartPolicy>, end: End) -> bool {
        matches!(decide(policy, end), Verdict::Again { .. })
    }

    #[test]
    fn policies() {
        let (always, failing) = (policy(Name::ALWAYS, 0), policy(Name::ON_FAILURE, 2));
        assert!(!again(None, END));
        assert!(!again(policy(Name::NO, 0).as_ref(), END));
        assert!(again(always.as_ref(), End { code: 0, ..END }));
        assert!(!again(always.as_ref(), End { stopped: true, ..END }));
        assert!(again(failing.as_ref(), End { restarts: 1, ..END }));
        assert!(!again(failing.as_ref(), End { restarts: 2, ..END }));
        assert!(!again(failing.as_ref(), End { code: 0, ..END }));
    }

    #[test]
    fn the_delay_doubles_up_to_a_minute() {
        let always = policy(Name::ALWAYS, 0);
        let of = |failures| match decide(always.as_ref(), End { failures, ..END }) {
            Verdict::Again { delay, .. } => delay.as_millis(),
            Verdict::Rest => 0,
        };
        assert_eq!([of(0), of(1), of(2), of(9), of(10), of(1000)], [100, 200, 400, 51_200, 60_000, 60_000]);
    }

    #[test]
    fn a_long_run_starts_over() {
        let end = End { ran: Duration::from_secs(10), failures: 9, ..END };
        let verdict = decide(policy(Name::ALWAYS, 0).as_ref(), end);
        assert_eq!(verdict, Verdict::Again { delay: Duration::from_millis(100), failures: 1 });
    }

    #[test]
    fn senseless_policies_are_refused() {
        assert!(check(policy(Name::ALWAYS, 3).as_ref(), false).is_err());
        assert!(check(policy(Name::ON_FAILURE, -1).as_ref(), false).is_err());
        assert!(check(policy(Name::ALWAYS, 0).as_ref(), true).is_err());
        assert!(check(policy(Name::NO, 0).as_ref(), true).is_ok());
        assert!(check(policy(Name::ON_FAILURE, 3).as_ref(), false).is_ok());
    }

    #[test]
    fn with_the_host() {
        let (always, unless) = (policy(Name::ALWAYS, 0), policy(Name::UNLESS_STOPPED, 0));
        assert!(at_boot(always.as_ref(), true, true, 0));
        assert!(!at_boot(always.as_ref(), false, false, 0));
        assert!(!at_boot(unless.as_ref(), true, true, 0));
        assert!(at_boot(unless.as_ref(), false, true, 0));
        let failing = policy(Name::ON_FAILURE, 0);
        assert!(at_boot(failing.as_ref(), false, true, 255));
        assert!(!at_boot(failing.as_ref(), false, true, 0));
        assert!(!at_boot(None, false, true, 1));
    }
}
