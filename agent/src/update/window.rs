//! Owns windows of time, purely: whether one is open, and when the next one opens. A window begins by the
//! clock of its time zone, summer time included, and lasts as long as it says by any clock.

use std::time::Duration;

use jiff::civil::{Date, Weekday, time};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use keelson_common::provision::{self, Day, time_of_day, time_zone};

/// A time, each week, in which a host may reboot.
#[derive(Debug, Clone)]
pub struct Window {
    days: Vec<Weekday>,
    hour: i8,
    minute: i8,
    length: Duration,
    zone: TimeZone,
}

/// How it stands with all windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// One is open.
    Open {
        /// Until when, in seconds since the epoch.
        until: u64,
    },
    /// None is.
    Closed {
        /// When the next one opens.
        next: Option<u64>,
    },
}

impl Window {
    /// From what a host is told.
    pub fn new(told: &provision::Window) -> Result<Self, String> {
        let (hour, minute) = time_of_day(&told.start)?;
        let zone = told.timezone.as_deref().map_or(Ok(TimeZone::UTC), time_zone)?;
        let days = told.days.iter().map(|day| weekday(*day)).collect();
        Ok(Self { days, hour, minute, length: provision::duration(&told.length)?, zone })
    }

    /// When those begin that matter to `now`: from a week before, as none is longer, to a week after.
    fn begins(&self, now: Timestamp) -> impl Iterator<Item = Timestamp> {
        let today = now.to_zoned(self.zone.clone()).date();
        let days = (-8..=8).filter_map(move |offset| today.checked_add(Span::new().days(offset)).ok());
        let days = days.filter(|day| self.days.is_empty() || self.days.contains(&day.weekday()));
        days.filter_map(|day| self.begin(day))
    }

    /// When it begins on a day. A time that the clock skips is taken an hour later, one that comes twice
    /// the first time.
    fn begin(&self, day: Date) -> Option<Timestamp> {
        let start = day.to_datetime(time(self.hour, self.minute, 0, 0));
        Some(start.to_zoned(self.zone.clone()).ok()?.timestamp())
    }
}

fn weekday(day: Day) -> Weekday {
    match day {
        Day::Mon => Weekday::Monday,
        Day::Tue => Weekday::Tuesday,
        Day::Wed => Weekday::Wednesday,
        Day::Thu => Weekday::Thursday,
        Day::Fri => Weekday::Friday,
        Day::Sat => Weekday::Saturday,
        Day::Sun => Weekday::Sunday,
    }
}

/// How it stands with these windows at `now`, in seconds since the epoch.
pub fn standing(windows: &[Window], now: u64) -> Standing {
    let Ok(moment) = i64::try_from(now).map_err(drop).and_then(|now| Timestamp::from_second(now).map_err(drop)) else {
        return Standing::Closed { next: None };
    };
    let seconds = |moment: Timestamp| u64::try_from(moment.as_second()).unwrap_or_default();
    let all = windows.iter().flat_map(|window| {
        window.begins(moment).map(move |begin| (seconds(begin), seconds(begin) + window.length.as_secs()))
    });
    let (mut until, mut next) = (None, None);
    for (begin, end) in all {
        if begin <= now && now < end {
            until = until.max(Some(end));
        } else if begin > now {
            next = Some(next.map_or(begin, |next: u64| next.min(begin)));
        }
    }
    until.map_or(Standing::Closed { next }, |until| Standing::Open { until })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(days: &[Day], start: &str, length: &str, zone: Option<&str>) -> Window {
        let told = provision::Window {
            days: days.to_vec(),
            start: start.into(),
            length: length.into(),
            timezone: zone.map(str::to_owned),
        };
        Window::new(&told).unwrap()
    }

    fn at(text: &str) -> u64 {
        u64::try_from(text.parse::<Timestamp>().unwrap().as_second()).unwrap()
    }

    #[test]
    fn it_opens_and_closes() {
        // 2026-11-26 is a Thursday.
        let windows = [window(&[Day::Thu], "02:00", "2h", None)];
        assert_eq!(
            standing(&windows, at("2026-11-26T01:59:59Z")),
            Standing::Closed { next: Some(at("2026-11-26T02:00:00Z")) }
        );
        assert_eq!(
            standing(&windows, at("2026-11-26T02:00:00Z")),
            Standing::Open { until: at("2026-11-26T04:00:00Z") }
        );
        assert_eq!(
            standing(&windows, at("2026-11-26T04:00:00Z")),
            Standing::Closed { next: Some(at("2026-12-03T02:00:00Z")) }
        );
        assert_eq!(standing(&[], at("2026-11-26T02:00:00Z")), Standing::Closed { next: None });
    }

    #[test]
    fn it_lasts_over_midnight_and_over_days() {
        let night = [window(&[Day::Wed], "23:00", "3h", None)];
        assert_eq!(standing(&night, at("2026-11-26T01:30:00Z")), Standing::Open { until: at("2026-11-26T02:00:00Z") });
        let weekend = [window(&[Day::Sat], "00:00", "48h", None)];
        assert_eq!(
            standing(&weekend, at("2026-11-29T23:00:00Z")),
            Standing::Open { until: at("2026-11-30T00:00:00Z") }
        );
        let week = [window(&[Day::Mon], "00:00", "7d", None)];
        assert!(matches!(standing(&week, at("2026-11-29T23:00:00Z")), Standing::Open { .. }));
    }

    #[test]
    fn the_clock_is_the_zones() {
        let berlin = [window(&[], "02:30", "1h", Some("Europe/Berlin"))];
        // Winter: an hour ahead of UTC. Summer: two.
        assert!(matches!(standing(&berlin, at("2026-11-26T01:45:00Z")), Standing::Open { .. }));
        assert!(matches!(standing(&berlin, at("2026-07-26T00:45:00Z")), Standing::Open { .. }));
        assert!(matches!(standing(&berlin, at("2026-07-26T01:45:00Z")), Standing::Closed { .. }));
        // On 2026-03-29 02:30 does not exist: it opens at 03:30 summer time, for its hour.
        assert_eq!(standing(&berlin, at("2026-03-29T01:35:00Z")), Standing::Open { until: at("2026-03-29T02:30:00Z") });
    }

    #[test]
    fn the_one_that_is_open_longest_counts() {
        let windows = [window(&[], "02:00", "1h", None), window(&[], "02:30", "1h", None)];
        assert_eq!(
            standing(&windows, at("2026-11-26T02:45:00Z")),
            Standing::Open { until: at("2026-11-26T03:30:00Z") }
        );
    }
}
