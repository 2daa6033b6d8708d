//! Owns how much of a log is kept: Docker's options of the driver json-file, and what holds when
//! none are given.

use bollard::models::HostConfigLogConfig;

use crate::error::{Error, Result};
use crate::words;

/// Segments that a log without options has.
const SEGMENTS: u64 = 8;
/// What a log without options may take at most, in bytes, however large the file system is.
const MOST: u64 = 1 << 30;
/// And what it may take on the smallest file system.
const LEAST: u64 = 16 << 20;

/// How large a log may become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one segment.
    pub size: u64,
    /// How many segments are kept.
    pub segments: u64,
}

/// What a container's log is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Driver {
    /// Kept and readable.
    Kept(Limits),
    /// `--log-driver none`: it goes to who is attached, and what they need of it is kept in memory.
    None,
}

impl Driver {
    /// Reads Docker's log configuration. `space` is the size of the file system in bytes, of which a
    /// log without `max-size` takes at most a twentieth.
    pub fn of(config: Option<&HostConfigLogConfig>, space: u64) -> Result<Self> {
        let default = (space / 20).clamp(LEAST, MOST);
        let name = config.and_then(|config| config.typ.as_deref()).unwrap_or_default();
        match name {
            "none" => return Ok(Self::None),
            "" | "json-file" | "local" => {}
            other => {
                return Err(Error::Invalid(format!(
                    "logger: no log driver named '{other}' is registered; json-file, local and none are"
                )));
            }
        }
        let option = |name: &str| {
            let options = config.and_then(|config| config.config.as_ref());
            options.and_then(|options| options.get(name)).map(String::as_str)
        };
        let size = match option("max-size") {
            None | Some("" | "-1") => None,
            Some(text) => Some(words::size(text).ok().filter(|&size| size > 0).ok_or_else(|| {
                Error::Invalid(format!("invalid value for max-size: {text}; it must be a positive size like 10m"))
            })? as u64),
        };
        let files = match option("max-file") {
            None => None,
            Some(text) => Some(text.parse::<u64>().ok().filter(|&count| count > 0).ok_or_else(|| {
                Error::Invalid(format!("invalid value for max-file: {text}; 'max-file' cannot be less than 1"))
            })?),
        };
        if size.is_none() && files.is_some_and(|files| files > 1) && name != "local" {
            return Err(Error::Invalid("cannot set max-file when max-size is not set".to_owned()));
        }
        Ok(Self::Kept(match size {
            Some(size) => Limits { size, segments: files.unwrap_or(1) },
            None => Limits { size: default / SEGMENTS, segments: SEGMENTS },
        }))
    }

    /// What bounds the files, which without a log are only what attached clients read from.
    pub fn limits(self) -> Limits {
        match self {
            Self::Kept(limits) => limits,
            Self::None => Limits { size: 1 << 20, segments: 2 },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn driver(typ: &str, options: &[(&str, &str)]) -> Result<Driver> {
        let config = HostConfigLogConfig {
            typ: Some(typ.to_owned()),
            config: Some(options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()),
        };
        Driver::of(Some(&config), 100 << 30)
    }

    #[test]
    fn a_log_without_options_cannot_fill_the_disk() {
        let size = |space: u64| match Driver::of(None, space).unwrap() {
            Driver::Kept(limits) => limits.size * limits.segments,
            Driver::None => 0,
        };
        assert_eq!(size(1 << 40), MOST);
        assert_eq!(size(4000 << 20), 200 << 20);
        assert_eq!(size(1 << 20), LEAST);
    }

    #[test]
    fn options_of_json_file_are_respected() {
        let kept = |size, segments| Driver::Kept(Limits { size, segments });
        assert_eq!(driver("json-file", &[("max-size", "10k"), ("max-file", "3")]).unwrap(), kept(10 << 10, 3));
        assert_eq!(driver("", &[("max-size", "1m")]).unwrap(), kept(1 << 20, 1));
        assert_eq!(driver("none", &[]).unwrap(), Driver::None);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for options in [[("max-size", "0")], [("max-size", "much")], [("max-file", "0")], [("max-file", "2")]] {
            assert!(driver("json-file", &options).is_err(), "{options:?}");
        }
        assert!(driver("journald", &[]).is_err());
    }
}
