//! Owns which QEMU may run what: its version, and the refusal of one known to corrupt guests.

use std::fmt;
use std::process::Command;

use keelson_common::command::CommandExt;

use crate::accel::Accel;
use crate::error::Error;

/// The program that runs a machine.
pub const PROGRAM: &str = "qemu-system-x86_64";

/// A QEMU release, ordered as releases are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// The first number.
    pub major: u32,
    /// The second number.
    pub minor: u32,
    /// The third number.
    pub micro: u32,
}

/// The first release whose TCG runs several vCPUs in parallel without corrupting a Linux guest.
const PARALLEL_TCG: Version = Version { major: 8, minor: 0, micro: 0 };

impl Version {
    /// Reads the first line of `qemu-system-x86_64 --version`.
    pub fn parse(text: &str) -> Option<Self> {
        let word = text.split_once("version ")?.1.split_whitespace().next()?;
        let mut numbers = word.split('.').map(|number| number.parse().ok());
        Some(Self { major: numbers.next()??, minor: numbers.next()??, micro: numbers.next().flatten().unwrap_or(0) })
    }

    /// Asks the installed QEMU.
    pub fn installed() -> Result<Self, Error> {
        let text = Command::new(PROGRAM)
            .arg("--version")
            .output_text()
            .map_err(|source| Error::Command { what: "QEMU cannot be used (apt install qemu-system-x86)", source })?;
        Self::parse(&text).ok_or_else(|| {
            let first = text.lines().next().unwrap_or_default();
            Error::Unusable(format!("cannot tell QEMU's version from `{first}`"))
        })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.micro)
    }
}

/// Refuses a QEMU that is known to corrupt a guest with so many vCPUs: 7.2 (Debian 12's own) under
/// TCG with more than one gives `list_add corruption` and a panic.
pub fn check(version: Version, accel: Accel, cpus: u32) -> Result<(), Error> {
    if accel == Accel::Kvm || cpus <= 1 || version >= PARALLEL_TCG {
        return Ok(());
    }
    Err(Error::Unusable(format!(
        "QEMU {version} corrupts guests with {cpus} vCPUs when KVM does not work: use one vCPU (`--cpus 1`), or \
         install a newer QEMU (on Debian 12: `apt install -t bookworm-backports qemu-system-x86 qemu-utils`)"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: Version = Version { major: 7, minor: 2, micro: 19 };

    #[test]
    fn reads_debians_version_line() {
        let line = "QEMU emulator version 7.2.19 (Debian 1:7.2+dfsg-7+deb12u16)\nCopyright (c)";
        assert_eq!(Version::parse(line), Some(OLD));
        assert_eq!(Version::parse("QEMU emulator version 10.1"), Some(Version { major: 10, minor: 1, micro: 0 }));
        assert_eq!(Version::parse("QEMU emulator"), None);
    }

    #[test]
    fn refuses_parallel_tcg_of_7_2_with_the_remedy() {
        let error = check(OLD, Accel::Tcg, 2).unwrap_err().to_string();
        assert!(error.contains("one vCPU") && error.contains("bookworm-backports"), "{error}");
    }

    #[test]
    fn one_vcpu_or_kvm_or_a_newer_release_is_fine() {
        assert!(check(OLD, Accel::Tcg, 1).is_ok());
        assert!(check(OLD, Accel::Kvm, 4).is_ok());
        assert!(check(Version { major: 8, minor: 0, micro: 0 }, Accel::Tcg, 4).is_ok());
    }
}
