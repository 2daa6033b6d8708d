# What the benchmarks share; sourced, never run. Sets $top, $keelson, $debs and $work, a folder that
# goes away at the end, and $figures, the rows measured so far.
set -euo pipefail

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
built=${CARGO_TARGET_DIR:-$top/target}/release
keelson=$built/keelson
debs=$top/.cache/debs
[ -x "$keelson" ] || { echo "Build first: cargo build --release --workspace" >&2 && exit 1; }
[ "$(id -u)" = 0 ] || { echo "The peers need root here." >&2 && exit 1; }
# The programs a benchmark needs, and the packages they are in; set before this file is sourced when they are others.
tools=${tools-mmdebstrap ostree bwrap dpkg-deb apt-ftparchive /usr/bin/time}
packages=${packages-mmdebstrap ostree bubblewrap dpkg apt-utils time}
for tool in $tools; do
    command -v "$tool" >/dev/null || { echo "$tool is missing: apt install $packages" >&2 && exit 1; }
done
export KEELSON_GNUPGHOME=$top/.cache/tests/gnupg
mkdir -p "$top/.cache/bench"
work=$(mktemp -d -p "$top/.cache/bench")
trap 'rm -rf "$work"' EXIT

figures=()

# row WHAT FIGURE: notes a row of the table.
row() {
    figures+=("| $1 | $2 |")
    echo "$1: $2" >&2
}

# timed NAME COMMAND...: runs it, with its output in $work/NAME.log; sets $seconds and $peak (MB).
timed() {
    local name=$1
    shift
    sync
    /usr/bin/time -o "$work/$name.time" -f '%e %M' "$@" >"$work/$name.log" 2>&1 || {
        tail -n 30 "$work/$name.log" >&2
        echo "$name failed" >&2
        exit 1
    }
    read -r seconds peak <"$work/$name.time"
    peak=$((peak / 1000))
}

# table: prints the rows.
table() {
    printf '\n| what | figure |\n|---|---|\n'
    printf '%s\n' "${figures[@]}"
}

# leaf VERSION: builds the package keelson-leaf in $work/leaf, alone there.
leaf() {
    rm -rf "$work/leaf" "$work/leaf.root"
    mkdir -p "$work/leaf" "$work/leaf.root/DEBIAN" "$work/leaf.root/usr/share/keelson-leaf"
    seq 1 "${1#*.}0000" >"$work/leaf.root/usr/share/keelson-leaf/numbers"
    printf 'Package: keelson-leaf\nVersion: %s\nArchitecture: all\nMaintainer: Keelson tests <tests@keelson.invalid>\nDescription: a leaf package\n' \
        "$1" >"$work/leaf.root/DEBIAN/control"
    dpkg-deb --root-owner-group --build "$work/leaf.root" "$work/leaf/keelson-leaf_$1_all.deb" >/dev/null
}

# manifest: writes $work/m/bench.toml, the default host and the leaf.
manifest() {
    mkdir -p "$work/m"
    printf 'include = ["%s"]\nlocal = ["%s"]\npackages = ["keelson-leaf"]\n' \
        "$top/manifests/host.toml" "$work/leaf" >"$work/m/bench.toml"
}

# pool LOCK [STORE]: makes $work/pool, an APT repository of exactly the packages LOCK names.
pool() {
    local sha store=${2:-$debs}
    mkdir -p "$work/pool"
    sed -n 's/^sha256 = "\(.*\)"$/\1/p' "$1" | while read -r sha; do
        ln -f "$store/$sha.deb" "$work/pool/"
    done
    # mmdebstrap finds the essential packages by the suite's name.
    (cd "$work/pool" && apt-ftparchive packages . >Packages &&
        apt-ftparchive -oAPT::FTPArchive::Release::{Suite,Codename}=trixie release . >Release.new && mv Release.new Release)
}

# names LOCK: the locked packages, separated by commas.
names() {
    sed -n '/^\[\[package\]\]$/,/^$/s/^name = "\(.*\)"$/\1/p' "$1" | paste -sd, -
}

# conventional LOCK: installs the packages of $work/pool into $work/peer, timed as "mmdebstrap".
conventional() {
    timed mmdebstrap mmdebstrap --mode=root --variant=essential --include="$(names "$1")" \
        --aptopt='APT::Install-Recommends "false"' trixie "$work/peer" "deb [trusted=yes] copy:$work/pool ./"
}

# inside COMMAND...: runs it in $work/peer.
inside() {
    bwrap --bind "$work/peer" / --dev /dev --proc /proc --tmpfs /tmp --tmpfs /run --unshare-net --die-with-parent \
        --setenv PATH /usr/sbin:/usr/bin:/sbin:/bin "$@"
}
