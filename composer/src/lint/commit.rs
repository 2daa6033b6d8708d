//! Owns reading a commit as a [`Tree`], straight from its objects: a checkout by anyone but root
//! would lose owners and special bits.

use gio::prelude::*;
use gio::{Cancellable, File, FileInfo, FileQueryInfoFlags, FileType};

use super::tree::{Content, Entry, Kind, Tree, TreeError};

const ATTRIBUTES: &str =
    "standard::name,standard::type,standard::size,standard::symlink-target,unix::mode,unix::uid,unix::gid";
/// Bytes asked for at once.
const CHUNK: usize = 1 << 16;

impl Tree {
    /// Reads the tree of a commit, by ref or checksum.
    pub fn from_commit(repo: &ostree::Repo, reference: &str) -> Result<Self, TreeError> {
        let (root, _) = repo.read_commit(reference, Cancellable::NONE).map_err(context(reference))?;
        let mut tree = Self::new(Box::new(Commit(root.clone())));
        walk(&mut tree, &root, "")?;
        Ok(tree)
    }
}

fn context(path: &str) -> impl FnOnce(glib::Error) -> TreeError + use<> {
    let path = path.to_owned();
    move |source| TreeError::Commit { path, source }
}

fn walk(tree: &mut Tree, folder: &File, prefix: &str) -> Result<(), TreeError> {
    let children = folder
        .enumerate_children(ATTRIBUTES, FileQueryInfoFlags::NOFOLLOW_SYMLINKS, Cancellable::NONE)
        .map_err(context(prefix))?;
    while let Some(info) = children.next_file(Cancellable::NONE).map_err(context(prefix))? {
        let name = info.name();
        let Some(name) = name.to_str() else {
            tree.insert_not_text(format!("{prefix}{}", name.to_string_lossy()));
            continue;
        };
        let path = format!("{prefix}{name}");
        let entry = entry(&info);
        let is_dir = entry.kind == Kind::Dir;
        tree.insert(path.clone(), entry);
        if is_dir {
            walk(tree, &folder.child(name), &format!("{path}/"))?;
        }
    }
    Ok(())
}

fn entry(info: &FileInfo) -> Entry {
    let kind = match info.file_type() {
        FileType::Directory => Kind::Dir,
        FileType::Regular => Kind::File,
        FileType::SymbolicLink => {
            Kind::Link(info.symlink_target().map(|target| target.to_string_lossy().into_owned()).unwrap_or_default())
        }
        _ => Kind::Special("special file"),
    };
    Entry {
        kind,
        mode: info.attribute_uint32("unix::mode") & 0o7777,
        uid: info.attribute_uint32("unix::uid"),
        gid: info.attribute_uint32("unix::gid"),
        size: u64::try_from(info.size()).unwrap_or_default(),
    }
}

/// The content of a file of a commit, by its object.
fn content(file: &File) -> Result<gio::InputStream, glib::Error> {
    let none = || glib::Error::new(gio::IOErrorEnum::NotRegularFile, "it is no regular file of a commit");
    let file = file.downcast_ref::<ostree::RepoFile>().ok_or_else(none)?;
    file.ensure_resolved()?;
    let (stream, _, _) = file.repo().load_file(&file.checksum(), Cancellable::NONE)?;
    stream.ok_or_else(none)
}

struct Commit(File);

impl Content for Commit {
    fn start(&self, path: &str, limit: usize) -> Result<Vec<u8>, TreeError> {
        // libostree's own `read` gives a stream of another type than it says, which gio asserts in debug builds.
        let stream = content(&self.0.resolve_relative_path(path)).map_err(context(path))?;
        let mut bytes = Vec::new();
        while bytes.len() < limit {
            let wanted = CHUNK.min(limit - bytes.len());
            let chunk = stream.read_bytes(wanted, Cancellable::NONE).map_err(context(path))?;
            if chunk.is_empty() {
                break;
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }
}
