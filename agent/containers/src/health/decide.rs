//! Decides how a container's health follows from its checks. Pure.

use std::time::Duration;

use bollard::models::{Health, HealthConfig, HealthStatusEnum, HealthcheckResult};

/// What Docker takes when nothing is said.
const INTERVAL: Duration = Duration::from_secs(30);
const TIMEOUT: Duration = Duration::from_secs(30);
const START_INTERVAL: Duration = Duration::from_secs(5);
const RETRIES: i64 = 3;
/// Results that are kept.
const KEPT: usize = 5;
/// Bytes of a check's output that are kept.
pub const OUTPUT: usize = 4096;

/// A health check, ready to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What is executed.
    pub command: Vec<String>,
    /// The wait between two checks.
    pub interval: Duration,
    /// A check that takes longer has failed.
    pub timeout: Duration,
    /// Failures before this much time has passed do not count.
    pub start_period: Duration,
    /// The wait between two checks in that time.
    pub start_interval: Duration,
    /// So many failures in a row are needed.
    pub retries: i64,
}

impl Check {
    /// The check of a container, when it has one. `shell` runs what is written as a command line.
    pub fn new(config: Option<&HealthConfig>, shell: Option<&[String]>) -> Option<Self> {
        let config = config?;
        let test = config.test.as_deref().unwrap_or_default();
        let command = match test.split_first() {
            Some((kind, rest)) if kind == "CMD" && !rest.is_empty() => rest.to_vec(),
            Some((kind, rest)) if kind == "CMD-SHELL" && !rest.is_empty() => {
                let default = ["/bin/sh".to_owned(), "-c".to_owned()];
                let shell = shell.filter(|shell| !shell.is_empty()).unwrap_or(&default);
                shell.iter().chain(rest).cloned().collect()
            }
            _ => return None,
        };
        let time = |nanos: Option<i64>, default| match nanos.and_then(|nanos| u64::try_from(nanos).ok()) {
            Some(nanos @ 1..) => Duration::from_nanos(nanos),
            _ => default,
        };
        Some(Self {
            command,
            interval: time(config.interval, INTERVAL),
            timeout: time(config.timeout, TIMEOUT),
            start_period: time(config.start_period, Duration::ZERO),
            start_interval: time(config.start_interval, START_INTERVAL),
            retries: config.retries.filter(|retries| *retries > 0).unwrap_or(RETRIES),
        })
    }

    /// The wait before the next check, `ran` after the start.
    pub fn wait(&self, ran: Duration, status: HealthStatusEnum) -> Duration {
        match status == HealthStatusEnum::STARTING && ran < self.start_period {
            true => self.start_interval.min(self.interval),
            false => self.interval,
        }
    }

    /// The health after a result; `ran` is how long the container had run when the check began.
    pub fn after(&self, health: &Health, result: HealthcheckResult, ran: Duration) -> Health {
        let before = health.status.unwrap_or(HealthStatusEnum::STARTING);
        let streak = health.failing_streak.unwrap_or(0);
        let good = result.exit_code == Some(0);
        let forgiven = before == HealthStatusEnum::STARTING && ran < self.start_period;
        let streak = match (good, forgiven) {
            (true, _) => 0,
            (false, true) => streak,
            (false, false) => streak + 1,
        };
        let status = match good {
            true => HealthStatusEnum::HEALTHY,
            false if streak >= self.retries => HealthStatusEnum::UNHEALTHY,
            false => before,
        };
        let mut log = health.log.clone().unwrap_or_default();
        log.push(result);
        let excess = log.len().saturating_sub(KEPT);
        log.drain(..excess);
        Health { status: Some(status), failing_streak: Some(streak), log: Some(log) }
    }
}

