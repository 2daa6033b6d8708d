//! Owns enabling, disabling and masking units, by the root's own systemctl, which reads the
//! `[Install]` sections as the host's systemd will.

use super::error::LayoutError;
use super::root::Root;
use super::services::PRESET;
use crate::manifest::Units;

/// Folders a root's units are in.
const FOLDERS: [&str; 2] = ["usr/lib/systemd/system", "etc/systemd/system"];

/// Applies the manifest's units: as presets, so that a host can return to them.
pub fn apply(root: &Root, units: &Units, run: &impl Fn(&[&str]) -> Result<(), LayoutError>) -> Result<(), LayoutError> {
    let named = units.enable.iter().chain(&units.disable).chain(&units.default);
    named.clone().try_for_each(|unit| check(root, unit))?;
    let preset: Vec<&str> = units.enable.iter().chain(&units.disable).map(String::as_str).collect();
    if !preset.is_empty() {
        let line = |verb: &'static str| move |unit: &String| format!("{verb} {unit}\n");
        let rules = units.enable.iter().map(line("enable")).chain(units.disable.iter().map(line("disable")));
        root.write(PRESET, rules.collect::<String>(), 0o644)?;
        run(&[&["systemctl", "--root=/", "preset"], &preset[..]].concat())?;
    }
    if !units.mask.is_empty() {
        let mask: Vec<&str> = units.mask.iter().map(String::as_str).collect();
        run(&[&["systemctl", "--root=/", "mask"], &mask[..]].concat())?;
    }
    if let Some(target) = &units.default {
        run(&["systemctl", "--root=/", "set-default", target])?;
    }
    Ok(())
}

/// Fails, with the nearest name, when there is no such unit, nor the template of an instance.
fn check(root: &Root, unit: &str) -> Result<(), LayoutError> {
    let template = unit.split_once('@').and_then(|(name, rest)| Some(format!("{name}@.{}", rest.rsplit_once('.')?.1)));
    let mut known = Vec::new();
    for folder in FOLDERS {
        known.extend(root.list(folder)?);
    }
    if known.iter().any(|name| name == unit || Some(name) == template.as_ref()) {
        return Ok(());
    }
    let near = known.into_iter().map(|name| (strsim::damerau_levenshtein(&name, unit), name)).min();
    let hint = near.filter(|(distance, _)| *distance <= 3).map(|(_, name)| name);
    Err(LayoutError::NoUnit { unit: unit.to_owned(), hint })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_nearest_unit() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root(dir.path());
        root.write("usr/lib/systemd/system/nftables.service", "", 0o644).unwrap();
        root.write("usr/lib/systemd/system/getty@.service", "", 0o644).unwrap();
        assert!(check(&root, "getty@tty1.service").is_ok());
        let error = check(&root, "nftable.service").unwrap_err().to_string();
        assert_eq!(error, "units: the root has no unit `nftable.service` (did you mean `nftables.service`?)");
    }

    #[test]
    fn runs_one_systemctl_for_all_presets() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root(dir.path());
        for unit in ["a.service", "b.service", "c.target"] {
            root.write(&format!("usr/lib/systemd/system/{unit}"), "", 0o644).unwrap();
        }
        let units = Units {
            enable: vec!["a.service".into()],
            disable: vec!["b.service".into()],
            mask: vec!["d.service".into()],
            default: Some("c.target".into()),
        };
        let ran = std::cell::RefCell::new(Vec::new());
        let run = |argv: &[&str]| {
            ran.borrow_mut().push(argv[2..].join(" "));
            Ok(())
        };
        apply(&root, &units, &run).unwrap();
        assert_eq!(*ran.borrow(), ["preset a.service b.service", "mask d.service", "set-default c.target"]);
        assert_eq!(root.read(PRESET).unwrap().unwrap(), "enable a.service\ndisable b.service\n");
    }
}
