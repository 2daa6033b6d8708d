//! Owns as whom this host speaks to others of itself: an id that is made of the machine's and tells nobody
//! that one, as machine-id(5) asks for.

use anyhow::Context;
use libsystemd::id128::{Id128, get_machine};

/// What makes it another than any other program's.
const APPLICATION: &str = "6b65656c-736f-4e75-8064-617465000001";

/// The id of this host, 32 hexadecimal digits.
pub fn machine() -> anyhow::Result<String> {
    let machine = get_machine().context("this host has no /etc/machine-id")?;
    derived(&machine)
}

fn derived(machine: &Id128) -> anyhow::Result<String> {
    let application = Id128::parse_str(APPLICATION).context("the application's id is none")?;
    Ok(machine.app_specific(&application).context("cannot derive an id from the machine's")?.lower_hex())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_hosts_own_and_not_the_machine_id() {
        let one = Id128::parse_str("0123456789abcdef0123456789abcdef").unwrap();
        let two = Id128::parse_str("0123456789abcdef0123456789abcdee").unwrap();
        let id = derived(&one).unwrap();
        assert_eq!(id, derived(&one).unwrap());
        assert!(id.len() == 32 && id != one.lower_hex() && id != derived(&two).unwrap(), "{id}");
    }
}
