//! Lints on what must differ from host to host.

use super::{Context, Kind, Problem, Problems, Tree, problem};
use crate::layout::{MACHINE_ID, is_host_key};

pub(super) fn host_keys(tree: &Tree, _: &Context) -> Problems {
    let in_folder = |folder: &'static str| {
        let keys = tree.children(folder).into_iter().filter(|(name, _)| is_host_key(name));
        keys.map(move |(name, _)| problem(&format!("{folder}/{name}"), "every host would have this key"))
    };
    Ok(["etc/ssh", "usr/etc/ssh"].into_iter().flat_map(in_folder).collect())
}

pub(super) fn machine_id(tree: &Tree, _: &Context) -> Problems {
    let mut problems = Vec::new();
    for path in ["etc/machine-id", "usr/etc/machine-id", "usr/share/factory/var/lib/dbus/machine-id"] {
        let id = tree.text(path)?;
        if !id.trim().is_empty() && id != MACHINE_ID {
            problems.push(problem(path, format!("every host would be {}", id.trim())));
        }
    }
    Ok(problems)
}

pub(super) fn private_keys(tree: &Tree, _: &Context) -> Problems {
    let keys = tree.below("usr/etc/ssl/private").filter(|(_, entry)| entry.kind == Kind::File);
    Ok(keys.map(|(path, _)| -> Problem { problem(path, "every host would have this key") }).collect())
}
