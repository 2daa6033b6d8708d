//! Owns making GRUB bootable on BIOS: which bytes of the boot sector and of the core image say where
//! the core image lies. Pure. What `grub-bios-setup` does on a device, for a file.

use crate::ImageError;
use crate::layout::SECTOR;

/// Length of the boot code in an MBR, before the disk's signature.
const CODE: usize = 440;
/// Where boot.img keeps the core image's first sector, 64 bits (GRUB_BOOT_MACHINE_KERNEL_SECTOR).
const KERNEL_SECTOR: usize = 0x5c;
/// Where boot.img jumps over its workaround for BIOSes that pass a wrong drive number
/// (GRUB_BOOT_MACHINE_DRIVE_CHECK); on a hard disk the jump is replaced by two no-ops.
const DRIVE_CHECK: usize = 0x66;
const NO_OPS: [u8; 2] = [0x90, 0x90];
/// Where the core image's first sector keeps its only block list: first sector (64 bits), number of
/// sectors (16 bits), segment to load them to (16 bits, set by grub-mkimage).
const BLOCK_LIST: usize = 0x1f4;
const BLOCK_COUNT: usize = BLOCK_LIST + 8;

/// GRUB for BIOS, ready to be written.
#[derive(Debug, PartialEq, Eq)]
pub struct BiosBoot {
    /// The first bytes of the disk's first sector.
    pub code: [u8; CODE],
    /// What lies at the sector it was linked for.
    pub core: Vec<u8>,
}

impl BiosBoot {
    /// Points `boot` (boot.img) at `core` (what grub-mkimage made), which will lie at sector `lba` in
    /// one piece, and `core` at the rest of itself.
    pub fn link(boot: &[u8], mut core: Vec<u8>, lba: u64) -> Result<Self, ImageError> {
        let refuse = |what: &str| ImageError::BootImage(what.to_owned());
        let sector = SECTOR as usize;
        if boot.len() != sector || boot[510..] != [0x55, 0xaa] {
            return Err(refuse("boot.img is no boot sector"));
        }
        if core.len() < 2 * sector {
            return Err(refuse("the core image is shorter than two sectors"));
        }
        let rest = u16::try_from(core.len().div_ceil(sector) - 1).map_err(|_| refuse("the core image is too large"))?;
        let mut code = [0; CODE];
        code.copy_from_slice(&boot[..CODE]);
        put(&mut code, KERNEL_SECTOR, &lba.to_le_bytes());
        put(&mut code, DRIVE_CHECK, &NO_OPS);
        put(&mut core, BLOCK_LIST, &(lba + 1).to_le_bytes());
        put(&mut core, BLOCK_COUNT, &rest.to_le_bytes());
        Ok(Self { code, core })
    }
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boot_sector() -> Vec<u8> {
        let mut sector = vec![0; 512];
        sector[510..].copy_from_slice(&[0x55, 0xaa]);
        sector
    }

    #[test]
    fn links_boot_sector_to_core_and_core_to_its_rest() {
        let linked = BiosBoot::link(&boot_sector(), vec![7; 1500], 2048).unwrap();
        assert_eq!(linked.code[0x5c..0x64], 2048_u64.to_le_bytes());
        assert_eq!(linked.code[0x66..0x68], [0x90, 0x90]);
        assert_eq!(linked.core[0x1f4..0x1fc], 2049_u64.to_le_bytes());
        assert_eq!(linked.core[0x1fc..0x1fe], 2_u16.to_le_bytes());
        assert_eq!(linked.core[0x1fe..], vec![7; 1500 - 0x1fe]);
    }

    #[test]
    fn refuses_what_is_no_boot_sector() {
        assert!(BiosBoot::link(&[0; 512], vec![0; 2048], 2048).is_err());
        assert!(BiosBoot::link(&boot_sector(), vec![0; 512], 2048).is_err());
    }
}
