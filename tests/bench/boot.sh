#!/usr/bin/env bash
# Booting the default host against the same packages installed conventionally (mmdebstrap, ext4,
# the stock initramfs, started without a boot loader), both under the same QEMU in one run. Prints a
# table; runs some minutes, and means something only on a machine that does nothing else.
. "$(dirname "$0")/lib.sh"

leaf 1.1
manifest
"$keelson" lock --cache "$top/.cache" "$work/m/bench.toml" >/dev/null
reference=$("$keelson" compose --json --repo "$work/repo" --cache "$top/.cache" "$work/m/bench.toml" | jq -r .ref)
"$keelson" image --repo "$work/repo" --format qcow2 -o "$work/host.qcow2" "$reference" >/dev/null
pool "$work/m/bench.lock"
conventional "$work/m/bench.lock"
echo '/dev/vda / ext4 defaults 0 1' >"$work/peer/etc/fstab"
echo conventional >"$work/peer/etc/hostname"
cp "$work"/peer/boot/vmlinuz-* "$work/kernel"
cp "$work"/peer/boot/initrd.img-* "$work/initrd"
truncate -s 4G "$work/conventional.raw"
mkfs.ext4 -q -F -d "$work/peer" "$work/conventional.raw"
rm -rf "$work/peer" "$work/pool"
mapfile -t figures < <("$built/bench-boot" \
    "$work/host.qcow2" "$work/conventional.raw" "$work/kernel" "$work/initrd")
table
