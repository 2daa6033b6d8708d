//! Owns the tree that lints look at: what is at every path, and the content of files on demand. It
//! is read from a folder here, from a commit in [`super::commit`].

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Symbolic links followed before a path leads nowhere.
const MAX_LINKS: usize = 40;

/// What kind of thing is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A folder.
    Dir,
    /// A regular file.
    File,
    /// A symbolic link and where it points.
    Link(String),
    /// Anything a commit cannot hold, by name.
    Special(&'static str),
}

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its kind.
    pub kind: Kind,
    /// Permission bits, with setuid, setgid and sticky.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Bytes of a regular file.
    pub size: u64,
}

/// A tree that could not be read.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// The file system refused.
    #[error("cannot read {}", path.display())]
    Io {
        /// What was read.
        path: PathBuf,
        /// The kernel's reason.
        source: io::Error,
    },
    /// libostree refused.
    #[error("cannot read {path} of the commit")]
    Commit {
        /// What was read.
        path: String,
        /// libostree's reason.
        source: glib::Error,
    },
}

/// Gives the content of files.
pub(super) trait Content {
    /// At most `limit` bytes from the start of a file.
    fn start(&self, path: &str, limit: usize) -> Result<Vec<u8>, TreeError>;
}

/// A tree before, or in, a commit. Paths have no leading `/`.
pub struct Tree {
    entries: BTreeMap<String, Entry>,
    not_text: Vec<String>,
    content: Box<dyn Content>,
}

impl Tree {
    pub(super) fn new(content: Box<dyn Content>) -> Self {
        Self { entries: BTreeMap::new(), not_text: Vec::new(), content }
    }

    pub(super) fn insert(&mut self, path: String, entry: Entry) {
        self.entries.insert(path, entry);
    }

    pub(super) fn insert_not_text(&mut self, path: String) {
        self.not_text.push(path);
    }

    /// Reads a folder's names and what is there, not the content of files.
    pub fn from_folder(folder: &Path) -> Result<Self, TreeError> {
        let mut tree = Self::new(Box::new(Folder(folder.to_owned())));
        tree.walk(folder, "")?;
        Ok(tree)
    }

    fn walk(&mut self, folder: &Path, prefix: &str) -> Result<(), TreeError> {
        let context = |path: &Path| {
            let path = path.to_owned();
            move |source| TreeError::Io { path, source }
        };
        for item in fs::read_dir(folder).map_err(context(folder))? {
            let item = item.map_err(context(folder))?;
            let path = item.path();
            let Ok(name) = item.file_name().into_string() else {
                self.insert_not_text(format!("{prefix}{}", item.file_name().to_string_lossy()));
                continue;
            };
            let name = format!("{prefix}{name}");
            let entry = entry(&path).map_err(context(&path))?;
            let below = (entry.kind == Kind::Dir).then(|| format!("{name}/"));
            self.entries.insert(name, entry);
            if let Some(prefix) = below {
                self.walk(&path, &prefix)?;
            }
        }
        Ok(())
    }

    /// What is at a path, not following a link there.
    pub fn get(&self, path: &str) -> Option<&Entry> {
        self.entries.get(path)
    }

    /// Whether a path is a folder.
    pub fn is_dir(&self, path: &str) -> bool {
        self.get(path).is_some_and(|entry| entry.kind == Kind::Dir)
    }

    /// Everything, sorted by path.
    pub fn all(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.entries.iter().map(|(path, entry)| (path.as_str(), entry))
    }

    /// Everything below a folder at any depth, sorted by path.
    pub fn below<'a>(&'a self, folder: &str) -> impl Iterator<Item = (&'a str, &'a Entry)> + use<'a> {
        // `0` is the character after `/`.
        let (from, to) = (format!("{folder}/"), format!("{folder}0"));
        self.entries.range(from..to).map(|(path, entry)| (path.as_str(), entry))
    }

    /// Everything right in a folder, by name, sorted; the empty path is the top.
    pub fn children<'a>(&'a self, folder: &str) -> Vec<(&'a str, &'a Entry)> {
        let direct = |(path, entry): (&'a str, &'a Entry), start: usize| {
            path.get(start..).filter(|name| !name.contains('/')).map(|name| (name, entry))
        };
        match folder.len() {
            0 => self.all().filter_map(|item| direct(item, 0)).collect(),
            length => self.below(folder).filter_map(|item| direct(item, length + 1)).collect(),
        }
    }

    /// Paths whose names are not UTF-8, with the bytes that are not replaced.
    pub fn not_text(&self) -> &[String] {
        &self.not_text
    }

    /// At most `limit` bytes from the start of a file; none when there is no such file.
    pub fn start(&self, path: &str, limit: usize) -> Result<Vec<u8>, TreeError> {
        match self.get(path) {
            Some(Entry { kind: Kind::File, .. }) => self.content.start(path, limit),
            _ => Ok(Vec::new()),
        }
    }

    /// A file's text, with bytes that are not UTF-8 replaced; empty when there is no such file.
    pub fn text(&self, path: &str) -> Result<String, TreeError> {
        Ok(String::from_utf8_lossy(&self.start(path, usize::MAX)?).into_owned())
    }

    /// Where an absolute path leads on a host that runs this tree, `/etc` being `/usr/etc`, with all
    /// links followed; `None` when nothing is there.
    pub fn resolve(&self, absolute: &str) -> Option<String> {
        let mut todo: Vec<String> = split(absolute).rev().collect();
        let (mut done, mut links) = (String::new(), 0);
        while let Some(part) = todo.pop() {
            if part == ".." {
                let above = if done == "usr/etc" { 0 } else { done.rfind('/').unwrap_or(0) };
                done.truncate(above);
                continue;
            }
            let next = match (done.as_str(), part.as_str()) {
                ("", "etc") => "usr/etc".to_owned(),
                ("", part) => part.to_owned(),
                (done, part) => format!("{done}/{part}"),
            };
            let Kind::Link(target) = &self.get(&next)?.kind else {
                done = next;
                continue;
            };
            links += 1;
            if links > MAX_LINKS {
                return None;
            }
            if target.starts_with('/') {
                done.clear();
            }
            todo.extend(split(target).rev());
        }
        Some(done)
    }
}

fn split(path: &str) -> impl DoubleEndedIterator<Item = String> + '_ {
    path.split('/').filter(|part| !part.is_empty() && *part != ".").map(str::to_owned)
}

fn entry(path: &Path) -> io::Result<Entry> {
    let found = fs::symlink_metadata(path)?;
    let kind = match found.file_type() {
        kind if kind.is_dir() => Kind::Dir,
        kind if kind.is_file() => Kind::File,
        kind if kind.is_symlink() => Kind::Link(fs::read_link(path)?.to_string_lossy().into_owned()),
        kind if kind.is_socket() => Kind::Special("socket"),
        kind if kind.is_fifo() => Kind::Special("named pipe"),
        _ => Kind::Special("device node"),
    };
    Ok(Entry { kind, mode: found.mode() & 0o7777, uid: found.uid(), gid: found.gid(), size: found.len() })
}

struct Folder(PathBuf);

impl Content for Folder {
    fn start(&self, path: &str, limit: usize) -> Result<Vec<u8>, TreeError> {
        let path = self.0.join(path);
        let mut bytes = Vec::new();
        let limit = u64::try_from(limit).unwrap_or(u64::MAX);
        match File::open(&path).and_then(|file| file.take(limit).read_to_end(&mut bytes)) {
            Ok(_) => Ok(bytes),
            Err(source) => Err(TreeError::Io { path, source }),
        }
    }
}
