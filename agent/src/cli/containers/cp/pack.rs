//! Owns making the archive of what is copied into a container.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use tar::{Builder, EntryType, Header, HeaderMode};

/// Writes `source` as `base`, with all that is in it.
pub fn pack(source: &Path, base: &str, follow: bool, to: &mut impl Write) -> io::Result<()> {
    let mut archive = Builder::new(to);
    archive.mode(HeaderMode::Complete);
    archive.follow_symlinks(false);
    // Only a link that was named is followed; those within stay links.
    let source = if follow { source.canonicalize()? } else { source.to_owned() };
    Packer { archive: &mut archive, seen: HashMap::new() }.add(&source, Path::new(base))?;
    archive.finish()
}

struct Packer<'a, W: Write> {
    archive: &'a mut Builder<W>,
    /// Files that have further names, by device and inode.
    seen: HashMap<(u64, u64), PathBuf>,
}

impl<W: Write> Packer<'_, W> {
    fn add(&mut self, source: &Path, name: &Path) -> io::Result<()> {
        let metadata = fs::symlink_metadata(source)?;
        if metadata.file_type().is_socket() {
            return Ok(());
        }
        if metadata.is_dir() {
            self.archive.append_dir(name, source)?;
            let mut entries = fs::read_dir(source)?.collect::<io::Result<Vec<_>>>()?;
            entries.sort_by_key(fs::DirEntry::file_name);
            return entries.iter().try_for_each(|entry| self.add(&entry.path(), &name.join(entry.file_name())));
        }
        if metadata.is_file() && metadata.nlink() > 1 {
            if let Some(first) = self.seen.get(&(metadata.dev(), metadata.ino())) {
                let mut header = Header::new_gnu();
                header.set_metadata(&metadata);
                header.set_entry_type(EntryType::Link);
                header.set_size(0);
                return self.archive.append_link(&mut header, name, first);
            }
            self.seen.insert((metadata.dev(), metadata.ino()), name.to_owned());
        }
        if metadata.is_file() {
            return self.archive.append_file(name, &mut File::open(source)?);
        }
        self.archive.append_path_with_name(source, name)
    }
}

/// Bytes of the files in `source`.
pub fn size(source: &Path, follow: bool) -> u64 {
    let read = if follow { fs::metadata } else { fs::symlink_metadata };
    let Ok(metadata) = read(source) else { return 0 };
    if !metadata.is_dir() {
        return metadata.len();
    }
    let entries = fs::read_dir(source).into_iter().flatten().flatten();
    entries.map(|entry| size(&entry.path(), false)).sum()
}
