//! Owns what somebody who reads a log asks for: the API's `PodLogOptions` from a query.

use jiff::{SignedDuration, Timestamp};

/// Which of a container's streams.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Stream {
    /// Both, as they were written.
    #[default]
    All,
    /// The standard output.
    Output,
    /// The standard error.
    Error,
}

/// What to show of a log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// Wait for more while the container runs.
    pub follow: bool,
    /// Of the container before.
    pub previous: bool,
    /// Only lines not older.
    pub since: Option<Timestamp>,
    /// Begin each line with its time.
    pub timestamps: bool,
    /// Only the last lines.
    pub tail: Option<u64>,
    /// Not more bytes.
    pub limit: Option<u64>,
    /// Which stream.
    pub stream: Stream,
}

/// Why a query cannot be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    /// A value is not of its type.
    #[error("{{\"message\": \"Unable to decode query.\"}}")]
    Undecodable,
    /// Values out of range, or that exclude each other.
    #[error("{{\"message\": \"Invalid request.\"}}")]
    Invalid,
}

impl Options {
    /// Reads a query's pairs; relative times are before `now`.
    pub fn parse(query: &[(String, String)], now: Timestamp) -> Result<Self, OptionsError> {
        let value = |name: &str| {
            let (_, value) = query.iter().find(|(key, _)| key == name)?;
            Some(value.as_str()).filter(|value| !value.is_empty())
        };
        let number = |name| value(name).map(str::parse::<i64>).transpose().map_err(|_| OptionsError::Undecodable);
        let tail = match value("tail") {
            Some("all") => None,
            Some(tail) => Some(tail.parse().map_err(|_| OptionsError::Undecodable)?),
            None => number("tailLines")?,
        };
        let seconds = number("sinceSeconds")?;
        let time = value("sinceTime").map(str::parse::<Timestamp>).transpose();
        let time = time.map_err(|_| OptionsError::Undecodable)?;
        Ok(Self {
            follow: value("follow").is_some_and(truth),
            previous: value("previous").is_some_and(truth),
            timestamps: value("timestamps").is_some_and(truth),
            since: since(seconds, time, now)?,
            tail: tail.map(|tail: i64| tail.try_into().map_err(|_| OptionsError::Invalid)).transpose()?,
            limit: number("limitBytes")?.map(positive).transpose()?,
            stream: match value("stream") {
                None | Some("All") => Stream::All,
                Some("Stdout") => Stream::Output,
                Some("Stderr") => Stream::Error,
                Some(_) => return Err(OptionsError::Invalid),
            },
        })
    }
}

fn since(seconds: Option<i64>, time: Option<Timestamp>, now: Timestamp) -> Result<Option<Timestamp>, OptionsError> {
    match (seconds, time) {
        (Some(_), Some(_)) => Err(OptionsError::Invalid),
        (Some(seconds), None) => {
            let ago = SignedDuration::from_secs(positive(seconds)?.try_into().map_err(|_| OptionsError::Invalid)?);
            Ok(Some(now.checked_sub(ago).unwrap_or(Timestamp::MIN)))
        }
        (None, time) => Ok(time),
    }
}

fn positive(number: i64) -> Result<u64, OptionsError> {
    u64::try_from(number).ok().filter(|number| *number > 0).ok_or(OptionsError::Invalid)
}

/// As the API reads it: all but a plain no is a yes.
fn truth(value: &str) -> bool {
    !matches!(value, "false" | "False" | "FALSE" | "0" | "f" | "F")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(query: &[(&str, &str)]) -> Result<Options, OptionsError> {
        let query: Vec<_> = query.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Options::parse(&query, "2024-01-01T00:01:00Z".parse().expect("a time"))
    }

    #[test]
    fn nothing_asked_is_all_of_it() {
        assert_eq!(parse(&[]), Ok(Options::default()));
        assert_eq!(parse(&[("tail", "all"), ("tailLines", "3"), ("follow", "false")]), Ok(Options::default()));
    }

    #[test]
    fn everything_asked_is_heeded() {
        let options = parse(&[
            ("follow", "true"),
            ("previous", "1"),
            ("timestamps", "true"),
            ("sinceSeconds", "60"),
            ("tailLines", "0"),
            ("limitBytes", "5"),
            ("stream", "Stderr"),
        ]);
        let expected = Options {
            follow: true,
            previous: true,
            since: "2024-01-01T00:00:00Z".parse().ok(),
            timestamps: true,
            tail: Some(0),
            limit: Some(5),
            stream: Stream::Error,
        };
        assert_eq!(options, Ok(expected));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        assert_eq!(parse(&[("tailLines", "x")]), Err(OptionsError::Undecodable));
        assert_eq!(parse(&[("sinceTime", "yesterday")]), Err(OptionsError::Undecodable));
        let both = [("sinceSeconds", "1"), ("sinceTime", "2024-01-01T00:00:00Z")];
        for query in [&[("tailLines", "-1")][..], &[("limitBytes", "0")], &[("sinceSeconds", "0")], &both] {
            assert_eq!(parse(query), Err(OptionsError::Invalid));
        }
    }
}
