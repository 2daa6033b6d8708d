//! Owns the question which package a path belongs to while packages are unpacked, by dpkg's rule:
//! two packages may ship the same file only when one says that it replaces the other.

use std::collections::HashMap;

/// Who owns a path, and who lost it.
#[derive(Debug, Default)]
pub struct Owners {
    owners: HashMap<String, usize>,
    /// Paths that a package ships but another replaced, by the losing package.
    pub lost: HashMap<usize, Vec<String>>,
}

/// What to do with a file that a package ships.
#[derive(Debug, PartialEq, Eq)]
pub enum Claim {
    /// Write it, over whatever is there.
    Write,
    /// Leave it out: the package that has it replaces this one.
    Skip,
    /// Neither replaces the other; the value is the owner's index.
    Conflict(usize),
}

impl Owners {
    /// Claims `path` for package `index`. `replaces(a, b)` tells whether `a` replaces `b`.
    pub fn claim(&mut self, path: &str, index: usize, replaces: impl Fn(usize, usize) -> bool) -> Claim {
        let Some(&owner) = self.owners.get(path) else {
            self.owners.insert(path.to_owned(), index);
            return Claim::Write;
        };
        let mutual = owner != index && replaces(index, owner) && replaces(owner, index);
        if owner == index || (replaces(index, owner) && !(mutual && owner > index)) {
            if owner != index {
                self.lost.entry(owner).or_default().push(path.to_owned());
                self.owners.insert(path.to_owned(), index);
            }
            Claim::Write
        } else if replaces(owner, index) {
            self.lost.entry(index).or_default().push(path.to_owned());
            Claim::Skip
        } else {
            Claim::Conflict(owner)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replacing_wins_in_either_order() {
        let replaces = |a: usize, b: usize| (a, b) == (2, 1);
        let mut owners = Owners::default();
        assert_eq!(owners.claim("a", 1, replaces), Claim::Write);
        assert_eq!(owners.claim("a", 2, replaces), Claim::Write);
        assert_eq!(owners.claim("a", 1, replaces), Claim::Skip);
        assert_eq!(owners.lost[&1], ["a", "a"]);
        assert_eq!(owners.claim("a", 3, replaces), Claim::Conflict(2));
    }
}
