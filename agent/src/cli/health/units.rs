//! Owns judging by systemd's units whether a host is well.

use crate::cli::systemd::{Listed, Systemd};
use crate::health::report::{Check, Standing};

/// Units that must not be failed, nor on their way, where they are there.
const EVERYWHERE: [&str; 9] = [
    "keeld.service",
    "dbus.service",
    "systemd-journald.service",
    "systemd-networkd.service",
    "local-fs.target",
    "ssh.service",
    "containerd.service",
    "keelson-containers.service",
    "keelson-node.service",
];
/// What is reached when the boot is done.
const BOOTED: &str = "multi-user.target";

/// Looks at those that every host has, and at `required`.
pub async fn check(systemd: &Systemd, required: &[String]) -> Vec<Check> {
    let names: Vec<&str> = EVERYWHERE.into_iter().chain(required.iter().map(String::as_str)).collect();
    let asked = [names.as_slice(), &[BOOTED]].concat();
    let listed = match systemd.listed(&asked).await {
        Ok(listed) => listed,
        Err(error) => return vec![Check::new("units", Standing::Bad, format!("systemd does not tell: {error}"))],
    };
    let states: Vec<Unit> = listed.into_iter().map(Unit::from).collect();
    let boot = states.iter().find(|unit| unit.name == BOOTED);
    let boot = match boot {
        Some(unit) if unit.active == "active" => Check::new("boot", Standing::Good, "is done"),
        _ => Check::new("boot", Standing::Bad, format!("is not done: {BOOTED} is not reached")),
    };
    let wrong: Vec<String> = states
        .iter()
        .filter(|unit| unit.name != BOOTED)
        .filter_map(|unit| unit.problem(required.contains(&unit.name)))
        .collect();
    let units = match wrong.is_empty() {
        true => Check::new("units", Standing::Good, "none of those that must be well is failed"),
        false => Check::new("units", Standing::Bad, wrong.join(", ")),
    };
    vec![boot, units]
}

/// What matters of a unit.
#[derive(Debug, Default)]
struct Unit {
    name: String,
    load: String,
    active: String,
    sub: String,
    waits: bool,
}

impl From<Listed> for Unit {
    fn from((name, _, load, active, sub, _, _, job, ..): Listed) -> Self {
        Self { name, load, active, sub, waits: job != 0 }
    }
}

impl Unit {
    /// What is wrong with it. One that somebody asked for must be active; others only must not be failed.
    fn problem(&self, asked_for: bool) -> Option<String> {
        let Self { name, load, active, sub, waits } = self;
        if load != "loaded" {
            return asked_for.then(|| format!("{name} is {load}"));
        }
        match active.as_str() {
            "active" | "reloading" | "refreshing" => None,
            "inactive" if *waits => Some(format!("{name} waits to be started")),
            "inactive" => asked_for.then(|| format!("{name} is not active")),
            _ => Some(format!("{name} is {active} ({sub}); `systemctl status {name}` shows why")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(load: &str, active: &str, waits: bool) -> Unit {
        Unit { name: "a.service".into(), load: load.into(), active: active.into(), sub: "x".into(), waits }
    }

    #[test]
    fn what_is_wrong_with_units() {
        let fine = |unit: Unit| assert_eq!(unit.problem(false), None);
        fine(unit("loaded", "active", false));
        fine(unit("loaded", "inactive", false));
        fine(unit("not-found", "inactive", false));
        for (active, waits) in [("failed", false), ("activating", true), ("inactive", true)] {
            assert!(unit("loaded", active, waits).problem(false).is_some(), "{active}");
        }
        assert_eq!(unit("loaded", "inactive", false).problem(true).unwrap(), "a.service is not active");
        assert_eq!(unit("not-found", "inactive", false).problem(true).unwrap(), "a.service is not-found");
    }
}
