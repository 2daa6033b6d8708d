//! Decides who a container's process is: names are looked up in the container's own files.

use crate::error::{Error, Result};

/// The numbers of a process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// Its user.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Its further groups.
    pub groups: Vec<u32>,
    /// The home folder of its user, when its user is in the files.
    pub home: Option<String>,
}

/// The files of a container that tell of users; empty when it has none.
#[derive(Debug, Clone, Default)]
pub struct Accounts {
    /// `/etc/passwd`.
    pub passwd: String,
    /// `/etc/group`.
    pub group: String,
}

struct User<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

struct Group<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

impl Accounts {
    /// Who `user` (`name`, `uid`, `name:group`, …; empty is root) is, in the groups `more` as well.
    pub fn identify(&self, user: &str, more: &[String]) -> Result<Identity> {
        let (user, group) = user.split_once(':').map_or((user, None), |(user, group)| (user, Some(group)));
        let user = if user.is_empty() { "0" } else { user };
        let found = self.users().find(|entry| entry.name == user).or_else(|| {
            let uid: u32 = user.parse().ok()?;
            self.users().find(|entry| entry.uid == uid)
        });
        let uid = match (&found, user.parse::<u32>()) {
            (Some(found), _) => found.uid,
            (None, Ok(uid)) if i32::try_from(uid).is_ok() => uid,
            (None, Ok(_)) => return Err(Error::Invalid("uids and gids must be in range 0-2147483647".to_owned())),
            (None, Err(_)) => {
                return Err(Error::Invalid(format!("unable to find user {user}: no matching entries in passwd file")));
            }
        };
        let (gid, mut groups) = match group {
            Some(group) if !group.is_empty() => (self.group(group)?, Vec::new()),
            _ => (found.as_ref().map_or(0, |found| found.gid), self.memberships(found.as_ref())),
        };
        for group in more {
            groups.push(self.group(group)?);
        }
        // The kernel asks these alone where the group of a file is compared for being denied.
        groups.insert(0, gid);
        let mut seen = std::collections::HashSet::new();
        groups.retain(|group| seen.insert(*group));
        let home = found.map(|found| found.home.to_owned()).filter(|home| !home.is_empty());
        Ok(Identity { uid, gid, groups, home })
    }

    fn users(&self) -> impl Iterator<Item = User<'_>> {
        self.passwd.lines().filter_map(|line| {
            let mut fields = line.split(':');
            let (name, _, uid, gid) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
            let home = fields.nth(1).unwrap_or_default();
            Some(User { name, uid: uid.parse().ok()?, gid: gid.parse().ok()?, home })
        })
    }

    fn groups(&self) -> impl Iterator<Item = Group<'_>> {
        self.group.lines().filter_map(|line| {
            let mut fields = line.split(':');
            let (name, _, gid) = (fields.next()?, fields.next()?, fields.next()?);
            Some(Group { name, gid: gid.parse().ok()?, members: fields.next().unwrap_or_default() })
        })
    }

    fn group(&self, group: &str) -> Result<u32> {
        let found = self.groups().find(|entry| entry.name == group).map(|entry| entry.gid);
        let number = || group.parse::<u32>().ok().filter(|gid| i32::try_from(*gid).is_ok());
        found
            .or_else(number)
            .ok_or_else(|| Error::Invalid(format!("unable to find group {group}: no matching entries in group file")))
    }

    fn memberships(&self, user: Option<&User<'_>>) -> Vec<u32> {
        let Some(user) = user else { return Vec::new() };
        let member = |group: &Group<'_>| group.members.split(',').any(|member| member.trim() == user.name);
        self.groups().filter(member).map(|group| group.gid).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identify(user: &str, more: &[&str]) -> Result<Identity> {
        let accounts = Accounts {
            passwd: "root:x:0:0:root:/root:/bin/sh\nnot a line\nwww:x:33:33:w:/var/www:/bin/false\n".to_owned(),
            group: "root:x:0:\nwww:x:33:\nlog:x:4:www,root\nadm:x:5:www\n12:x:99:\n".to_owned(),
        };
        accounts.identify(user, &more.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn by_name_and_by_number() {
        let www = Identity { uid: 33, gid: 33, groups: vec![33, 4, 5], home: Some("/var/www".to_owned()) };
        assert_eq!(identify("www", &[]).unwrap(), www);
        assert_eq!(identify("33", &[]).unwrap(), www);
        assert_eq!(identify("", &[]).unwrap().groups, [0, 4]);
        let unknown = Identity { uid: 1000, gid: 0, groups: vec![0], home: None };
        assert_eq!(identify("1000", &[]).unwrap(), unknown);
    }

    #[test]
    fn a_group_that_is_given_is_the_only_one() {
        let identity = identify("www:log", &["adm", "7"]).unwrap();
        assert_eq!((identity.gid, identity.groups), (4, vec![4, 5, 7]));
        assert_eq!(identify("5:12", &[]).unwrap().gid, 99);
    }

    #[test]
    fn nobody() {
        let text = |user| identify(user, &[]).unwrap_err().to_string();
        assert_eq!(text("fred"), "unable to find user fred: no matching entries in passwd file");
        assert_eq!(text("www:fred"), "unable to find group fred: no matching entries in group file");
        assert!(text("4294967295").contains("range"));
    }

    #[test]
    fn an_image_without_files() {
        let identity = Accounts::default().identify("", &[]).unwrap();
        assert_eq!(identity, Identity { groups: vec![0], ..Identity::default() });
        assert!(Accounts::default().identify("www", &[]).is_err());
    }
}
