#!/usr/bin/env bash
# Builds the Debian packages keelson-agent and keelson-master from the workspace. See --help.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

usage() {
    cat <<'TEXT'
Usage: agent/package.sh [--help] [OUTDIR]

Builds keeld, its parts for containers and Kubernetes, and keelctl (cargo build --release) and packs them as
OUTDIR/keelson-agent_VERSION_ARCHITECTURE.deb; OUTDIR is target/debs unless given.
keelson-master beside it has what makes such a host the master of a cluster.
The same programs give the same file, byte for byte, and a file that would not
change is left alone. Packages of other versions in OUTDIR are removed.
TEXT
}

out=target/debs
for word; do
    case $word in
    -h | --help) usage && exit 0 ;;
    -*) usage >&2 && exit 2 ;;
    *) out=$word ;;
    esac
done

. agent/debian/pack.sh
export LC_ALL=C
package=keelson-agent
from=agent/debian

# For the whole workspace, whose features are then the same as in every other build: nothing is built twice.
cargo build --release --locked --quiet --workspace --bin keeld --bin keeld-containers --bin keeld-crun \
    --bin keeld-master --bin keeld-node --bin keelctl
version=$(cargo metadata --no-deps --locked --format-version 1 | jq -r --arg name "$package" '.packages[] | select(.name == $name) | .version')
architecture=$(dpkg --print-architecture)

stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
root=$stage/agent

# put MODE SOURCE TARGET: one file of the package.
put() { install -D -m "$1" "$2" "$root/$3"; }
# page SOURCE TARGET: a manual page, compressed as Debian wants it.
page() { install -d "$root/usr/share/man/$2" && gzip -9n <"$1" >"$root/usr/share/man/$2/$(basename "$1").gz"; }

put 755 target/release/keeld usr/libexec/keelson/keeld
put 755 target/release/keeld-containers usr/libexec/keelson/keeld-containers
put 755 target/release/keeld-crun usr/libexec/keelson/keeld-crun
put 755 target/release/keeld-node usr/libexec/keelson/keeld-node
put 755 target/release/keelctl usr/bin/keelctl
for unit in keeld.service keelson-containers.service keelson-containers.socket keelson-node.service keelson-provision.service \
    keelson-count-boots.service keelson-health.service keelson-health-late.service keelson-health.timer \
    keelson-update.service keelson.slice; do
    put 644 $from/systemd/$unit usr/lib/systemd/system/$unit
done
put 644 $from/dbus/org.keelson.Host1.conf usr/share/dbus-1/system.d/org.keelson.Host1.conf
put 644 $from/dbus/org.keelson.Host1.service usr/share/dbus-1/system-services/org.keelson.Host1.service
put 644 $from/polkit/org.keelson.Host1.policy usr/share/polkit-1/actions/org.keelson.Host1.policy
put 644 $from/tmpfiles/keelson-agent.conf usr/lib/tmpfiles.d/keelson-agent.conf
put 644 $from/copyright usr/share/doc/$package/copyright
page $from/man/keelctl.1 man1
page $from/man/keeld.8 man8
page $from/man/keelson-containers.5 man5
page $from/man/keelson-node.5 man5
page $from/man/keelson-host.5 man5
install -d "$root/usr/share/keelson"
target/release/keelctl provision schema >"$root/usr/share/keelson/host.schema.json"

# completion SHELL TARGET: what keelctl itself knows of its command line.
completion() {
    install -d "$root/$(dirname "$2")"
    target/release/keelctl completions "$1" >"$root/$2"
}
completion bash usr/share/bash-completion/completions/keelctl
completion zsh usr/share/zsh/vendor-completions/_keelctl
completion fish usr/share/fish/vendor_completions.d/keelctl.fish

# pack CONTROL: makes a package of $root.
pack() {
    local libc size
    # The newest symbol version any of its programs needs of the C library.
    libc=$(find "$root/usr" -type f -perm -u+x -exec objdump -T {} + | grep -o 'GLIBC_[0-9.]*' | sort -Vu | tail -n 1)
    size=$(du -k --apparent-size -s "$root/usr" | cut -f 1)
    mkdir -p "$root/DEBIAN"
    sed -e "s/@VERSION@/$version/" -e "s/@ARCHITECTURE@/$architecture/" -e "s/@SIZE@/$size/" \
        -e "s/@LIBC@/${libc#GLIBC_}/" "$1" >"$root/DEBIAN/control"
    # zstd: a tenth of the time of xz, for a host that is composed again and again.
    keelson_pack "$root" "$out" -Zzstd -z10 --threads-max=1
}
install -d "$root/DEBIAN"
install -m 755 $from/postinst $from/prerm $from/postrm "$root/DEBIAN/"
pack $from/control.in

root=$stage/master
put 755 target/release/keeld-master usr/libexec/keelson/keeld-master
for unit in $from/master/*.service $from/master/*.target; do
    put 644 "$unit" "usr/lib/systemd/system/$(basename "$unit")"
done
for objects in joining dns-rights; do
    put 644 manifests/kubernetes/$objects.yaml usr/share/keelson/master/$objects.yaml
done
put 644 $from/copyright usr/share/doc/keelson-master/copyright
pack $from/master/control.in
