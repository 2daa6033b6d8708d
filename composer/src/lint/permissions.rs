//! Lints on permission bits.

use super::packages::shipped;
use super::{Context, Kind, Problems, Tree, problem};

pub(super) fn setuid(tree: &Tree, _: &Context) -> Problems {
    let special: Vec<_> =
        tree.all().filter(|(_, entry)| entry.kind == Kind::File && entry.mode & 0o6000 != 0).collect();
    if special.is_empty() {
        return Ok(Vec::new());
    }
    let shipped = shipped(tree)?;
    let strays = special.into_iter().filter(|(path, _)| !shipped.contains(*path));
    Ok(strays
        .map(|(path, entry)| problem(path, format!("its mode is {:04o}, and it is of no package", entry.mode)))
        .collect())
}

pub(super) fn world_writable(tree: &Tree, _: &Context) -> Problems {
    let open = tree.all().filter(|(_, entry)| {
        let sticky_folder = entry.kind == Kind::Dir && entry.mode & 0o1000 != 0;
        !matches!(entry.kind, Kind::Link(_)) && entry.mode & 0o002 != 0 && !sticky_folder
    });
    Ok(open
        .map(|(path, entry)| problem(path, format!("its mode is {:04o}: everyone may write it", entry.mode)))
        .collect())
}
