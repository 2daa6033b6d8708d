//! Owns the names of signals.

use std::str::FromStr;

use nix::sys::signal::Signal;

use crate::error::{Error, Result};

/// Asks to end.
pub const TERM: u32 = Signal::SIGTERM as u32;
/// Ends.
pub const KILL: u32 = Signal::SIGKILL as u32;

const FIRST_REAL_TIME: u32 = 34;
const LAST: u32 = 64;

/// The number of `text`: `SIGTERM`, `term`, `15`, `RTMIN+3`; `usual` when it is empty.
pub fn parse(text: &str, usual: u32) -> Result<u32> {
    if text.is_empty() {
        return Ok(usual);
    }
    let name = text.to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    let number = text
        .parse::<u32>()
        .ok()
        .or_else(|| real_time(name))
        .or_else(|| Signal::from_str(&format!("SIG{name}")).ok().map(|signal| signal as u32));
    number.filter(|number| (1..=LAST).contains(number)).ok_or_else(|| Error::Invalid(format!("invalid signal: {text}")))
}

fn real_time(name: &str) -> Option<u32> {
    let offset =
        |text: &str, sign| if text.is_empty() { Some(0) } else { text.strip_prefix(sign)?.parse::<u32>().ok() };
    match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
        (Some(rest), _) => FIRST_REAL_TIME.checked_add(offset(rest, '+')?),
        (_, Some(rest)) => LAST.checked_sub(offset(rest, '-')?).filter(|number| *number >= FIRST_REAL_TIME),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        assert_eq!(parse("", TERM).unwrap(), 15);
        assert_eq!(parse("SIGKILL", TERM).unwrap(), 9);
        assert_eq!(parse("hup", TERM).unwrap(), 1);
        assert_eq!(parse("10", TERM).unwrap(), 10);
        assert_eq!(parse("RTMIN+3", TERM).unwrap(), 37);
        assert_eq!(parse("SIGRTMAX-1", TERM).unwrap(), 63);
        for bad in ["0", "65", "SIGNOPE", "RTMIN+99", "-1", "RTMAX-40"] {
            assert!(parse(bad, TERM).is_err(), "{bad}");
        }
    }
}
