//! What stock tools find wrong with a disk of the default host: nothing.

use std::fs;
use std::path::Path;
use std::process::Command;

use keelson_common::command::CommandExt;
use keelson_tests::host;
use keelson_tests::keelson::finish;
use serde_json::Value;

/// Start and size, in bytes, of the partitions of a raw disk.
fn partitions(disk: &Path) -> Vec<(u64, u64)> {
    let text = Command::new("sfdisk").arg("--json").arg(disk).output_text().unwrap();
    let table: Value = serde_json::from_str(&text).unwrap();
    let list = table["partitiontable"]["partitions"].as_array().unwrap();
    let bytes = |partition: &Value, key: &str| partition[key].as_u64().unwrap() * 512;
    list.iter().map(|partition| (bytes(partition, "start"), bytes(partition, "size"))).collect()
}

#[test]
fn qcow2_is_sound_and_the_raw_disk_in_it_too() {
    let disk = host::default_host().unwrap().disk().unwrap();
    Command::new("qemu-img").args(["check", "-q"]).arg(&disk).run().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let raw = dir.path().join("disk.raw");
    Command::new("qemu-img").args(["convert", "-O", "raw"]).args([&disk, &raw]).run().unwrap();
    let verified = Command::new("sfdisk").arg("--verify").arg(&raw).capture().unwrap();
    let said = String::from_utf8_lossy(&verified.stdout).into_owned() + &String::from_utf8_lossy(&verified.stderr);
    assert!(said.contains("No errors detected"), "{said}");
    let partitions = partitions(&raw);
    assert_eq!(partitions.len(), 3, "BIOS boot, ESP and root");
    let part = |index: usize| {
        let (start, size) = partitions[index];
        let path = dir.path().join(format!("part{index}"));
        let mut copy = Command::new("dd");
        copy.arg(format!("if={}", raw.display())).arg(format!("of={}", path.display()));
        copy.args(["bs=1M", "iflag=skip_bytes,count_bytes", "conv=sparse", "status=none"]);
        copy.arg(format!("skip={start}")).arg(format!("count={size}")).run().unwrap();
        path
    };
    Command::new("fsck.fat").args(["-n", "-V"]).arg(part(1)).run().unwrap();
    Command::new("e2fsck").args(["-f", "-n"]).arg(part(2)).run().unwrap();
}

#[test]
fn layout_follows_from_the_commit() {
    let host = host::minimal_host().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let tables = ["one.raw", "two.raw"].map(|name| {
        let path = dir.path().join(name);
        let keelson = &host.v1.keelson;
        let mut command = keelson.command(&["image", "--format", "raw", "--repo"]).unwrap();
        command.arg(&keelson.repo).arg("-o").arg(&path).arg(host.reference());
        finish(&mut command).unwrap().expect(0).unwrap();
        let table = Command::new("sfdisk").arg("--dump").arg(&path).output_text().unwrap();
        let sparse = fs::metadata(&path).map(|meta| (meta.len(), std::os::unix::fs::MetadataExt::blocks(&meta) * 512));
        let (size, taken) = sparse.unwrap();
        assert!(taken < size / 4 * 3, "{taken} of {size} bytes are taken");
        fs::remove_file(&path).unwrap();
        table.replace(name, "")
    });
    assert_eq!(tables[0], tables[1]);
}
