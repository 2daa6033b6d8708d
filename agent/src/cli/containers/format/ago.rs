//! Owns lengths of time for a person, and moments.

use chrono::{DateTime, Local};

/// `3 minutes`, `About an hour`, from seconds.
pub fn duration(seconds: i64) -> String {
    let minutes = seconds / 60;
    let hours = (seconds + 1800) / 3600;
    match seconds {
        ..1 => "Less than a second".to_owned(),
        1 => "1 second".to_owned(),
        2..60 => format!("{seconds} seconds"),
        _ if minutes == 1 => "About a minute".to_owned(),
        _ if minutes < 60 => format!("{minutes} minutes"),
        _ if hours == 1 => "About an hour".to_owned(),
        _ if hours < 48 => format!("{hours} hours"),
        _ if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
        _ if hours < 24 * 30 * 2 => format!("{} weeks", hours / 24 / 7),
        _ if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        _ => format!("{} years", seconds / 3600 / 24 / 365),
    }
}

/// `3 minutes ago`, from two moments in seconds since the epoch.
pub fn ago(then: i64, now: i64) -> String {
    format!("{} ago", duration(now - then))
}

/// The present moment in seconds since the epoch.
pub fn now() -> i64 {
    Local::now().timestamp()
}

/// A moment as Go prints it: `2026-01-31 12:00:00 +0000 UTC`.
pub fn date(seconds: i64) -> String {
    match DateTime::from_timestamp(seconds, 0) {
        Some(moment) => zoned(moment.with_timezone(&Local)),
        None => String::new(),
    }
}

fn zoned(moment: DateTime<Local>) -> String {
    let offset = moment.format("%z").to_string();
    let zone = if offset == "+0000" { "UTC" } else { &offset };
    format!("{} {offset} {zone}", moment.format("%Y-%m-%d %H:%M:%S"))
}

/// A moment of an event: RFC 3339 with nine digits, in this zone.
pub fn precise(nanoseconds: i64) -> String {
    let moment = DateTime::from_timestamp_nanos(nanoseconds).with_timezone(&Local);
    let zone = moment.format("%:z").to_string();
    let zone = if zone == "+00:00" { "Z" } else { &zone };
    format!("{}{zone}", moment.format("%Y-%m-%dT%H:%M:%S%.9f"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_people_say_it() {
        for (seconds, expected) in [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (119, "About a minute"),
            (120, "2 minutes"),
            (3599, "59 minutes"),
            (3600, "About an hour"),
            (5400, "2 hours"),
            (48 * 3600, "2 days"),
            (14 * 24 * 3600, "2 weeks"),
            (60 * 24 * 3600, "2 months"),
            (730 * 24 * 3600, "2 years"),
        ] {
            assert_eq!(duration(seconds), expected, "{seconds}");
        }
        assert_eq!(ago(100, 220), "2 minutes ago");
    }
}
