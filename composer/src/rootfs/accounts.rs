//! Owns the accounts of a root: those of the lock are there before any script runs, so that scripts
//! find them with the ids they had; afterwards the files are brought into one form, so that it does
//! not matter in which order they were created.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use crate::lock::{LockedAccount, LockedGroup};

/// The accounts and groups of a root.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Accounts {
    /// By name.
    pub users: BTreeMap<String, LockedAccount>,
    /// By name.
    pub groups: BTreeMap<String, LockedGroup>,
}

impl Accounts {
    /// Parses the texts of `passwd` and `group`; lines of another shape are passed over.
    pub fn parse(passwd: &str, group: &str) -> Self {
        let crate::layout::Accounts { users, groups } = crate::layout::Accounts::parse(passwd, group);
        Self::locked(&users, &groups)
    }

    /// Reads the accounts of a root; a file that is not there is empty.
    pub fn read(root: &Path) -> io::Result<Self> {
        Ok(Self::parse(&text(root, "etc/passwd")?, &text(root, "etc/group")?))
    }

    /// The standard accounts that Debian's base-passwd gives fixed ids.
    pub fn standard(root: &Path) -> io::Result<Self> {
        let file = |name: &str| text(root, &format!("usr/share/base-passwd/{name}.master"));
        Ok(Self::parse(&file("passwd")?, &file("group")?))
    }

    /// Accounts from a lock.
    pub fn locked(users: &[LockedAccount], groups: &[LockedGroup]) -> Self {
        Self {
            users: users.iter().map(|user| (user.name.clone(), user.clone())).collect(),
            groups: groups.iter().map(|group| (group.name.clone(), group.clone())).collect(),
        }
    }

    /// As the layout step and the lock have them: sorted lists.
    pub fn lists(&self) -> crate::layout::Accounts {
        crate::layout::Accounts {
            users: self.users.values().cloned().collect(),
            groups: self.groups.values().cloned().collect(),
        }
    }

    /// These accounts without those that `other` has by name.
    pub fn without(mut self, other: &Self) -> Self {
        self.users.retain(|name, _| !other.users.contains_key(name));
        self.groups.retain(|name, _| !other.groups.contains_key(name));
        self
    }

    /// These accounts and those that only `other` has.
    pub fn with(mut self, other: &Self) -> Self {
        for (name, user) in &other.users {
            self.users.entry(name.clone()).or_insert_with(|| user.clone());
        }
        for (name, group) in &other.groups {
            self.groups.entry(name.clone()).or_insert_with(|| group.clone());
        }
        self
    }

    /// Names whose ids differ from those in `locked`, as `name: 998 is not 997`.
    pub fn drift(&self, locked: &Self) -> Vec<String> {
        let users = self.users.iter().filter_map(|(name, user)| {
            let lock = locked.users.get(name)?;
            (user.uid != lock.uid).then(|| format!("user {name}: {} is not the locked {}", user.uid, lock.uid))
        });
        let groups = self.groups.iter().filter_map(|(name, group)| {
            let lock = locked.groups.get(name)?;
            (group.gid != lock.gid).then(|| format!("group {name}: {} is not the locked {}", group.gid, lock.gid))
        });
        users.chain(groups).collect()
    }

    /// Writes the four account files in their one form: sorted by id, no passwords, `date` in
    /// seconds since the epoch as the day of the last change.
    pub fn write(&self, root: &Path, date: u64) -> io::Result<()> {
        let mut users: Vec<&LockedAccount> = self.users.values().collect();
        users.sort_by_key(|user| (user.uid, user.name.clone()));
        let mut groups: Vec<&LockedGroup> = self.groups.values().collect();
        groups.sort_by_key(|group| (group.gid, group.name.clone()));
        let day = date / 86400;
        let hash = |name: &str| if name == "root" { "*" } else { "!*" };
        let put = |file: &str, lines: Vec<String>| fs::write(root.join("etc").join(file), lines.concat());
        put("passwd", users.iter().map(|user| passwd_line(user)).collect())?;
        put("group", groups.iter().map(|group| group_line(group)).collect())?;
        if root.join("etc/shadow").exists() {
            let line = |user: &&LockedAccount| format!("{}:{}:{day}:0:99999:7:::\n", user.name, hash(&user.name));
            put("shadow", users.iter().map(line).collect())?;
        }
        if root.join("etc/gshadow").exists() {
            let line = |group: &&LockedGroup| format!("{}:{}::{}\n", group.name, hash(&group.name), members(group));
            put("gshadow", groups.iter().map(line).collect())?;
        }
        for backup in ["passwd-", "group-", "shadow-", "gshadow-", "subuid-", "subgid-", ".pwd.lock"] {
            match fs::remove_file(root.join("etc").join(backup)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

fn text(root: &Path, file: &str) -> io::Result<String> {
    match fs::read_to_string(root.join(file)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        other => other,
    }
}

fn passwd_line(user: &LockedAccount) -> String {
    let LockedAccount { name, uid, gid, gecos, home, shell } = user;
    format!("{name}:x:{uid}:{gid}:{gecos}:{home}:{shell}\n")
}

fn group_line(group: &LockedGroup) -> String {
    format!("{}:x:{}:{}\n", group.name, group.gid, members(group))
}

fn members(group: &LockedGroup) -> String {
    group.members.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_of_creation_does_not_matter() {
        let a = Accounts::parse("b:x:2:2::/:/x\na:x:1:1::/:/x\n", "g:x:1:b,a\n");
        let b = Accounts::parse("a:x:1:1::/:/x\nb:*:2:2::/:/x\n", "g:*:1:a,b\n");
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("etc")).unwrap();
        fs::write(dir.path().join("etc/shadow"), "").unwrap();
        a.write(dir.path(), 86400 * 3).unwrap();
        assert_eq!(
            fs::read_to_string(dir.path().join("etc/shadow")).unwrap(),
            "a:!*:3:0:99999:7:::\nb:!*:3:0:99999:7:::\n"
        );
        assert_eq!(Accounts::read(dir.path()).unwrap(), a);
        assert_eq!(a, b);
    }

    #[test]
    fn drift_names_the_account_and_both_ids() {
        let found = Accounts::parse("a:x:1:1::/:/x\n", "");
        let locked = Accounts::parse("a:x:7:1::/:/x\nb:x:1:1::/:/x\n", "");
        assert_eq!(found.drift(&locked), ["user a: 1 is not the locked 7"]);
    }
}
