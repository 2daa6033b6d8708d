//! Lints on what a host needs to run: os-release, units, compiled Python.

use super::{Context, Kind, Problems, Tree, problem};
use crate::layout::{is_unchecked_python, python_source};

pub(super) fn os_release(tree: &Tree, _: &Context) -> Problems {
    const PATH: &str = "usr/lib/os-release";
    let text = tree.text(PATH)?;
    let missing = ["ID", "NAME", "PRETTY_NAME", "VERSION_ID"].into_iter().filter(|key| {
        !text.lines().any(|line| line.split_once('=').is_some_and(|(name, value)| name == *key && !value.is_empty()))
    });
    Ok(missing.map(|key| problem(PATH, format!("it does not set {key}"))).collect())
}

pub(super) fn units(tree: &Tree, _: &Context) -> Problems {
    let mut problems = Vec::new();
    for folder in ["usr/etc/systemd/system", "usr/lib/systemd/system"] {
        for (path, entry) in tree.below(folder) {
            let Kind::Link(target) = &entry.kind else { continue };
            let wanted = path
                .rsplit('/')
                .nth(1)
                .is_some_and(|folder| folder.ends_with(".wants") || folder.ends_with(".requires"));
            let on_host = path.replacen("usr/etc", "etc", 1);
            if target != "/dev/null" && tree.resolve(&format!("/{on_host}")).is_none() {
                let verb = if wanted { "enables" } else { "names" };
                problems.push(problem(path, format!("it {verb} {target}, which is not there")));
            }
        }
    }
    Ok(problems)
}

pub(super) fn python_cache(tree: &Tree, _: &Context) -> Problems {
    let mut problems = Vec::new();
    for (path, entry) in tree.below("usr") {
        let Some((folder, name)) = path.rsplit_once('/') else { continue };
        // Only a source in /usr is one that nobody changes.
        let source = python_source(folder, name).and_then(|source| tree.resolve(&format!("/{source}")));
        let fixed = source.is_some_and(|source| !source.starts_with("usr/etc/"));
        if fixed && entry.kind == Kind::File && !is_unchecked_python(&tree.start(path, 8)?) {
            problems.push(problem(path, "Python would compare it with the time of its source, which OSTree sets to 0"));
        }
    }
    Ok(problems)
}
