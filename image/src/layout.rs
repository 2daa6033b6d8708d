//! Owns where everything lies on a disk. Pure: sizes in, offsets out.
//!
//! | partition | type | from | size |
//! |---|---|---|---|
//! | 1 `bios-boot` | BIOS boot | 1 MiB | 1 MiB |
//! | 2 `esp` | EFI system | 2 MiB | 64 MiB |
//! | 3 `root` | root-x86-64 | 66 MiB | the rest but the last MiB, which holds the backup table |

use serde::Serialize;

use crate::ImageError;

/// Bytes of a logical sector.
pub const SECTOR: u64 = 512;
/// Bytes of a MiB, which everything is aligned to.
pub const MIB: u64 = 1 << 20;
/// Bytes of the root file system's journal.
pub const JOURNAL: u64 = 64 * MIB;
/// The number of the root partition, from 1.
pub const ROOT_NUMBER: u32 = 3;

const BIOS_BOOT: Extent = Extent { start: MIB, bytes: MIB };
/// Large enough for FAT32 with clusters of one sector, which every firmware reads, and for the
/// boot loaders of a second operating system release beside ours.
const ESP: Extent = Extent { start: 2 * MIB, bytes: 64 * MIB };
/// Below this, mke2fs finds the journal too big.
const LEAST_ROOT: u64 = 4 * JOURNAL;
const ROOT_START: u64 = 66 * MIB;
/// The backup table takes 33 sectors at the end.
const TAIL: u64 = MIB;
/// Free space a default disk has for `/var` beside a second deployment.
const VAR_SLACK: u64 = 512 * MIB;

/// A run of bytes on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Extent {
    /// Offset of the first byte.
    pub start: u64,
    /// Its length in bytes.
    pub bytes: u64,
}

impl Extent {
    /// Its first sector.
    pub fn first_lba(self) -> u64 {
        self.start / SECTOR
    }

    /// Its last sector.
    pub fn last_lba(self) -> u64 {
        (self.start + self.bytes) / SECTOR - 1
    }
}

/// Where everything lies, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Layout {
    /// Size of the whole disk.
    pub disk: u64,
    /// GRUB's core image for BIOS.
    pub bios_boot: Extent,
    /// The FAT file system that UEFI firmware boots from.
    pub esp: Extent,
    /// The ext4 file system with everything else.
    pub root: Extent,
}

impl Layout {
    /// The layout of a disk that must hold `content` bytes of files. `size` is the size asked for;
    /// without it the disk has room for one more deployment of the same size.
    pub fn plan(content: u64, size: Option<u64>) -> Result<Self, ImageError> {
        let least = disk_with_root(root_for(content));
        let disk = match size {
            None => disk_with_root(root_for(2 * content + VAR_SLACK)),
            Some(size) => size.next_multiple_of(MIB),
        };
        if disk < least {
            return Err(ImageError::TooSmall { asked: disk, least });
        }
        let root = Extent { start: ROOT_START, bytes: disk - TAIL - ROOT_START };
        Ok(Self { disk, bios_boot: BIOS_BOOT, esp: ESP, root })
    }
}

/// The size of an ext4 that holds `content` bytes of files: a sixteenth more for inode tables,
/// folders and the reserve, plus the journal; never smaller than a journal of that size allows.
fn root_for(content: u64) -> u64 {
    (content + content / 16 + JOURNAL + 8 * MIB).next_multiple_of(MIB).max(LEAST_ROOT)
}

fn disk_with_root(root: u64) -> u64 {
    ROOT_START + root + TAIL
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_aligned_and_do_not_overlap() {
        let layout = Layout::plan(600 * MIB, None).unwrap();
        let parts = [layout.bios_boot, layout.esp, layout.root];
        for pair in parts.windows(2) {
            assert!(pair[0].last_lba() < pair[1].first_lba());
        }
        assert!(parts.iter().all(|part| part.start % MIB == 0 && part.bytes % MIB == 0));
        assert!(layout.disk / SECTOR - layout.root.last_lba() > 33);
    }

    #[test]
    fn default_size_leaves_room_for_a_second_deployment() {
        let content = 1000 * MIB;
        let layout = Layout::plan(content, None).unwrap();
        assert!(layout.root.bytes > 2 * content + JOURNAL);
        assert!(layout.disk < 3 * content);
    }

    #[test]
    fn size_is_rounded_up_to_whole_mebibytes() {
        let layout = Layout::plan(10 * MIB, Some(8 * 1024 * MIB + 1)).unwrap();
        assert_eq!(layout.disk, 8 * 1024 * MIB + MIB);
    }

    #[test]
    fn too_small_a_disk_is_refused_with_the_least_size() {
        match Layout::plan(600 * MIB, Some(500 * MIB)) {
            Err(ImageError::TooSmall { asked, least }) => {
                assert_eq!(asked, 500 * MIB);
                assert!(Layout::plan(600 * MIB, Some(least)).is_ok());
            }
            other => panic!("{other:?}"),
        }
    }
}
