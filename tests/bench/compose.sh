#!/usr/bin/env bash
# Composing the default host with one leaf package more: cold, again with nothing changed, with the
# leaf changed; against mmdebstrap + dracut + ostree commit of the very same packages. Downloads are
# cached for both sides. Then sizes: commit, disk, delta. Prints a table; runs some minutes.
. "$(dirname "$0")/lib.sh"

ref=keelson/bench
compose() { # NAME
    timed "$1" "$keelson" compose --repo "$work/repo" --cache "$work/cache" "$work/m/bench.toml"
}

leaf 1.1
manifest
printf 'ref = "%s"\n' "$ref" | cat - "$work/m/bench.toml" >"$work/m/with-ref" && mv "$work/m/with-ref" "$work/m/bench.toml"
"$keelson" lock --cache "$top/.cache" "$work/m/bench.toml" >/dev/null
# Fills the store of downloads, and settles the ids in the lock; not measured.
"$keelson" compose --repo "$work/filled" --cache "$top/.cache" "$work/m/bench.toml" >/dev/null
mkdir -p "$work/cache"
cp -al "$debs" "$work/cache/debs"

compose cold
cold=$seconds
row "compose, cold" "$seconds s, peak memory of the largest process $peak MB"
compose warm
row "compose, nothing changed" "$seconds s, $peak MB"
first=$(ostree rev-parse --repo="$work/repo" "$ref")
leaf 1.2
timed lock "$keelson" lock --cache "$work/cache" "$work/m/bench.toml"
row "lock (fetches the indexes)" "$seconds s"
compose changed
changed=$seconds
row "compose, one leaf package changed" "$seconds s, $peak MB"
second=$(ostree rev-parse --repo="$work/repo" "$ref")
[ "$first" != "$second" ] || { echo "the changed leaf made no new commit" >&2 && exit 1; }

pool "$work/m/bench.lock" "$work/cache/debs"
conventional "$work/m/bench.lock"
peer=$seconds
row "peer: mmdebstrap" "$seconds s, $peak MB"
kernel=$(ls "$work/peer/usr/lib/modules")
timed dracut bwrap --bind "$work/peer" / --dev /dev --proc /proc --tmpfs /tmp --tmpfs /run --unshare-net \
    --setenv PATH /usr/sbin:/usr/bin dracut --force --no-hostonly --reproducible --add ostree --kver "$kernel" \
    "/usr/lib/modules/$kernel/initramfs.img"
peer=$(echo "$peer + $seconds" | bc)
row "peer: dracut with the ostree module" "$seconds s"
cp "$work/peer/boot/vmlinuz-$kernel" "$work/peer/usr/lib/modules/$kernel/vmlinuz"
rm -rf "$work/peer"/boot/* "$work/peer"/dev/* "$work/peer"/var/cache/apt/* "$work/peer"/var/lib/apt/lists/*
mv "$work/peer/etc" "$work/peer/usr/etc"
ostree init --repo="$work/peer-repo" --mode=archive
timed commit ostree commit --repo="$work/peer-repo" -b peer --bootable "$work/peer"
peer=$(echo "$peer + $seconds" | bc)
row "peer: ostree commit" "$seconds s"
row "peer: whole" "$peer s"
ratio() { echo "scale=2; $1 / $peer" | bc | sed 's/^\./0./'; }
row "cold / peer" "$(ratio "$cold")"
row "changed leaf / peer" "$(ratio "$changed")"

mb() { echo "$(($(du -sb "$1" | cut -f1) / 1000)) kB"; }
row "repository of one commit" "$(mb "$work/filled/objects")"
row "repository of one commit, peer" "$(mb "$work/peer-repo/objects")"
row "static delta for the changed leaf" "$(mb "$work/repo/deltas")"
"$keelson" image --repo "$work/repo" --format qcow2 -o "$work/disk.qcow2" "$ref" >/dev/null
row "qcow2 disk" "$(mb "$work/disk.qcow2")"
table
