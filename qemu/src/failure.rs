//! Owns what a console shows when a boot has failed for good, so that nobody waits for its time
//! limit.

/// Texts that no boot recovers from by itself.
const FATAL: [&str; 6] = [
    "Kernel panic - not syncing",
    "You are in emergency mode",
    "Entering emergency mode",
    "Cannot open access to console, the root account is locked",
    "grub rescue>",
    "No bootable option or device was found",
];

/// The first line that says so.
pub(crate) fn find(console: &str) -> Option<&str> {
    console.lines().map(str::trim).find(|line| FATAL.iter().any(|text| line.contains(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_seen_and_a_good_boot_is_not() {
        let console = "[    1.0] Linux version 6.12\n[    2.1] Kernel panic - not syncing: VFS: Unable to mount\n[    2.1] CPU: 0";
        assert_eq!(find(console), Some("[    2.1] Kernel panic - not syncing: VFS: Unable to mount"));
        assert_eq!(find("[  OK  ] Reached target emergency\nlocalhost login:"), None);
    }
}
