//! Owns the EFI system partition: a FAT32 with GRUB at the path every UEFI firmware starts, made by
//! mtools inside the disk file.

use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use keelson_common::command::CommandExt;

use crate::ImageError;
use crate::layout::{Extent, SECTOR};
use crate::tools::Tools;

/// Heads and sectors a track that firmware assumes for disks of any size we make.
const GEOMETRY: [&str; 4] = ["-h", "64", "-s", "32"];

/// What to make.
pub struct Esp<'a> {
    /// The folder the disk file lies in.
    pub dir: &'a Path,
    /// The disk file's name in `dir`.
    pub disk: &'a str,
    /// Where on the disk.
    pub extent: Extent,
    /// The file system's serial number.
    pub serial: u32,
    /// Its times, in seconds since the epoch.
    pub timestamp: u64,
}

impl Esp<'_> {
    /// Makes the file system and puts the boot program `grub`, a file in the folder, there as the default.
    pub fn make(&self, tools: &Tools, grub: &str) -> Result<(), ImageError> {
        self.set_time(grub)?;
        let sectors = (self.extent.bytes / SECTOR).to_string();
        let hidden = self.extent.first_lba().to_string();
        self.tool(&tools.mformat)
            .args(["-F", "-c", "1", "-T", &sectors, "-H", &hidden, "-N", &format!("{:08x}", self.serial), "-v", "ESP"])
            .args(GEOMETRY)
            .arg("::")
            .run()?;
        self.tool(&tools.mmd).args(["::EFI", "::EFI/BOOT"]).run()?;
        self.tool(&tools.mcopy).args(["-m", grub, "::EFI/BOOT/BOOTX64.EFI"]).run()?;
        Ok(())
    }

    /// mtools copies the time of a file, and takes the time of folders from the environment.
    fn set_time(&self, name: &str) -> Result<(), ImageError> {
        let path = self.dir.join(name);
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(self.timestamp);
        let file = File::options().write(true).open(&path).map_err(ImageError::io("open", &path))?;
        file.set_modified(time).map_err(ImageError::io("set the time of", &path))
    }

    fn tool(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(self.dir)
            .env("TZ", "UTC")
            .env("SOURCE_DATE_EPOCH", self.timestamp.to_string())
            .env("MTOOLS_SKIP_CHECK", "1")
            .args(["-i", &format!("{}@@{}", self.disk, self.extent.start)]);
        command
    }
}
