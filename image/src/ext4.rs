//! Owns the root file system: an ext4 made by mke2fs from a folder, inside the disk file.

use std::path::{Path, PathBuf};
use std::process::Command;

use keelson_common::command::CommandExt;

use crate::layout::{Extent, JOURNAL, MIB};
use crate::tools::Tools;
use crate::{DiskIds, ImageError};

/// The features, spelt out so that the build machine's mke2fs.conf has no say: what GRUB 2.06 reads,
/// so neither metadata_csum_seed nor orphan_file.
const FEATURES: &str = "none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,64bit,flex_bg,\
                        sparse_super,large_file,huge_file,dir_nlink,extra_isize,metadata_csum";
/// The file system's label.
const LABEL: &str = "keelson";
/// The inode flag that keeps a deployment's root from being written to, `FS_IMMUTABLE_FL`.
const IMMUTABLE: u32 = 0x10;

/// What to make.
pub struct Ext4<'a> {
    /// The folder the disk file lies in.
    pub dir: &'a Path,
    /// The disk file's name in `dir`; the tools are run there because their syntax for offsets
    /// forbids some characters in paths.
    pub disk: &'a str,
    /// Where on the disk.
    pub extent: Extent,
    /// Its identifiers.
    pub ids: &'a DiskIds,
    /// Its times, in seconds since the epoch.
    pub timestamp: u64,
}

impl Ext4<'_> {
    /// Makes the file system with the content of `folder`.
    pub fn make(&self, tools: &Tools, folder: &Path) -> Result<(), ImageError> {
        let extended = format!(
            "offset={},hash_seed={},root_owner=0:0,nodiscard,assume_storage_prezeroed=1",
            self.extent.start, self.ids.hash_seed
        );
        self.tool(&tools.mke2fs)
            .args(["-q", "-F", "-t", "ext4", "-b", "4096", "-I", "256", "-m", "1", "-e", "remount-ro"])
            .args(["-L", LABEL, "-O", FEATURES, "-U", &self.ids.root_fs.to_string()])
            .args(["-J", &format!("size={}", JOURNAL / MIB), "-E", &extended])
            .arg("-d")
            .arg(folder)
            .args([self.disk, &format!("{}k", self.extent.bytes / 1024)])
            .run()?;
        Ok(())
    }

    /// Sets the immutable flag on `path` (relative to the root), which `mke2fs -d` does not copy.
    pub fn set_immutable(&self, tools: &Tools, path: &Path) -> Result<(), ImageError> {
        let path = PathBuf::from("/").join(path);
        let stat =
            self.tool(&tools.debugfs).args(["-R", &format!("stat {}", path.display()), &self.at()]).output_text()?;
        let flags = inode_flags(&stat).ok_or_else(|| ImageError::Answer { tool: "debugfs", answer: stat.clone() })?;
        let request = format!("set_inode_field {} flags {:#x}", path.display(), flags | IMMUTABLE);
        self.tool(&tools.debugfs).args(["-w", "-R", &request, &self.at()]).run()?;
        Ok(())
    }

    fn tool(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.dir).env("LC_ALL", "C");
        for name in ["SOURCE_DATE_EPOCH", "E2FSPROGS_FAKE_TIME"] {
            command.env(name, self.timestamp.to_string());
        }
        command
    }

    fn at(&self) -> String {
        format!("{}?offset={}", self.disk, self.extent.start)
    }
}

/// The flags in what debugfs' `stat` prints: `Inode: 5   Type: directory    Mode:  0755   Flags: 0x80000`.
fn inode_flags(stat: &str) -> Option<u32> {
    let text = stat.split_once("Flags: 0x")?.1;
    u32::from_str_radix(text.split_whitespace().next()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_flags_of_an_inode() {
        let stat = "Inode: 12   Type: directory    Mode:  0755   Flags: 0x80010\nGeneration: 0";
        assert_eq!(inode_flags(stat), Some(0x80010));
        assert_eq!(inode_flags("/x: File not found by ext2_lookup"), None);
    }
}
