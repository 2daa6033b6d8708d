//! Owns the initramfs: made once by real dracut in the finished root, and taken from the cache
//! while nothing that dracut reads has changed.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use keelson_common::command::{CommandError, CommandExt};
use sha2::{Digest, Sha256};

use super::sandbox::Sandbox;
use crate::manifest::Initramfs;

/// Level of zstd; the kernel unpacks any level equally fast.
const LEVEL: i32 = 15;
/// The date of every file in it: the same whenever it is made.
const DATE: u64 = 1;
/// Raised when the arguments given to dracut change.
const GENERATION: u32 = 1;
/// Files and folders whose content decides what dracut puts in, besides what it did put in.
const INPUTS: [&str; 20] = [
    "etc/cmdline.d",
    "etc/dracut.conf",
    "etc/dracut.conf.d",
    "etc/modprobe.d",
    "etc/ostree",
    "etc/sysctl.d",
    "etc/systemd/system.conf",
    "etc/udev",
    "etc/vconsole.conf",
    "usr/lib/dracut",
    "usr/lib/firmware",
    "usr/lib/modprobe.d",
    "usr/lib/modules",
    "usr/lib/ostree",
    "usr/lib/sysctl.d",
    "usr/lib/systemd/network",
    "usr/lib/systemd/system-generators",
    "usr/lib/sysusers.d",
    "usr/lib/tmpfiles.d",
    "usr/lib/udev",
];

/// An initramfs that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum InitramfsError {
    /// dracut failed.
    #[error("dracut cannot make the initramfs")]
    Dracut(#[from] CommandError),
    /// A file could not be read or written.
    #[error("cannot make the initramfs")]
    Io(#[from] io::Error),
}

/// Puts the initramfs of every kernel in `root` at `/usr/lib/modules/VERSION/initramfs.img`.
/// A root without a kernel or without dracut is left as it is.
pub fn ensure(root: &Path, wanted: &Initramfs, cache: &Path) -> Result<(), InitramfsError> {
    if !root.join("usr/bin/dracut").exists() {
        return Ok(());
    }
    let dir = cache.join("initramfs");
    fs::create_dir_all(&dir)?;
    for kernel in kernels(root)? {
        let key = key(root, &kernel, wanted)?;
        let stored = Stored { image: dir.join(format!("{key}.img")), list: dir.join(format!("{key}.list")) };
        if !stored.usable(root)? {
            make(root, &kernel, wanted, &stored)?;
        }
        fs::copy(&stored.image, root.join("usr/lib/modules").join(&kernel).join("initramfs.img"))?;
    }
    Ok(())
}

/// Versions of the kernels installed in `/boot`, sorted.
fn kernels(root: &Path) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root.join("boot"))? {
        if let Some(version) = entry?.file_name().to_string_lossy().strip_prefix("vmlinuz-") {
            found.push(version.to_owned());
        }
    }
    found.sort();
    Ok(found)
}

/// A cached initramfs and the list of files in it with their digests when it was made.
struct Stored {
    image: PathBuf,
    list: PathBuf,
}

impl Stored {
    /// Whether every file in it still has the content that went in.
    fn usable(&self, root: &Path) -> io::Result<bool> {
        if !self.image.exists() {
            return Ok(false);
        }
        let Ok(list) = fs::read_to_string(&self.list) else { return Ok(false) };
        let (digest, files) = list.split_once('\n').unwrap_or_default();
        let files: Vec<&str> = files.lines().collect();
        Ok(digest_of(root, &files)? == digest)
    }
}

/// The cache key: what was asked for and the content of all inputs.
fn key(root: &Path, kernel: &str, wanted: &Initramfs) -> io::Result<String> {
    let mut hash = Sha256::new();
    hash.update(format!("{GENERATION}\n{kernel}\n{wanted:?}\n"));
    for input in INPUTS {
        digest_tree(&mut hash, root, Path::new(input))?;
    }
    Ok(hex::encode(&hash.finalize()[..16]))
}

