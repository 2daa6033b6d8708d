//! Owns GRUB: the two images it is linked into, the configuration it reads at each boot, and the
//! first lines of the file it finds libostree's entries in.
//!
//! libostree's syslinux backend rewrites `/boot/loader/syslinux.cfg` with each change and swaps it in
//! with the link `/boot/loader`; GRUB's `syslinuxcfg` module turns that file into its menu. GRUB does
//! not replay ext4's journal, so what it sees must be in place on the disk: libostree freezes and
//! thaws the file system of `/boot` (which writes the journal back) before it swaps the link and again
//! after. Between the second rename and that thaw a power cut can leave the old link's inode cleared
//! while its folder entry is still the old one; both versions of the file are whole at that time, and
//! [`CONFIG`] tries them by name.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use keelson_common::command::CommandExt;

use crate::layout::ROOT_NUMBER;
use crate::tools::{GRUB_BIOS, GRUB_EFI, Tools};
use crate::{ImageError, boot};

/// What libostree keeps at the top of the file it writes. Without a timeout GRUB's parser would start
/// the default entry with no menu. In tenths of a second.
pub const SYSLINUX_SEED: &str = "TIMEOUT 20\n";

/// `/boot/grub/grub.cfg`. Besides finding the entries it counts, in GRUB's environment block, the boots of a version
/// that was not healthy yet, as the agent asks for, and boots the second entry once there are none left.
pub const CONFIG: &str = include_str!("grub.cfg");

/// Modules both platforms need: to find the files, read libostree's entries, and talk to both consoles.
const MODULES: &[&str] = &[
    "normal",
    "part_gpt",
    "ext2",
    "syslinuxcfg",
    "configfile",
    "test",
    "true",
    "linux",
    "serial",
    "terminal",
    "echo",
    "sleep",
    "reboot",
    "halt",
    "ls",
    "cat",
    "minicmd",
    "loadenv",
    "regexp",
];
const BIOS_MODULES: &[&str] = &["biosdisk", "linux16"];
const EFI_MODULES: &[&str] = &["fat", "all_video"];

/// Scratch files.
const CORE: &str = "grub-bios";
const EFI: &str = "grub-efi";

/// GRUB for both kinds of firmware.
pub struct GrubImages {
    /// The first sector's boot code and the core image it loads, for BIOS.
    pub bios: boot::BiosBoot,
    /// The boot program for UEFI, a file in the scratch folder.
    pub efi: &'static str,
}

/// Links GRUB for both kinds of firmware, using `dir` for scratch files. `core_lba` is the sector the
/// core image will lie at.
pub fn make(tools: &Tools, dir: &Path, core_lba: u64) -> Result<GrubImages, ImageError> {
    mkimage(tools, dir, CORE, "i386-pc", GRUB_BIOS, BIOS_MODULES)?;
    mkimage(tools, dir, EFI, "x86_64-efi", GRUB_EFI, EFI_MODULES)?;
    let path = dir.join(CORE);
    let core = fs::read(&path).map_err(ImageError::io("read", &path))?;
    let path = PathBuf::from(GRUB_BIOS).join("boot.img");
    let sector = fs::read(&path).map_err(ImageError::io("read", &path))?;
    Ok(GrubImages { bios: boot::BiosBoot::link(&sector, core, core_lba)?, efi: EFI })
}

/// The prefix names the root partition of whichever disk the firmware booted: a second disk made from
/// the same commit cannot be mistaken for it, as with a search by UUID.
fn mkimage(
    tools: &Tools,
    dir: &Path,
    output: &str,
    format: &str,
    modules: &str,
    own: &[&str],
) -> Result<(), ImageError> {
    Command::new(&tools.grub_mkimage)
        .current_dir(dir)
        .args(["-O", format, "-d", modules, "-p", &format!("(,gpt{ROOT_NUMBER})/boot/grub"), "-o", output])
        .args(MODULES)
        .args(own)
        .run()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use keelson_common::grubenv::{BEHIND, TRIES};

    #[test]
    fn grub_takes_the_configuration() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("grub.cfg");
        fs::write(&file, CONFIG).unwrap();
        Command::new("grub-script-check").arg(&file).run().expect("apt install grub-common");
    }

    #[test]
    fn it_counts_down_from_where_the_agent_begins() {
        for left in 1..=TRIES {
            let step = format!("[ \"$keelson_tries\" = {left} ]; then\n    set keelson_tries={}\n", left - 1);
            assert!(CONFIG.contains(&step), "nothing is counted from {left}");
        }
        assert!(!CONFIG.contains(&format!("= {} ]", TRIES + 1)));
        // None left: the second one, once; then the first one again.
        let behind = format!("    set default=1\n    set keelson_tries={BEHIND}\n  else\n");
        let (_, after) = CONFIG.split_once(&behind).expect("the second one is not noted");
        assert!(after.contains(&format!("    set keelson_tries={}\n  fi\n", TRIES - 1)));
    }
}
