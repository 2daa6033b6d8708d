//! Owns the accounts of a root: reading passwd and group, and the sysusers.d lines that give the
//! locked ids to a host whose own `/etc/passwd` was edited and is therefore kept over upgrades.

use std::collections::{BTreeMap, BTreeSet};

use super::error::LayoutError;
use super::root::Root;
use crate::lock::{LockedAccount as Account, LockedGroup as Group};

/// The file that gives locked ids; its name sorts before the packages' own, and the first line for
/// a name wins.
pub const SYSUSERS: &str = "usr/lib/sysusers.d/00-keelson.conf";

/// All accounts of a root, each list sorted by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Accounts {
    /// Users.
    pub users: Vec<Account>,
    /// Groups.
    pub groups: Vec<Group>,
}

impl Accounts {
    /// Parses the texts of passwd and group; a line that is none is left out.
    pub fn parse(passwd: &str, group: &str) -> Self {
        let mut users: Vec<Account> = passwd.lines().filter_map(parse_user).collect();
        let mut groups: Vec<Group> = group.lines().filter_map(parse_group).collect();
        users.sort();
        groups.sort();
        Self { users, groups }
    }

    /// Reads a root that has its `/etc` still, or one that has `/usr/etc`.
    pub fn read(root: &Root) -> Result<Self, LayoutError> {
        let etc = if root.is_dir("etc")? { "etc" } else { "usr/etc" };
        let text = |name: &str| root.read(&format!("{etc}/{name}")).map(Option::unwrap_or_default);
        Ok(Self::parse(&text("passwd")?, &text("group")?))
    }

    /// The uid of a name.
    pub fn uid(&self, name: &str) -> Option<u32> {
        self.users.iter().find(|user| user.name == name).map(|user| user.uid)
    }

    /// The gid of a name.
    pub fn gid(&self, name: &str) -> Option<u32> {
        self.groups.iter().find(|group| group.name == name).map(|group| group.gid)
    }

    /// The name of a uid, the number where it has none.
    pub fn user_name(&self, uid: u32) -> String {
        let found = self.users.iter().find(|user| user.uid == uid);
        found.map_or_else(|| uid.to_string(), |user| user.name.clone())
    }

    /// The name of a gid, the number where it has none.
    pub fn group_name(&self, gid: u32) -> String {
        let found = self.groups.iter().find(|group| group.gid == gid);
        found.map_or_else(|| gid.to_string(), |group| group.name.clone())
    }
}

fn parse_user(line: &str) -> Option<Account> {
    let mut fields = line.split(':');
    let mut next = || fields.next().map(str::to_owned);
    let (name, _, uid, gid) = (next()?, next()?, next()?.parse().ok()?, next()?.parse().ok()?);
    Some(Account { name, uid, gid, gecos: next()?, home: next()?, shell: next()? })
}

fn parse_group(line: &str) -> Option<Group> {
    let fields: Vec<&str> = line.split(':').collect();
    let [name, _, gid, members] = fields[..] else { return None };
    let mut members: Vec<String> = members.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
    members.sort_unstable();
    Some(Group { name: name.to_owned(), gid: gid.parse().ok()?, members })
}

/// Writes [`SYSUSERS`]: a line for every account whose id no other sysusers.d file fixes. A host
/// that has such a name already keeps it; one that lacks it gets the locked id at its next boot.
pub fn write(root: &Root, accounts: &Accounts) -> Result<(), LayoutError> {
    let mut fixed = BTreeSet::new();
    for name in root.list("usr/lib/sysusers.d")? {
        let path = format!("usr/lib/sysusers.d/{name}");
        if path != SYSUSERS && name.ends_with(".conf") {
            fixed.extend(root.read(&path)?.unwrap_or_default().lines().filter_map(fixed_name));
        }
    }
    let lines = sysusers(accounts, &fixed);
    if lines.is_empty() {
        return root.remove(SYSUSERS);
    }
    let head = "# Made by keelson from the lock: accounts and the ids they have in /usr.\n";
    root.write(SYSUSERS, head.to_owned() + &lines, 0o644)
}

