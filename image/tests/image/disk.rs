//! Makes disks of a small commit and lets the stock tools judge them.

use std::fs;

use crate::support::{World, bytes, debugfs, ext4, make, output, tool};
use keelson_common::command::CommandExt;
use keelson_image::{DiskIds, Extent, Format};
use serde_json::Value;

#[test]
fn stock_tools_find_nothing_wrong() {
    let world = World::new();
    let report = make(&world.request("disk.raw"));
    assert!(output(tool("sfdisk").arg("--verify").arg(&report.path)).contains("No errors detected"));
    tool("e2fsck").args(["-f", "-n", &ext4(&report)]).run().unwrap();
    let esp = world.path("esp");
    fs::write(&esp, bytes(&report, report.layout.esp)).unwrap();
    tool("fsck.vfat").args(["-n", "-V"]).arg(&esp).run().unwrap();
    assert!(output(tool("mdir").args(["-b", "-i"]).arg(&esp).arg("::/EFI/BOOT")).contains("BOOTX64.EFI"));
}

#[test]
fn table_says_what_the_report_says() {
    let world = World::new();
    let report = make(&world.request("disk.raw"));
    let table: Value = serde_json::from_str(&output(tool("sfdisk").arg("-J").arg(&report.path))).unwrap();
    let table = &table["partitiontable"];
    let upper = |id: uuid::Uuid| id.to_string().to_uppercase();
    assert_eq!(table["id"], upper(report.ids.disk));
    let (layout, ids) = (report.layout, report.ids);
    let expected = [
        ("bios-boot", "21686148-6449-6E6F-744E-656564454649", ids.bios_boot, layout.bios_boot),
        ("esp", "C12A7328-F81F-11D2-BA4B-00A0C93EC93B", ids.esp, layout.esp),
        ("root", "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709", ids.root, layout.root),
    ];
    for (index, (name, kind, id, extent)) in expected.into_iter().enumerate() {
        let entry = &table["partitions"][index];
        assert_eq!((&entry["name"], &entry["type"], &entry["uuid"]), (&name.into(), &kind.into(), &upper(id).into()));
        assert_eq!(
            (entry["start"].as_u64(), entry["size"].as_u64()),
            (Some(extent.start / 512), Some(extent.bytes / 512))
        );
    }
    assert!(output(tool("dumpe2fs").args(["-h", &ext4(&report)])).contains(&ids.root_fs.to_string()));
}

#[test]
fn bios_code_leads_to_the_core_image() {
    let world = World::new();
    let report = make(&world.request("disk.raw"));
    let first = bytes(&report, Extent { start: 0, bytes: 512 });
    assert_eq!(first[510..], [0x55, 0xaa]);
    let lba = u64::from_le_bytes(first[0x5c..0x64].try_into().unwrap());
    assert_eq!(lba * 512, report.layout.bios_boot.start);
    let core = bytes(&report, report.layout.bios_boot);
    let rest = u64::from_le_bytes(core[0x1f4..0x1fc].try_into().unwrap());
    let count = usize::from(u16::from_le_bytes(core[0x1fc..0x1fe].try_into().unwrap()));
    assert_eq!(rest, lba + 1);
    assert!(core[512..(count + 1) * 512].iter().any(|byte| *byte != 0));
    assert!(core[(count + 1) * 512..].iter().all(|byte| *byte == 0));
}

