#!/usr/bin/env bash
# Packs upstream's Kubernetes and CoreDNS, as build.sh builds them, for the composer. See --help.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

usage() {
    cat <<'TEXT'
Usage: manifests/kubernetes/package.sh [--help] [OUTDIR]

Builds upstream's Kubernetes and CoreDNS (build.sh --dns) and packs them as Debian
packages in OUTDIR, target/debs unless given, where manifests find them (`local = ["../target/debs"]`):

  keelson-control-plane  kube-apiserver, kube-controller-manager and kube-scheduler
                         in /usr/bin, one program under three names
  keelson-kubectl        kubectl in /usr/bin
  keelson-coredns        coredns in /usr/bin, of the version that dns/go.mod names

The same programs give the same files, byte for byte, and a file that would not
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

manifests/kubernetes/build.sh --dns
. agent/debian/pack.sh
export LC_ALL=C
built=.cache/kubernetes
version=$(sed -n 's/^\tk8s.io\/kubernetes v\([0-9.]*\)$/\1/p' manifests/kubernetes/go.mod)
coredns=$(sed -n 's/^require github.com\/coredns\/coredns v\([0-9.]*\)$/\1/p' manifests/kubernetes/dns/go.mod)
[ -n "$coredns" ] || { echo "manifests/kubernetes/dns/go.mod names no version of github.com/coredns/coredns" >&2 && exit 1; }
architecture=$(dpkg --print-architecture)
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT

# pack PACKAGE VERSION DESCRIPTION: makes a package of what is in $stage/PACKAGE.
pack() {
    local package=$1 version=$2 root=$stage/$1
    mkdir "$root/DEBIAN"
    cat >"$root/DEBIAN/control" <<CONTROL
Package: $package
Version: $version
Architecture: $architecture
Maintainer: The Keelson developers <keelson@localhost>
Installed-Size: $(du -k --apparent-size -s "$root/usr" | cut -f 1)
Section: admin
Priority: optional
Description: $3
 Upstream's, built from its Go modules; nothing of it is changed.
CONTROL
    # Fast rather than small: these packages go into an image on the machine that made them.
    keelson_pack "$root" "$out" -Zzstd -z3
}

root=$stage/keelson-control-plane
install -D -m 755 "$built/control-plane" "$root/usr/libexec/keelson/control-plane"
mkdir "$root/usr/bin"
for program in kube-apiserver kube-controller-manager kube-scheduler; do
    ln -s ../libexec/keelson/control-plane "$root/usr/bin/$program"
done
pack keelson-control-plane "$version" "Kubernetes' API server, controller manager and scheduler"
install -D -m 755 "$built/kubectl" "$stage/keelson-kubectl/usr/bin/kubectl"
pack keelson-kubectl "$version" "Kubernetes' command line"
install -D -m 755 "$built/coredns" "$stage/keelson-coredns/usr/bin/coredns"
pack keelson-coredns "$coredns" "DNS server of a Kubernetes cluster"
