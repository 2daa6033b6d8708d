//! Owns the sysroot in a folder: a repository with one deployment, as libostree makes it, and the
//! boot loader entries libostree keeps for it.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use glib::{Variant, VariantDict};
use keelson_common::commit::{REMOTE, STATEROOT};
use keelson_common::grubenv::Environment;
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};

use crate::source::Source;
use crate::{ImageError, grub};

/// The deployed sysroot.
pub struct Deployed {
    /// The deployment's folder, relative to the sysroot.
    pub deployment: PathBuf,
    /// Bytes its files take up, each hard-linked file counted once.
    pub content: u64,
}

/// Makes an empty sysroot in `root`, whose repository is configured as the host's: it updates from
/// `url`, and from there takes signed commits only.
pub fn init(root: &Path, url: Option<&str>) -> Result<ostree::Sysroot, ImageError> {
    let action = "making the sysroot";
    prepare_boot(root).map_err(ImageError::io("make the boot folder in", root))?;
    let sysroot = ostree::Sysroot::new(Some(&gio::File::for_path(root)));
    sysroot.ensure_initialized(gio::Cancellable::NONE).map_err(ImageError::ostree(action))?;
    sysroot.init_osname(STATEROOT, gio::Cancellable::NONE).map_err(ImageError::ostree(action))?;
    sysroot.load(gio::Cancellable::NONE).map_err(ImageError::ostree(action))?;
    configure(&sysroot.repo(), url)?;
    Ok(sysroot)
}

/// What libostree's syslinux backend reads before it writes its own: the file it keeps lines of,
/// and the link it finds it by.
fn prepare_boot(root: &Path) -> io::Result<()> {
    let boot = root.join("boot");
    fs::create_dir_all(boot.join("loader.0"))?;
    fs::create_dir(boot.join("syslinux"))?;
    fs::create_dir(boot.join("grub"))?;
    fs::write(boot.join("loader.0/syslinux.cfg"), grub::SYSLINUX_SEED)?;
    fs::write(boot.join("grub/grub.cfg"), grub::CONFIG)?;
    fs::write(boot.join("grub/grubenv"), Environment::default().block().map_err(io::Error::other)?)?;
    symlink("loader.0", boot.join("loader"))?;
    symlink("../loader/syslinux.cfg", boot.join("syslinux/syslinux.cfg"))
}

fn configure(repo: &ostree::Repo, url: Option<&str>) -> Result<(), ImageError> {
    let config = repo.copy_config();
    config.set_string("sysroot", "bootloader", "syslinux");
    config.set_boolean("sysroot", "readonly", true);
    let group = format!("remote \"{REMOTE}\"");
    if let Some(url) = url {
        config.set_string(&group, "url", url);
    }
    config.set_boolean(&group, "gpg-verify", true);
    let action = "configuring the repository";
    repo.write_config(&config).map_err(ImageError::ostree(action))?;
    repo.reload_config(gio::Cancellable::NONE).map_err(ImageError::ostree(action))
}

/// Copies the commit into the sysroot's repository. Nothing is synced: the folder is temporary.
pub fn pull(sysroot: &ostree::Sysroot, source: &Source) -> Result<(), ImageError> {
    let repo = sysroot.repo();
    repo.set_disable_fsync(true);
    let options = VariantDict::new(None);
    options.insert("refs", vec![source.reference.as_str()]);
    options.insert("override-commit-ids", vec![source.checksum.as_str()]);
    options.insert("override-remote-name", REMOTE);
    let options: Variant = options.end();
    repo.pull_with_options(&source.uri, &options, None, gio::Cancellable::NONE)
        .map_err(ImageError::ostree("copying the commit"))
}

/// Deploys the commit and has libostree write the boot loader entries, then takes out what only
/// the build machine left: the contents of `/var` and the times of today.
pub fn deploy(
    root: &Path,
    sysroot: &ostree::Sysroot,
    source: &Source,
    kargs: &[String],
) -> Result<Deployed, ImageError> {
    let action = "deploying the commit";
    let origin = sysroot.origin_new_from_refspec(&format!("{REMOTE}:{}", source.reference));
    let kargs: Vec<&str> = kargs.iter().map(String::as_str).collect();
    let deployment = sysroot
        .deploy_tree(Some(STATEROOT), &source.checksum, Some(&origin), None, &kargs, gio::Cancellable::NONE)
        .map_err(ImageError::ostree(action))?;
    let flags = ostree::SysrootSimpleWriteDeploymentFlags::NONE;
    sysroot
        .simple_write_deployment(Some(STATEROOT), &deployment, None, flags, gio::Cancellable::NONE)
        .map_err(ImageError::ostree(action))?;
    let folder = PathBuf::from(sysroot.deployment_dirpath(&deployment));
    // The image gets the flag when its file system is made; here it would only be in the way.
    sysroot.deployment_set_mutable(&deployment, true, gio::Cancellable::NONE).map_err(ImageError::ostree(action))?;
    empty_var(root).map_err(ImageError::io("empty /var in", root))?;
    let content = settle(root, source.info.timestamp).map_err(ImageError::io("read", root))?;
    Ok(Deployed { deployment: folder, content })
}

fn empty_var(root: &Path) -> io::Result<()> {
    let var = root.join("ostree/deploy").join(STATEROOT).join("var");
    fs::remove_dir_all(&var)?;
    fs::create_dir(&var)
}

/// Sets every modification time later than the commit's to the commit's, and adds up what the
/// files take in blocks of 4 KiB, every file at least one.
fn settle(root: &Path, timestamp: u64) -> io::Result<u64> {
    const BLOCK: u64 = 4096;
    let limit = i64::try_from(timestamp).unwrap_or(i64::MAX);
    let (mut bytes, mut seen, mut folders) = (0, HashSet::new(), vec![root.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            let meta = path.symlink_metadata()?;
            if !seen.insert(meta.ino()) {
                continue;
            }
            // The size of a folder depends on the file system it lies in now.
            bytes += if meta.is_dir() { BLOCK } else { meta.size().max(1).next_multiple_of(BLOCK) };
            if meta.is_dir() {
                folders.push(path.clone());
            }
            if meta.mtime() > limit {
                set_time(&path, limit)?;
            }
        }
    }
    set_time(root, limit)?;
    Ok(bytes)
}

fn set_time(path: &Path, seconds: i64) -> io::Result<()> {
    let time = Timespec { tv_sec: seconds, tv_nsec: 0 };
    let times = Timestamps { last_access: time, last_modification: time };
    Ok(utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}
