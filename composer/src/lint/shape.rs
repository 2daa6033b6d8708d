//! Lints on the shape of a tree: what is at its top, and what must be empty.

use super::{Context, Kind, Problems, Tree, problem};
use crate::layout::MOVED;

/// Folders and links at the top of every tree.
const TOP: [&str; 21] = [
    "bin", "boot", "dev", "home", "lib", "lib32", "lib64", "libx32", "media", "mnt", "opt", "ostree", "proc", "root",
    "run", "sbin", "srv", "sys", "sysroot", "tmp", "var",
];

pub(super) fn usr_etc(tree: &Tree, _: &Context) -> Problems {
    let mut problems = Vec::new();
    if !tree.is_dir("usr/etc") {
        problems.push(problem("usr/etc", "it is no folder"));
    }
    if tree.get("etc").is_some() {
        problems.push(problem("etc", "libostree makes it from /usr/etc when it deploys"));
    }
    Ok(problems)
}

pub(super) fn top_level(tree: &Tree, _: &Context) -> Problems {
    let mut problems = Vec::new();
    for (name, _) in tree.children("") {
        if !TOP.contains(&name) && !["usr", "etc"].contains(&name) {
            problems.push(problem(name, "it does not belong at the top: a deployment's top is read-only"));
        }
    }
    for name in ["boot", "dev", "proc", "run", "sys", "sysroot", "tmp", "var", "usr"] {
        if !tree.is_dir(name) {
            problems.push(problem(name, "it is no folder"));
        }
    }
    for (from, to) in MOVED.into_iter().chain([("ostree", "sysroot/ostree")]) {
        let target = format!("{}{to}", "../".repeat(from.matches('/').count()));
        if tree.get(from).is_none_or(|entry| entry.kind != Kind::Link(target.clone())) {
            problems.push(problem(from, format!("it is no link to {target}")));
        }
    }
    Ok(problems)
}

pub(super) fn var_empty(tree: &Tree, _: &Context) -> Problems {
    Ok(tree
        .children("var")
        .into_iter()
        .map(|(name, _)| problem(&format!("var/{name}"), "no host would see it"))
        .collect())
}

pub(super) fn runtime_empty(tree: &Tree, _: &Context) -> Problems {
    let found = |folder: &'static str| {
        tree.children(folder)
            .into_iter()
            .map(move |(name, _)| problem(&format!("{folder}/{name}"), "no host would see it"))
    };
    Ok(["boot", "dev", "proc", "run", "sys", "sysroot", "tmp"].into_iter().flat_map(found).collect())
}

pub(super) fn special_files(tree: &Tree, _: &Context) -> Problems {
    let found = tree.all().filter_map(|(path, entry)| match entry.kind {
        Kind::Special(kind) => Some(problem(path, format!("it is a {kind}, which a commit cannot hold"))),
        _ => None,
    });
    Ok(found.collect())
}

pub(super) fn file_names(tree: &Tree, _: &Context) -> Problems {
    Ok(tree.not_text().iter().map(|path| problem(path, "its name is not UTF-8")).collect())
}

pub(super) fn foreign_links(tree: &Tree, _: &Context) -> Problems {
    let foreign = tree.all().filter_map(|(path, entry)| {
        let Kind::Link(target) = &entry.kind else { return None };
        let first = target.strip_prefix('/')?.split('/').find(|part| !part.is_empty())?;
        let known = TOP.contains(&first) || ["usr", "etc", ".."].contains(&first);
        (!known || first == "tmp").then(|| problem(path, format!("it links to {target}")))
    });
    Ok(foreign.collect())
}
