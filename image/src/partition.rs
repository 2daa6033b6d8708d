//! Owns writing the partition table: a GPT with its backup, and the protective MBR that carries
//! GRUB's boot code for BIOS.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use gpt::mbr::ProtectiveMBR;
use gpt::partition::Partition;
use gpt::partition_types::{BIOS, EFI, LINUX_ROOT_X64, Type};
use gpt::{GptConfig, disk::LogicalBlockSize};
use uuid::Uuid;

use crate::layout::{Extent, Layout, ROOT_NUMBER, SECTOR};
use crate::{DiskIds, ImageError};

/// The attribute of the Discoverable Partitions Specification that asks for the file system to grow
/// with its partition.
const GROW_FILE_SYSTEM: u64 = 1 << 59;

/// Writes the table of `layout` onto `disk`, with `boot_code` in its first sector.
pub fn write(disk: &Path, layout: &Layout, ids: &DiskIds, boot_code: &[u8; 440]) -> Result<(), ImageError> {
    let mut file = File::options().read(true).write(true).open(disk).map_err(ImageError::io("open", disk))?;
    let sectors = u32::try_from(layout.disk / SECTOR - 1).unwrap_or(u32::MAX);
    let mut mbr = ProtectiveMBR::with_lb_size(sectors);
    mbr.set_bootcode(*boot_code);
    mbr.overwrite_lba0(&mut file).map_err(ImageError::BootSector)?;
    let mut gpt = GptConfig::new()
        .writable(true)
        .logical_block_size(LogicalBlockSize::Lb512)
        .create_from_device(file, Some(ids.disk))
        .map_err(ImageError::Table)?;
    gpt.update_partitions(partitions(layout, ids)).map_err(ImageError::Table)?;
    gpt.write().map_err(ImageError::Table)?;
    Ok(())
}

fn partitions(layout: &Layout, ids: &DiskIds) -> BTreeMap<u32, Partition> {
    let entry = |name: &str, kind: Type, guid: Uuid, extent: Extent, flags: u64| Partition {
        part_type_guid: kind,
        part_guid: guid,
        first_lba: extent.first_lba(),
        last_lba: extent.last_lba(),
        flags,
        name: name.to_owned(),
    };
    BTreeMap::from([
        (1, entry("bios-boot", BIOS, ids.bios_boot, layout.bios_boot, 0)),
        (2, entry("esp", EFI, ids.esp, layout.esp, 0)),
        (ROOT_NUMBER, entry("root", LINUX_ROOT_X64, ids.root, layout.root, GROW_FILE_SYSTEM)),
    ])
}
