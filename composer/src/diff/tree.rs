//! Owns comparing two trees of an OSTree repository: pure over a function that loads a folder by
//! its checksum, and blind to folders whose checksums are equal.

use std::collections::BTreeMap;

use serde::Serialize;

/// A SHA-256 as libostree stores it.
pub type Sum = [u8; 32];

/// A folder of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Folder {
    /// Checksum of what is in it.
    pub content: Sum,
    /// Checksum of its owner, mode and extended attributes.
    pub meta: Sum,
}

/// What a folder holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Item {
    /// A file or link, by the checksum of its content, owner, mode and extended attributes.
    File(Sum),
    /// A folder.
    Folder(Folder),
}

/// What is in a folder, by name.
pub type Items = BTreeMap<String, Item>;

/// What happened to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Only the new side has it.
    Added,
    /// Only the old side has it.
    Removed,
    /// Its content, owner, mode or extended attributes differ.
    Changed,
}

/// A path that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Absolute; a folder ends in `/`.
    pub path: String,
    /// What happened to it.
    pub kind: Kind,
}

/// Compares two trees; the result is in the order of paths. Of a folder that only one side has,
/// the files are listed, and the folder itself only when it is empty.
pub fn compare<E>(old: Folder, new: Folder, load: &mut impl FnMut(&Sum) -> Result<Items, E>) -> Result<Vec<Change>, E> {
    let mut walk = Walk { load, changes: Vec::new() };
    walk.both("/", old, new)?;
    Ok(walk.changes)
}

struct Walk<'a, L> {
    load: &'a mut L,
    changes: Vec<Change>,
}

impl<E, L: FnMut(&Sum) -> Result<Items, E>> Walk<'_, L> {
    fn push(&mut self, path: String, kind: Kind) {
        self.changes.push(Change { path, kind });
    }

    /// `path` is a folder on both sides and ends in `/`.
    fn both(&mut self, path: &str, old: Folder, new: Folder) -> Result<(), E> {
        if old.meta != new.meta {
            self.push(path.to_owned(), Kind::Changed);
        }
        if old.content == new.content {
            return Ok(());
        }
        let mut old = (self.load)(&old.content)?;
        for (name, after) in (self.load)(&new.content)? {
            let before = old.remove(&name);
            self.item(format!("{path}{name}"), before, after)?;
        }
        for (name, before) in old {
            self.one_side(format!("{path}{name}"), before, Kind::Removed)?;
        }
        Ok(())
    }

    fn item(&mut self, path: String, before: Option<Item>, after: Item) -> Result<(), E> {
        match (before, after) {
            (Some(Item::Folder(before)), Item::Folder(after)) => self.both(&format!("{path}/"), before, after),
            (Some(Item::File(before)), Item::File(after)) => {
                if before != after {
                    self.push(path, Kind::Changed);
                }
                Ok(())
            }
            (Some(before), after) => {
                self.one_side(path.clone(), before, Kind::Removed)?;
                self.one_side(path, after, Kind::Added)
            }
            (None, after) => self.one_side(path, after, Kind::Added),
        }
    }

    fn one_side(&mut self, path: String, item: Item, kind: Kind) -> Result<(), E> {
        let Item::Folder(folder) = item else {
            self.push(path, kind);
            return Ok(());
        };
        let items = (self.load)(&folder.content)?;
        if items.is_empty() {
            self.push(format!("{path}/"), kind);
        }
        for (name, item) in items {
            self.one_side(format!("{path}/{name}"), item, kind)?;
        }
        Ok(())
    }
}
