//! Owns how moments are written: RFC 3339 in UTC, to the second.

use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since the epoch as `2026-01-31T12:00:00Z`; empty for a moment no calendar holds.
pub fn rfc3339(seconds: u64) -> String {
    i64::try_from(seconds)
        .ok()
        .and_then(|seconds| glib::DateTime::from_unix_utc(seconds).ok())
        .and_then(|moment| moment.format("%Y-%m-%dT%H:%M:%SZ").ok())
        .map(String::from)
        .unwrap_or_default()
}

/// The present moment in seconds since the epoch.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map(|age| age.as_secs()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_utc() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(1_700_000_000), "2023-11-14T22:13:20Z");
        assert_eq!(rfc3339(u64::MAX), "");
    }
}
