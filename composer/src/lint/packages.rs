//! Lints on what dpkg knows: its database, its leftovers, and what packages keep in `/var`.

use std::collections::BTreeSet;

use super::{Context, Problems, Tree, TreeError, problem};
use crate::layout::dpkg::IMAGE_DIR as DPKG_DIR;
use crate::layout::{LEFTOVERS, is_kept_var, made_path};

/// Paths that the packages ship, without the leading `/`, with `/bin` and the like merged into `/usr`.
pub(super) fn shipped(tree: &Tree) -> Result<BTreeSet<String>, TreeError> {
    let mut shipped = BTreeSet::new();
    let folder = format!("{DPKG_DIR}/info");
    for (name, _) in tree.children(&folder) {
        if name.ends_with(".list") {
            let text = tree.text(&format!("{folder}/{name}"))?;
            shipped.extend(text.lines().filter_map(|line| line.strip_prefix('/')).map(merged));
        }
    }
    Ok(shipped)
}

fn merged(path: &str) -> String {
    match path.split_once('/') {
        Some(("bin" | "sbin" | "lib" | "lib32" | "lib64" | "libx32", _)) => format!("usr/{path}"),
        _ => path.to_owned(),
    }
}

pub(super) fn database(tree: &Tree, _: &Context) -> Problems {
    let path = format!("{DPKG_DIR}/status");
    if tree.get(&path).is_none() {
        return Ok(vec![problem(&path, "it is not there: `dpkg -l` would show nothing")]);
    }
    let text = tree.text(&path)?;
    let mut problems = Vec::new();
    for paragraph in text.split("\n\n").filter(|paragraph| !paragraph.trim().is_empty()) {
        let field = |name: &str| paragraph.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim();
        let (package, status) = (field("Package:"), field("Status:"));
        if !status.ends_with(" ok installed") {
            problems.push(problem(&path, format!("{package} is `{status}`")));
            continue;
        }
        let list = |name: &str| format!("{DPKG_DIR}/info/{name}.list");
        let with_architecture = format!("{package}:{}", field("Architecture:"));
        if tree.get(&list(package)).is_none() && tree.get(&list(&with_architecture)).is_none() {
            problems.push(problem(&list(package), "it is not there: `dpkg -S` would not find the package's files"));
        }
    }
    Ok(problems)
}

pub(super) fn leftovers(tree: &Tree, _: &Context) -> Problems {
    let left = tree.all().filter(|(path, _)| LEFTOVERS.iter().any(|end| path.ends_with(end)));
    Ok(left.map(|(path, _)| problem(path, "dpkg or ucf left it beside the file it is of")).collect())
}

pub(super) fn sandbox(tree: &Tree, _: &Context) -> Problems {
    let left = ["usr/sbin/policy-rc.d", ".keelson-postprocess"].into_iter().filter(|path| tree.get(path).is_some());
    Ok(left.map(|path| problem(path, "it is for the time of the compose only")).collect())
}

/// `(type, path)` of each line of tmpfiles.d that makes something.
fn tmpfiles(tree: &Tree) -> Result<Vec<(char, String, String)>, TreeError> {
    let mut lines = Vec::new();
    for folder in ["usr/lib/tmpfiles.d", "usr/etc/tmpfiles.d"] {
        for (name, _) in tree.children(folder) {
            let file = format!("{folder}/{name}");
            for line in tree.text(&file)?.lines() {
                if let (Some(path), Some(kind)) = (made_path(line), line.chars().next()) {
                    lines.push((kind, unescape(path), line.split_whitespace().nth(6).unwrap_or_default().to_owned()));
                }
            }
        }
    }
    Ok(lines)
}

/// A path as tmpfiles.d has it, with `\xNN` and `%%` undone.
fn unescape(path: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), path.as_bytes());
    while let Some((&first, tail)) = rest.split_first() {
        let hex = tail.get(1..3).and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        match (first, tail.first(), hex) {
            (b'\\', Some(b'x'), Some(byte)) => {
                bytes.push(byte);
                rest = &tail[3..];
            }
            (b'%', Some(b'%'), _) => {
                bytes.push(b'%');
                rest = &tail[1..];
            }
            _ => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

pub(super) fn var_tmpfiles(tree: &Tree, _: &Context) -> Problems {
    let made: BTreeSet<String> = tmpfiles(tree)?.into_iter().map(|(_, path, _)| path).collect();
    let lost = shipped(tree)?.into_iter().filter(|path| {
        path.starts_with("var/") && is_kept_var(path) && !made.contains(&format!("/{path}")) && !is_file_of_cache(path)
    });
    Ok(lost.map(|path| problem(&path, "a package ships it, and no line of tmpfiles.d makes it")).collect())
}

/// Files in caches and logs are not kept, folders are; a file list does not tell them apart, but
/// folders have no extension.
fn is_file_of_cache(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    ["var/cache/", "var/log/", "var/backups/"].iter().any(|folder| path.starts_with(folder)) && name.contains('.')
}

pub(super) fn factory(tree: &Tree, _: &Context) -> Problems {
    let copies = tmpfiles(tree)?.into_iter().filter(|(kind, path, _)| *kind == 'C' && path.starts_with("/var/"));
    let sources =
        copies.map(|(_, path, source)| if source.is_empty() { format!("/usr/share/factory{path}") } else { source });
    let missing = sources.filter(|source| source.starts_with("/usr/") && tree.resolve(source).is_none());
    Ok(missing
        .map(|source| problem(source.trim_start_matches('/'), "a line of tmpfiles.d copies it, and it is not there"))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn undoes_escapes() {
        assert_eq!(unescape(r"/var/a\x20b%%\x22"), "/var/a b%\"");
        assert_eq!(unescape(r"/var/\x2"), r"/var/\x2");
    }

    #[test]
    fn merges_usr() {
        assert_eq!(merged("bin/su"), "usr/bin/su");
        assert_eq!(merged("etc/bin"), "etc/bin");
    }
}
