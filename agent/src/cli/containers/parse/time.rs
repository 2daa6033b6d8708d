//! Owns moments as `--since` and `--until` take them: a duration before now, a Unix time, or a date
//! and time with or without its zone.

use chrono::{DateTime, Local, NaiveDate, NaiveDateTime, TimeZone};

use super::duration;

/// A moment as `seconds.nanoseconds`, which the API takes; `now` is what durations count from.
pub fn moment(text: &str, now: DateTime<Local>) -> Result<String, String> {
    if let Ok(ago) = duration::nanoseconds(text) {
        return Ok(unix(now - chrono::Duration::nanoseconds(ago)));
    }
    if text.split('.').count() <= 2 && !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return Ok(text.to_owned());
    }
    if let Ok(moment) = DateTime::parse_from_rfc3339(text) {
        return Ok(unix(moment));
    }
    let naive = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M:%S%.f"]
        .iter()
        .find_map(|format| NaiveDateTime::parse_from_str(text, format).ok())
        .or_else(|| NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?.and_hms_opt(0, 0, 0));
    naive.and_then(|naive| Local.from_local_datetime(&naive).earliest()).map(unix).ok_or_else(|| {
        format!("invalid value for \"since\" or \"until\": failed to parse value as time or duration: \"{text}\"")
    })
}

fn unix<Zone: TimeZone>(moment: DateTime<Zone>) -> String {
    format!("{}.{:09}", moment.timestamp(), moment.timestamp_subsec_nanos())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_say_when() {
        let now: DateTime<Local> = DateTime::from_timestamp(1_700_000_000, 5).unwrap().into();
        let of = |text| moment(text, now);
        assert_eq!(of("10m").as_deref(), Ok("1699999400.000000005"));
        assert_eq!(of("1699999400").as_deref(), Ok("1699999400"));
        assert_eq!(of("1699999400.25").as_deref(), Ok("1699999400.25"));
        assert_eq!(of("2023-11-14T22:13:20Z").as_deref(), Ok("1700000000.000000000"));
        assert_eq!(of("2023-11-14T22:13:20.5+01:00").as_deref(), Ok("1699996400.500000000"));
        assert!(of("2023-11-14T22:13:20").is_ok() && of("2023-11-14").is_ok());
        assert!(of("yesterday").is_err() && of("").is_err());
    }
}
