//! Lints on accounts: the tree's passwd and group, the lock's ids, and who owns files.

use std::collections::{BTreeMap, BTreeSet};

use super::{Context, Problem, Problems, Tree, TreeError, problem};
use crate::layout::Accounts;

const PASSWD: &str = "usr/etc/passwd";
const GROUP: &str = "usr/etc/group";

fn read(tree: &Tree) -> Result<Accounts, TreeError> {
    Ok(Accounts::parse(&tree.text(PASSWD)?, &tree.text(GROUP)?))
}

pub(super) fn consistent(tree: &Tree, _: &Context) -> Problems {
    let accounts = read(tree)?;
    let users: BTreeSet<&str> = accounts.users.iter().map(|user| user.name.as_str()).collect();
    let gids: BTreeSet<u32> = accounts.groups.iter().map(|group| group.gid).collect();
    let mut problems = Vec::new();
    problems.extend(twice(PASSWD, "name", accounts.users.iter().map(|user| &user.name)));
    problems.extend(twice(PASSWD, "uid", accounts.users.iter().map(|user| user.uid)));
    problems.extend(twice(GROUP, "name", accounts.groups.iter().map(|group| &group.name)));
    problems.extend(twice(GROUP, "gid", accounts.groups.iter().map(|group| group.gid)));
    for user in accounts.users.iter().filter(|user| !gids.contains(&user.gid)) {
        problems.push(problem(PASSWD, format!("the primary group {} of {} is not there", user.gid, user.name)));
    }
    for group in &accounts.groups {
        for member in group.members.iter().filter(|member| !users.contains(member.as_str())) {
            problems.push(problem(GROUP, format!("{member}, member of {}, is not there", group.name)));
        }
    }
    problems.extend(shadow(tree, "usr/etc/shadow", users.iter().copied())?);
    problems.extend(shadow(tree, "usr/etc/gshadow", accounts.groups.iter().map(|group| group.name.as_str()))?);
    Ok(problems)
}

fn twice<T: Ord + std::fmt::Display>(path: &str, what: &str, all: impl Iterator<Item = T>) -> Vec<Problem> {
    let mut seen: BTreeMap<T, usize> = BTreeMap::new();
    all.for_each(|item| *seen.entry(item).or_default() += 1);
    let twice = seen.into_iter().filter(|(_, count)| *count > 1);
    twice.map(|(item, count)| problem(path, format!("the {what} {item} is there {count} times"))).collect()
}

/// Names that have no line in a shadow file. A tree without the file has no passwords at all.
fn shadow<'a>(tree: &Tree, path: &str, names: impl Iterator<Item = &'a str>) -> Problems {
    if tree.get(path).is_none() {
        return Ok(Vec::new());
    }
    let text = tree.text(path)?;
    let known: BTreeSet<&str> = text.lines().filter_map(|line| line.split(':').next()).collect();
    let missing = names.filter(|name| !known.contains(name));
    Ok(missing.map(|name| problem(path, format!("{name} is not there"))).collect())
}

pub(super) fn as_locked(tree: &Tree, context: &Context) -> Problems {
    let Some(locked) = context.accounts else { return Ok(Vec::new()) };
    let accounts = read(tree)?;
    let mut problems = Vec::new();
    for user in &locked.users {
        let found = accounts.users.iter().find(|found| found.name == user.name);
        if found.is_none_or(|found| (found.uid, found.gid) != (user.uid, user.gid)) {
            let ids =
                found.map_or_else(|| "is not there".to_owned(), |found| format!("is {}:{}", found.uid, found.gid));
            problems.push(problem(PASSWD, format!("{} {ids}, and {}:{} in the lock", user.name, user.uid, user.gid)));
        }
    }
    for group in &locked.groups {
        let found = accounts.gid(&group.name);
        if found != Some(group.gid) {
            let id = found.map_or_else(|| "is not there".to_owned(), |gid| format!("is {gid}"));
            problems.push(problem(GROUP, format!("{} {id}, and {} in the lock", group.name, group.gid)));
        }
    }
    Ok(problems)
}

pub(super) fn owners(tree: &Tree, _: &Context) -> Problems {
    let accounts = read(tree)?;
    let uids: BTreeSet<u32> = accounts.users.iter().map(|user| user.uid).collect();
    let gids: BTreeSet<u32> = accounts.groups.iter().map(|group| group.gid).collect();
    let mut problems = Vec::new();
    for (path, entry) in tree.all() {
        if !uids.contains(&entry.uid) {
            problems.push(problem(path, format!("its owner {} is no account", entry.uid)));
        }
        if !gids.contains(&entry.gid) {
            problems.push(problem(path, format!("its group {} is no group", entry.gid)));
        }
    }
    Ok(problems)
}

pub(super) fn sysusers(tree: &Tree, _: &Context) -> Problems {
    let accounts = read(tree)?;
    let mut made = BTreeSet::new();
    for (name, _) in tree.children("usr/lib/sysusers.d") {
        for line in tree.text(&format!("usr/lib/sysusers.d/{name}"))?.lines() {
            let mut words = line.split_whitespace();
            if let (Some(kind), Some(name)) = (words.next(), words.next()) {
                made.insert((kind.trim_end_matches(['!', '-']).to_owned(), name.to_owned()));
            }
        }
    }
    if made.is_empty() {
        return Ok(Vec::new());
    }
    let has = |kind: &str, name: &str| made.contains(&(kind.to_owned(), name.to_owned()));
    let users = accounts.users.iter().filter(|user| !has("u", &user.name)).map(|user| (PASSWD, &user.name));
    let groups = accounts.groups.iter().filter(|group| !has("g", &group.name) && !has("u", &group.name));
    let missing = users.chain(groups.map(|group| (GROUP, &group.name)));
    Ok(missing.map(|(path, name)| problem(path, format!("no line of sysusers.d makes {name}"))).collect())
}
