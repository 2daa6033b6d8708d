//! Owns by how much hosts differ in time, purely: a share that is the host's own, and the same whenever it is
//! asked for.

use std::time::Duration;

use sha2::{Digest, Sha256};

/// How much a check may come before or after its time.
const JITTER: f64 = 0.1;
/// How long after its start a host may wait for the first check.
const START: Duration = Duration::from_secs(120);

/// A number from 0 to less than 1 for a host and a matter; evenly spread over hosts.
pub fn share(machine: &str, matter: &str) -> f64 {
    let digest = Sha256::digest(format!("{machine}\0{matter}"));
    let bytes = digest.iter().take(4).fold(0_u32, |all, byte| (all << 8) | u32::from(*byte));
    f64::from(bytes) / (f64::from(u32::MAX) + 1.0)
}

/// When it is a host's turn to go over to a commit, counted from `from`, in seconds since the epoch.
pub fn turn(from: u64, spread: Duration, machine: &str, checksum: &str) -> u64 {
    from.saturating_add(spread.mul_f64(share(machine, checksum)).as_secs())
}

/// When to check next, after a check at `last` and a start at `started`.
pub fn next_check(last: Option<u64>, started: u64, every: Duration, machine: &str) -> u64 {
    let first = started.saturating_add(START.min(every / 10).mul_f64(share(machine, "start")).as_secs());
    let Some(last) = last else { return first };
    let factor = 1.0 - JITTER + 2.0 * JITTER * share(machine, &last.to_string());
    first.max(last.saturating_add(every.mul_f64(factor).as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_its_turn_and_keeps_it() {
        let day = Duration::from_secs(86400);
        let turns: Vec<u64> = (0..1000).map(|host| turn(1000, day, &format!("host{host}"), "abc")).collect();
        assert!(turns.iter().all(|turn| (1000..1000 + 86400).contains(turn)));
        assert_eq!(turns[7], turn(1000, day, "host7", "abc"));
        assert_ne!(turns[7], turn(1000, day, "host7", "another version"), "the same host is not always the first");
        let quarter = turns.iter().filter(|turn| **turn < 1000 + 86400 / 4).count();
        assert!((200..300).contains(&quarter), "{quarter} of 1000 in the first quarter");
        assert_eq!(turn(1000, Duration::ZERO, "host7", "abc"), 1000);
    }

    #[test]
    fn checks_come_about_as_often_as_asked() {
        let hour = Duration::from_secs(3600);
        let next = next_check(Some(100_000), 0, hour, "m");
        assert!((100_000 + 3240..=100_000 + 3960).contains(&next), "{next}");
        assert!((50..=50 + 120).contains(&next_check(None, 50, hour, "m")));
        assert!(next_check(Some(0), 500_000, hour, "m") >= 500_000, "not all at once after a power cut");
    }
}
