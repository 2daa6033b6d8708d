//! Owns the identifiers of a disk: all of them follow from the commit's checksum, so the same
//! commit gives the same table and file systems each time.

use serde::Serialize;
use uuid::Uuid;

/// The name space our identifiers are derived in.
const NAMESPACE: Uuid = Uuid::from_u128(0x6f1c_3b0a_9d52_4c8e_8a47_51c0_7be1_05d3);

/// The identifiers of a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct DiskIds {
    /// The partition table's GUID.
    pub disk: Uuid,
    /// The BIOS boot partition's GUID.
    pub bios_boot: Uuid,
    /// The EFI system partition's GUID.
    pub esp: Uuid,
    /// The EFI system partition's FAT serial number.
    pub esp_serial: u32,
    /// The root partition's GUID.
    pub root: Uuid,
    /// The root file system's UUID, which the kernel argument `root=` names.
    pub root_fs: Uuid,
    /// The seed of the root file system's directory hashes.
    pub hash_seed: Uuid,
}

impl DiskIds {
    /// The identifiers that follow from `seed`, usually a commit's checksum.
    pub fn derive(seed: &str) -> Self {
        let id = |what: &str| Uuid::new_v5(&NAMESPACE, format!("{seed}/{what}").as_bytes());
        let esp = id("esp");
        Self {
            disk: id("disk"),
            bios_boot: id("bios-boot"),
            esp,
            esp_serial: esp.as_fields().0,
            root: id("root"),
            root_fs: id("root-fs"),
            hash_seed: id("hash-seed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follow_from_the_seed_and_differ_from_each_other() {
        let ids = DiskIds::derive("aa");
        assert_eq!(ids, DiskIds::derive("aa"));
        let mut all = vec![ids.disk, ids.bios_boot, ids.esp, ids.root, ids.root_fs, ids.hash_seed];
        all.push(DiskIds::derive("ab").disk);
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 7);
    }
}