#[test]
fn sysroot_is_what_libostree_expects() {
    let world = World::new();
    let mut request = world.request("disk.raw");
    request.remote_url = Some("https://example.org/repo".to_owned());
    request.extra_kargs = vec!["quiet".to_owned()];
    let report = make(&request);
    let config = debugfs(&report, "cat /ostree/repo/config");
    for line in ["bootloader=syslinux", "readonly=true", "url=https://example.org/repo", "gpg-verify=true"] {
        assert!(config.lines().any(|found| found == line), "{line} in {config}");
    }
    let menu = debugfs(&report, "cat /boot/loader/syslinux.cfg");
    assert!(menu.contains("TIMEOUT 20") && menu.contains("LABEL Test OS 1.2 (ostree:0)"), "{menu}");
    assert!(menu.contains(&format!("root=UUID={} rw console=tty0 console=ttyS0,115200n8 quiet", report.ids.root_fs)));
    let deployment = format!("/ostree/deploy/keelson/deploy/{}.0", report.checksum);
    assert!(debugfs(&report, &format!("stat {deployment}")).contains("Flags: 0x80010"));
    assert!(debugfs(&report, &format!("cat {deployment}.origin")).contains("refspec=keelson:test/good"));
    assert!(!debugfs(&report, "ls -p /ostree/deploy/keelson/var").contains("lib"));
    let dump = world.path("dump");
    fs::create_dir(&dump).unwrap();
    debugfs(&report, &format!("rdump /ostree/repo {}", dump.display()));
    assert!(output(tool("ostree").arg("fsck").arg("--repo").arg(dump.join("repo"))).contains("fsck of"));
}

#[test]
fn trusted_keys_reach_the_remote() {
    let world = World::new();
    let home = world.path("gnupg");
    fs::create_dir(&home).unwrap();
    tool("chmod").arg("0700").arg(&home).run().unwrap();
    let gpg = || {
        let mut gpg = tool("gpg");
        gpg.arg("--homedir").arg(&home).args(["--batch", "--quiet"]);
        gpg
    };
    gpg().args(["--passphrase", "", "--quick-generate-key", "someone", "ed25519", "sign", "never"]).run().unwrap();
    let mut request = world.request("disk.raw");
    request.trusted_keys = Some(output(gpg().args(["--armor", "--export"])).into_bytes());
    let report = make(&request);
    let keyring = world.path("keyring");
    debugfs(&report, &format!("dump /ostree/repo/keelson.trustedkeys.gpg {}", keyring.display()));
    assert!(output(gpg().arg("--show-keys").arg(&keyring)).contains("someone"));
    tool("gpgconf").arg("--homedir").arg(&home).args(["--kill", "all"]).run().unwrap();
}

#[test]
fn same_commit_gives_the_same_layout() {
    let world = World::new();
    let one = make(&world.request("one.raw"));
    let mut request = world.request("two.raw");
    request.scratch = Some(world.dir.path().to_owned());
    let two = make(&request);
    assert_eq!((one.layout, one.ids), (two.layout, two.ids));
    let table = Extent { start: 0, bytes: one.layout.bios_boot.start };
    for extent in [table, one.layout.bios_boot, one.layout.esp] {
        assert!(bytes(&one, extent) == bytes(&two, extent), "{extent:?} differs");
    }
    let identity = |report| {
        let lines = output(tool("dumpe2fs").args(["-h", &ext4(report)]));
        let kept =
            |line: &&str| ["UUID", "features", "Seed", "count", "created"].iter().any(|word| line.contains(word));
        lines.lines().filter(kept).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(identity(&one), identity(&two));
}

#[test]
fn given_identifiers_are_used() {
    let world = World::new();
    let mut request = world.request("disk.raw");
    request.ids = Some(DiskIds::derive("another"));
    let report = make(&request);
    assert_eq!(report.ids, DiskIds::derive("another"));
    assert!(debugfs(&report, "cat /boot/loader/syslinux.cfg").contains(&report.ids.root_fs.to_string()));
}

#[test]
fn qcow2_is_sparse_and_sound() {
    let world = World::new();
    let mut request = world.request("disk.qcow2");
    request.format = Format::Qcow2;
    request.size = Some(4 << 30);
    let report = make(&request);
    assert!(output(tool("qemu-img").arg("check").arg(&report.path)).contains("No errors were found"));
    let info: Value =
        serde_json::from_str(&output(tool("qemu-img").args(["info", "--output=json"]).arg(&report.path))).unwrap();
    assert_eq!((&info["format"], info["virtual-size"].as_u64()), (&"qcow2".into(), Some(4 << 30)));
    assert!(report.bytes_on_disk < 32 << 20, "{} bytes", report.bytes_on_disk);
}