fn digest_tree(hash: &mut Sha256, root: &Path, relative: &Path) -> io::Result<()> {
    let path = root.join(relative);
    let meta = match fs::symlink_metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    hash.update(relative.as_os_str().as_bytes());
    if meta.is_dir() {
        let mut names = fs::read_dir(&path)?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>()?;
        names.sort();
        return names.iter().try_for_each(|name| digest_tree(hash, root, &relative.join(name)));
    }
    if relative.starts_with("usr/lib/modules") && relative.file_name().is_some_and(|name| name == "initramfs.img") {
        return Ok(());
    }
    if meta.is_symlink() {
        hash.update(fs::read_link(&path)?.as_os_str().as_bytes());
        return Ok(());
    }
    hash.update(meta.len().to_le_bytes());
    let mut file = File::open(&path)?;
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(()),
            count => hash.update(&buffer[..count]),
        }
    }
}

/// One digest over the files of `root` that an initramfs holds; those only dracut made are absent.
fn digest_of(root: &Path, files: &[&str]) -> io::Result<String> {
    let mut hash = Sha256::new();
    for file in files {
        let path = root.join(file);
        let plain = fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_file());
        if plain && !file.starts_with("etc/") {
            digest_tree(&mut hash, root, Path::new(file))?;
        }
    }
    Ok(hex::encode(hash.finalize()))
}

fn make(root: &Path, kernel: &str, wanted: &Initramfs, stored: &Stored) -> Result<(), InitramfsError> {
    let raw = root.join("boot/.initramfs");
    let mut argv = vec!["dracut", "--quiet", "--force", "--no-hostonly", "--reproducible", "--no-early-microcode"];
    argv.extend(["--no-compress", "--kver", kernel]);
    let (omit, add, drivers) = (wanted.omit.join(" "), wanted.add.join(" "), wanted.drivers.join(" "));
    for (option, value) in [("--omit", &omit), ("--add", &add), ("--add-drivers", &drivers)] {
        if !value.is_empty() {
            argv.extend([option, value]);
        }
    }
    argv.push("/boot/.initramfs");
    Sandbox::new(root, DATE).command(&argv).run()?;
    let mut temporary = tempfile::Builder::new().prefix(".make-").tempfile_in(stored.image.parent().unwrap_or(root))?;
    let mut encoder = zstd::Encoder::new(BufWriter::new(temporary.as_file_mut()), LEVEL)?;
    encoder.multithread(2)?;
    io::copy(&mut BufReader::new(File::open(&raw)?), &mut encoder)?;
    encoder.finish()?.flush()?;
    let files = members(&raw)?;
    fs::remove_file(&raw)?;
    let names: Vec<&str> = files.iter().map(String::as_str).collect();
    fs::write(&stored.list, format!("{}\n{}\n", digest_of(root, &names)?, names.join("\n")))?;
    temporary.persist(&stored.image).map_err(|error| error.error)?;
    Ok(())
}

/// Names of the members of an uncompressed `newc` archive, sorted.
fn members(archive: &Path) -> io::Result<Vec<String>> {
    let mut reader = BufReader::new(File::open(archive)?);
    let mut names = Vec::new();
    loop {
        let entry = cpio::NewcReader::new(reader)?;
        if entry.entry().is_trailer() {
            names.sort();
            return Ok(names);
        }
        names.push(entry.entry().name().trim_start_matches("./").to_owned());
        reader = entry.finish()?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_follows_the_inputs_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        fs::create_dir_all(root.join("usr/lib/udev")).unwrap();
        let wanted = Initramfs::default();
        let empty = key(root, "6", &wanted).unwrap();
        fs::write(root.join("usr/leaf"), "x").unwrap();
        assert_eq!(key(root, "6", &wanted).unwrap(), empty);
        fs::write(root.join("usr/lib/udev/rule"), "x").unwrap();
        assert_ne!(key(root, "6", &wanted).unwrap(), empty);
        assert_ne!(key(root, "7", &wanted).unwrap(), empty);
    }

    #[test]
    fn a_stored_image_is_used_only_while_its_files_are_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        fs::write(root.join("tool"), "1").unwrap();
        let stored = Stored { image: root.join("i.img"), list: root.join("i.list") };
        fs::write(&stored.image, "image").unwrap();
        fs::write(&stored.list, format!("{}\ntool\n", digest_of(root, &["tool"]).unwrap())).unwrap();
        assert!(stored.usable(root).unwrap());
        fs::write(root.join("tool"), "2").unwrap();
        assert!(!stored.usable(root).unwrap());
    }
}
