# Owns how a folder becomes a Debian package whose bytes depend on nothing but what is in it. Sourced by
# agent/package.sh and manifests/kubernetes/package.sh, at the top of the repository.
#
# shellcheck shell=bash

# Every time in a package is this one. dpkg-deb alone is told: it would take part in some builds.
keelson_pack_time=1735689600

# keelson_pack ROOT OUT COMPRESSION...: packs the folder ROOT, whose DEBIAN/control is written, into OUT. A
# file that would not change is left alone; packages of other versions in OUT are removed.
keelson_pack() {
    local root=$1 out=$2 package deb made
    shift 2
    # To the letter of DEBIAN/control, which dpkg reads the same way.
    field() { sed -n "s/^$1: //p" "$root/DEBIAN/control"; }
    package=$(field Package)
    deb=${package}_$(field Version)_$(field Architecture).deb
    made=$(dirname "$root")/$deb
    (cd "$root" && find usr -type f -print0 | sort -z | xargs -0 md5sum) >"$root/DEBIAN/md5sums"
    find "$root" -type d -exec chmod 755 {} +
    chmod 644 "$root/DEBIAN/control" "$root/DEBIAN/md5sums"
    find "$root" -exec touch --no-dereference --date "@$keelson_pack_time" {} +
    SOURCE_DATE_EPOCH=$keelson_pack_time dpkg-deb --root-owner-group "$@" --build "$root" "$made" >/dev/null
    mkdir -p "$out"
    find "$out" -maxdepth 1 -name "${package}_*.deb" ! -name "$deb" -delete
    if cmp --silent "$made" "$out/$deb"; then
        echo "$out/$deb is up to date"
    else
        # Renamed into place, so that no one ever reads half a package.
        cp "$made" "$out/.$deb.new"
        mv "$out/.$deb.new" "$out/$deb"
        echo "built $out/$deb ($(stat -c %s "$out/$deb") bytes)"
    fi
}