/// `(kind, name)` of a sysusers.d line that gives a number itself.
fn fixed_name(line: &str) -> Option<(char, String)> {
    let mut words = line.split_whitespace();
    let (kind, name, id) = (words.next()?, words.next()?, words.next()?);
    let kind = kind.chars().next().filter(|kind| matches!(kind, 'u' | 'g'))?;
    id.starts_with(|c: char| c.is_ascii_digit()).then(|| (kind, name.to_owned()))
}

fn sysusers(accounts: &Accounts, fixed: &BTreeSet<(char, String)>) -> String {
    let known = |kind: char, name: &str| fixed.contains(&(kind, name.to_owned()));
    let mut text = String::new();
    // A user with a fixed id makes a group of its own name and number.
    let made_by_user: BTreeMap<&str, u32> = accounts.users.iter().map(|user| (user.name.as_str(), user.uid)).collect();
    for group in &accounts.groups {
        let own = known('u', &group.name) && made_by_user.get(group.name.as_str()) == Some(&group.gid);
        if !known('g', &group.name) && !own {
            text += &format!("g {} {}\n", group.name, group.gid);
        }
    }
    for user in accounts.users.iter().filter(|user| !known('u', &user.name)) {
        let gecos = if user.gecos.is_empty() { "-".to_owned() } else { quote(&user.gecos) };
        let (home, shell) = (quote(&user.home), quote(&user.shell));
        text += &format!("u {} {}:{} {gecos} {home} {shell}\n", user.name, user.uid, user.gid);
    }
    for group in &accounts.groups {
        for member in &group.members {
            text += &format!("m {member} {}\n", group.name);
        }
    }
    text
}

/// A field of sysusers.d: `%` doubled, quoted where it holds blanks or quotes.
pub fn quote(field: &str) -> String {
    let field = field.replace('%', "%%");
    if field.is_empty() {
        "-".to_owned()
    } else if field.contains(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '\\')) {
        format!("\"{}\"", field.replace('\\', r"\\").replace('"', r#"\""#))
    } else {
        field
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\nsshd:x:989:65534:sshd user:/run/sshd:/usr/sbin/nologin\nbad\n\
                          dhcpcd:x:100:65534::/usr/lib/dhcpcd:/bin/false\n";
    const GROUP: &str = "root:x:0:\n_ssh:x:101:\nadm:x:4:sshd,dhcpcd\nnogroup:x:65534:\n";

    #[test]
    fn writes_lines_only_for_ids_no_package_fixes() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root(dir.path());
        root.write("etc/passwd", PASSWD, 0o644).unwrap();
        root.write("etc/group", GROUP, 0o644).unwrap();
        let basic =
            "u root 0 - /root /bin/bash\ng adm 4 -\ng nogroup 65534 -\nu sshd -:nogroup \"sshd user\" /run/sshd\n";
        root.write("usr/lib/sysusers.d/basic.conf", basic, 0o644).unwrap();
        let accounts = Accounts::read(&root).unwrap();
        write(&root, &accounts).unwrap();
        let text = root.read(SYSUSERS).unwrap().unwrap();
        let lines: Vec<&str> = text.lines().skip(1).collect();
        assert_eq!(
            lines,
            [
                "g _ssh 101",
                "u dhcpcd 100:65534 - /usr/lib/dhcpcd /bin/false",
                "u sshd 989:65534 \"sshd user\" /run/sshd /usr/sbin/nologin",
                "m dhcpcd adm",
                "m sshd adm",
            ]
        );
    }

    #[test]
    fn names_ids_and_back() {
        let accounts = Accounts::parse(PASSWD, GROUP);
        assert_eq!(accounts.uid("sshd"), Some(989));
        assert_eq!(accounts.group_name(101), "_ssh");
        assert_eq!(accounts.user_name(4242), "4242");
    }
}
