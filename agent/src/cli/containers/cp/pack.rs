//! Owns making the archive of what is copied into a container.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use tar::{Builder, HeaderMode};

/// Writes `source` as `base`, with all that is in it.
pub fn pack(source: &Path, base: &str, follow: bool, to: &mut impl Write) -> io::Result<()> {
    let mut archive = Builder::new(to);
    archive.mode(HeaderMode::Complete);
    archive.follow_symlinks(false);
    // Only a link that was named is followed; those within stay links.
    let source = if follow { source.canonicalize()? } else { source.to_owned() };
    add(&mut archive, &source, Path::new(base))?;
    archive.finish()
}

fn add(archive: &mut Builder<impl Write>, source: &Path, name: &Path) -> io::Result<()> {
    let metadata = fs::symlink_metadata(source)?;
    if metadata.file_type().is_socket() {
        return Ok(());
    }
    if metadata.is_dir() {
        archive.append_dir(name, source)?;
        let mut entries = fs::read_dir(source)?.collect::<io::Result<Vec<_>>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            add(archive, &entry.path(), &name.join(entry.file_name()))?;
        }
        return Ok(());
    }
    if metadata.is_file() {
        return archive.append_file(name, &mut File::open(source)?);
    }
    archive.append_path_with_name(source, name)
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