/// The health of a container that was just started.
pub fn starting() -> Health {
    Health { status: Some(HealthStatusEnum::STARTING), failing_streak: Some(0), log: Some(Vec::new()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(test: &[&str]) -> HealthConfig {
        HealthConfig { test: Some(test.iter().map(|word| (*word).to_owned()).collect()), ..HealthConfig::default() }
    }

    fn result(code: i64) -> HealthcheckResult {
        HealthcheckResult { exit_code: Some(code), ..HealthcheckResult::default() }
    }

    fn run(check: &Check, codes: &[(i64, u64)]) -> (HealthStatusEnum, i64) {
        let after = |health, (code, ran): &(i64, u64)| check.after(&health, result(*code), Duration::from_secs(*ran));
        let health = codes.iter().fold(starting(), after);
        (health.status.unwrap(), health.failing_streak.unwrap())
    }

    #[test]
    fn commands_and_their_absence() {
        let command = |test: &[&str]| Check::new(Some(&config(test)), None).map(|check| check.command.join(" "));
        assert_eq!(command(&["CMD", "true", "x"]).as_deref(), Some("true x"));
        assert_eq!(command(&["CMD-SHELL", "exit 1"]).as_deref(), Some("/bin/sh -c exit 1"));
        for none in [&["NONE"][..], &[], &["CMD"]] {
            assert_eq!(command(none), None);
        }
        assert_eq!(Check::new(None, None), None);
        let shell = ["/bin/bash".to_owned(), "-ec".to_owned()];
        let check = Check::new(Some(&config(&["CMD-SHELL", "x"])), Some(&shell)).unwrap();
        assert_eq!(check.command, ["/bin/bash", "-ec", "x"]);
    }

    #[test]
    fn so_many_failures_in_a_row_are_unhealthy() {
        let check = Check::new(Some(&config(&["CMD", "x"])), None).unwrap();
        assert_eq!((check.interval, check.timeout, check.retries), (INTERVAL, TIMEOUT, 3));
        assert_eq!(run(&check, &[(1, 1), (1, 2)]), (HealthStatusEnum::STARTING, 2));
        assert_eq!(run(&check, &[(1, 1), (1, 2), (-1, 3)]), (HealthStatusEnum::UNHEALTHY, 3));
        assert_eq!(run(&check, &[(0, 1), (1, 2), (1, 3)]), (HealthStatusEnum::HEALTHY, 2));
        assert_eq!(run(&check, &[(1, 1), (1, 2), (1, 3), (0, 4)]), (HealthStatusEnum::HEALTHY, 0));
    }

    #[test]
    fn failures_while_it_starts_are_forgiven_until_the_first_success() {
        let config = HealthConfig { start_period: Some(10_000_000_000), retries: Some(1), ..config(&["CMD", "x"]) };
        let check = Check::new(Some(&config), None).unwrap();
        assert_eq!(run(&check, &[(1, 1), (1, 9)]), (HealthStatusEnum::STARTING, 0));
        assert_eq!(run(&check, &[(1, 1), (1, 11)]), (HealthStatusEnum::UNHEALTHY, 1));
        assert_eq!(run(&check, &[(0, 1), (1, 2)]), (HealthStatusEnum::UNHEALTHY, 1));
        assert_eq!(check.wait(Duration::from_secs(1), HealthStatusEnum::STARTING), START_INTERVAL);
        assert_eq!(check.wait(Duration::from_secs(11), HealthStatusEnum::STARTING), INTERVAL);
        assert_eq!(check.wait(Duration::from_secs(1), HealthStatusEnum::HEALTHY), INTERVAL);
    }

    #[test]
    fn the_last_results_are_kept() {
        let check = Check::new(Some(&config(&["CMD", "x"])), None).unwrap();
        let after = |health, code| check.after(&health, result(code), Duration::ZERO);
        let health = (0..8).fold(starting(), after);
        let codes: Vec<_> = health.log.unwrap().iter().map(|result| result.exit_code.unwrap()).collect();
        assert_eq!(codes, [3, 4, 5, 6, 7]);
    }
}
