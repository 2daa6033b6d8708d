//! Owns the names of containers: which are allowed, and those for who gives none.

use crate::error::{Error, Result};

/// Words for how something is.
const QUALITIES: [&str; 96] = [
    "agile", "amber", "ample", "apt", "awake", "azure", "balmy", "blithe", "bold", "brave", "breezy", "bright",
    "brisk", "calm", "candid", "careful", "cheery", "chief", "civil", "clear", "clever", "cosy", "crisp", "curious",
    "daring", "deft", "eager", "early", "earnest", "easy", "even", "exact", "fair", "fast", "festive", "fine", "firm",
    "fleet", "fond", "frank", "free", "fresh", "gentle", "glad", "golden", "grand", "handy", "happy", "hardy",
    "honest", "humble", "ideal", "jolly", "keen", "kind", "lively", "loyal", "lucid", "lucky", "mellow", "merry",
    "mild", "modest", "neat", "nimble", "noble", "open", "patient", "placid", "plain", "plucky", "polite", "prime",
    "prompt", "proud", "quick", "quiet", "ready", "robust", "rosy", "serene", "sharp", "silver", "sleek", "smart",
    "snug", "sober", "solid", "spry", "steady", "sturdy", "sunny", "swift", "tidy", "vivid", "warm",
];

/// Seafarers, shipwrights, and who measured the sea and the sky for them.
const SURNAMES: [&str; 80] = [
    "amundsen",
    "anning",
    "baffin",
    "barents",
    "baret",
    "baudin",
    "beaufort",
    "bering",
    "bligh",
    "bouguer",
    "bowditch",
    "brunel",
    "cabot",
    "carteret",
    "cartier",
    "cassini",
    "chapman",
    "chichester",
    "columbus",
    "cook",
    "cousteau",
    "dampier",
    "darwin",
    "davis",
    "delano",
    "diaz",
    "drake",
    "dudley",
    "earle",
    "elcano",
    "eriksson",
    "euler",
    "fitzroy",
    "flinders",
    "franklin",
    "frobisher",
    "froude",
    "galilei",
    "gama",
    "gray",
    "halley",
    "harrison",
    "hawkins",
    "henson",
    "heyerdahl",
    "hipparchus",
    "hudson",
    "humboldt",
    "joyon",
    "kepler",
    "knox",
    "kotzebue",
    "laperouse",
    "lovell",
    "magellan",
    "marin",
    "maskelyne",
    "maury",
    "mercator",
    "moitessier",
    "nansen",
    "nares",
    "nelson",
    "parry",
    "peary",
    "polo",
    "ptolemy",
    "pytheas",
    "raleigh",
    "ross",
    "sacagawea",
    "scoresby",
    "scott",
    "shackleton",
    "slocum",
    "tasman",
    "tharp",
    "vancouver",
    "vespucci",
    "zhenghe",
];

/// A name made of `chance`; `attempt` distinguishes it from names that were taken.
pub fn generated(chance: u64, attempt: u32) -> String {
    let quality = QUALITIES[(chance % QUALITIES.len() as u64) as usize];
    let surname = SURNAMES[((chance >> 32) % SURNAMES.len() as u64) as usize];
    // After some collisions names are crowded: a digit makes room, as everyone is used to.
    if attempt < 6 { format!("{quality}_{surname}") } else { format!("{quality}_{surname}{}", chance % 10) }
}

/// The name that was asked for, without the slash that clients may put before it.
pub fn checked(name: &str) -> Result<&str> {
    let bare = name.strip_prefix('/').unwrap_or(name);
    let mut bytes = bare.bytes();
    let first = bytes.next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    let rest = bytes.all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
    if first && rest && bare.len() > 1 {
        return Ok(bare);
    }
    Err(Error::Invalid(format!("Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        assert_eq!(checked("/web-1.a_b").unwrap(), "web-1.a_b");
        for bad in ["", "/", "-a", "a b", "a/b", "x", "ä1"] {
            assert!(checked(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn generated_names_are_names() {
        for chance in [0, 1, u64::MAX, 0x1234_5678_9abc_def0] {
            assert!(checked(&generated(chance, 0)).is_ok());
            assert!(generated(chance, 7).ends_with(|last: char| last.is_ascii_digit()));
        }
    }
}
