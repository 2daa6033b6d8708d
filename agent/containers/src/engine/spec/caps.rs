//! Decides which capabilities a container has: Docker's set, more and fewer as asked.

use std::collections::HashSet;

use oci_spec::runtime::Capability;

use crate::error::{Error, Result};

/// What a container has when nothing is asked: Docker's set.
const DEFAULT: [Capability; 14] = [
    Capability::Chown,
    Capability::DacOverride,
    Capability::Fsetid,
    Capability::Fowner,
    Capability::Mknod,
    Capability::NetRaw,
    Capability::Setgid,
    Capability::Setuid,
    Capability::Setfcap,
    Capability::Setpcap,
    Capability::NetBindService,
    Capability::SysChroot,
    Capability::Kill,
    Capability::AuditWrite,
];

const ALL: &str = "ALL";

/// The names of all capabilities, in the order of their numbers.
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// The capabilities of a container: of those that are `there` on the host, a bit each, all when it is
/// privileged.
pub fn decide(add: &[String], drop: &[String], privileged: bool, there: u64) -> Result<HashSet<Capability>> {
    let add = parse(add, "add")?;
    let drop = parse(drop, "drop")?;
    let every = || NAMES.iter().enumerate().filter(|(bit, _)| there >> bit & 1 == 1).filter_map(|(_, name)| one(name));
    if privileged {
        return Ok(every().collect());
    }
    let mut set: HashSet<Capability> = match (&add, &drop) {
        (Asked::All, _) => every().collect(),
        (_, Asked::All) => HashSet::new(),
        _ => DEFAULT.into_iter().collect(),
    };
    if let Asked::Some(drop) = &drop {
        set.retain(|capability| !drop.contains(capability));
    }
    if let Asked::Some(add) = add {
        set.extend(add);
    }
    Ok(set)
}

enum Asked {
    All,
    Some(HashSet<Capability>),
}

fn parse(names: &[String], what: &str) -> Result<Asked> {
    if names.iter().any(|name| name.eq_ignore_ascii_case(ALL)) {
        return Ok(Asked::All);
    }
    let unknown = |name: &String| Error::Invalid(format!("invalid capability to {what}: unknown capability: {name:?}"));
    let found = names.iter().map(|name| one(name).ok_or_else(|| unknown(name))).collect::<Result<_>>()?;
    Ok(Asked::Some(found))
}

fn one(name: &str) -> Option<Capability> {
    let name = name.to_ascii_uppercase();
    let name = name.strip_prefix("CAP_").unwrap_or(&name);
    serde_json::from_value(serde_json::Value::String(format!("CAP_{name}"))).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(add: &[&str], drop: &[&str], privileged: bool) -> HashSet<Capability> {
        let strings = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        decide(&strings(add), &strings(drop), privileged, u64::MAX).unwrap()
    }

    #[test]
    fn every_name_is_one() {
        assert!(NAMES.iter().all(|name| one(name).is_some()));
    }

    #[test]
    fn more_and_fewer() {
        assert_eq!(set(&[], &[], false).len(), 14);
        assert!(set(&["net_admin"], &[], false).contains(&Capability::NetAdmin));
        assert!(!set(&[], &["CAP_CHOWN"], false).contains(&Capability::Chown));
        assert_eq!(set(&["chown"], &["ALL"], false), HashSet::from([Capability::Chown]));
        assert_eq!(set(&["ALL"], &["sys_admin"], false).len(), NAMES.len() - 1);
        assert_eq!(set(&[], &["ALL"], true).len(), NAMES.len());
    }

    #[test]
    fn a_host_may_have_fewer() {
        assert_eq!(decide(&[], &[], true, (1 << 38) - 1).unwrap().len(), 38);
        assert_eq!(decide(&["ALL".to_owned()], &[], false, 0b1).unwrap(), HashSet::from([Capability::Chown]));
    }

    #[test]
    fn unknown_names_are_refused() {
        assert!(decide(&["FLY".to_owned()], &[], false, u64::MAX).is_err());
    }
}
