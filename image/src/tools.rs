//! Owns finding the stock tools, before any work starts, so that a missing one is named with its
//! Debian package.

use std::path::{Path, PathBuf};

use crate::{Format, ImageError};

/// GRUB's modules and images for BIOS.
pub const GRUB_BIOS: &str = "/usr/lib/grub/i386-pc";
/// GRUB's modules for UEFI.
pub const GRUB_EFI: &str = "/usr/lib/grub/x86_64-efi";

/// Where the stock tools are.
#[derive(Debug)]
pub struct Tools {
    /// Makes ext4.
    pub mke2fs: PathBuf,
    /// Edits ext4.
    pub debugfs: PathBuf,
    /// Makes FAT.
    pub mformat: PathBuf,
    /// Makes folders on FAT.
    pub mmd: PathBuf,
    /// Copies files onto FAT.
    pub mcopy: PathBuf,
    /// Links GRUB images.
    pub grub_mkimage: PathBuf,
    /// Reads keys.
    pub gpg: PathBuf,
    /// Converts images.
    pub qemu_img: PathBuf,
}

impl Tools {
    /// Finds everything an image in `format` takes.
    pub fn find(format: Format) -> Result<Self, ImageError> {
        for (path, package) in
            [(format!("{GRUB_BIOS}/boot.img"), "grub-pc-bin"), (format!("{GRUB_EFI}/kernel.img"), "grub-efi-amd64-bin")]
        {
            if !Path::new(&path).exists() {
                return Err(ImageError::MissingTool { what: path, package });
            }
        }
        let qemu_img = match format {
            Format::Qcow2 => program("qemu-img", "qemu-utils")?,
            Format::Raw => PathBuf::from("qemu-img"),
        };
        Ok(Self {
            mke2fs: program("mke2fs", "e2fsprogs")?,
            debugfs: program("debugfs", "e2fsprogs")?,
            mformat: program("mformat", "mtools")?,
            mmd: program("mmd", "mtools")?,
            mcopy: program("mcopy", "mtools")?,
            grub_mkimage: program("grub-mkimage", "grub-common")?,
            gpg: program("gpg", "gpg")?,
            qemu_img,
        })
    }
}

/// Looks in `PATH` and in the folders for administrators, which are not in everybody's `PATH`.
fn program(name: &str, package: &'static str) -> Result<PathBuf, ImageError> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|dir| dir.join(name))
        .find(|file| file.is_file())
        .ok_or_else(|| ImageError::MissingTool { what: name.to_owned(), package })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_is_named_with_its_package() {
        let error = program("no-such-program", "some-package").unwrap_err().to_string();
        assert!(error.contains("no-such-program") && error.contains("apt install some-package"), "{error}");
    }
}
