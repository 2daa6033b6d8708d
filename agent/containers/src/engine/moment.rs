//! Owns points in time as the Docker API writes them: RFC 3339 with nanoseconds, in UTC.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::Error;

/// What Docker shows of something that has not happened.
pub const NEVER: &str = "0001-01-01T00:00:00Z";

/// A point in time, in nanoseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(i64);

impl Moment {
    /// This very moment.
    pub fn now() -> Self {
        Self(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as i64))
    }

    /// So long after the beginning of 1970.
    pub fn at(seconds: i64, nanos: i64) -> Self {
        Self(seconds.saturating_mul(1_000_000_000).saturating_add(nanos))
    }

    /// So long before this.
    pub fn before(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(span.as_nanos()).unwrap_or(i64::MAX)))
    }

    /// Nanoseconds since 1970.
    pub fn nanos(self) -> i64 {
        self.0
    }

    /// Whole seconds since 1970.
    pub fn seconds(self) -> i64 {
        self.0.div_euclid(1_000_000_000)
    }

    /// Whole milliseconds since 1970; none before.
    pub fn millis(self) -> u64 {
        u64::try_from(self.0 / 1_000_000).unwrap_or(0)
    }

    /// The time from `earlier` to this; none when `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// As Docker writes it, or its word for never.
    pub fn text(moment: Option<Self>) -> String {
        moment.map_or_else(|| NEVER.to_owned(), |moment| moment.to_string())
    }
}

impl From<Moment> for prost_types::Timestamp {
    fn from(moment: Moment) -> Self {
        Self { seconds: moment.seconds(), nanos: moment.0.rem_euclid(1_000_000_000) as i32 }
    }
}

impl From<prost_types::Timestamp> for Moment {
    fn from(stamp: prost_types::Timestamp) -> Self {
        Self::at(stamp.seconds, i64::from(stamp.nanos))
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        prost_types::Timestamp::from(*self).fmt(formatter)
    }
}

impl FromStr for Moment {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let stamp = text.parse::<prost_types::Timestamp>();
        stamp.map(Self::from).map_err(|_| Error::Invalid(format!("{text:?} is not a time")))
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|_| serde::de::Error::custom(format!("{text:?} is not a time")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_and_read() {
        let moment = Moment(1_700_000_000_123_456_789);
        assert_eq!(moment.to_string(), "2023-11-14T22:13:20.123456789Z");
        assert_eq!(moment.to_string().parse::<Moment>().ok(), Some(moment));
        assert_eq!(Moment::text(None), NEVER);
        assert!("yesterday".parse::<Moment>().is_err());
    }

    #[test]
    fn no_time_runs_backwards() {
        assert_eq!(Moment(5).since(Moment(9)), Duration::ZERO);
        assert_eq!(Moment(9).since(Moment(5)), Duration::from_nanos(4));
    }
}
