#!/usr/bin/env bash
# Builds the Kubernetes that tests run against. See --help.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

usage() {
    cat <<'TEXT'
Usage: manifests/kubernetes/build.sh [--help]

Builds upstream's Kubernetes, of the version that manifests/kubernetes/go.mod
names, into .cache/kubernetes:

  control-plane   kube-apiserver, kube-controller-manager and kube-scheduler in
                  one static program: `control-plane kube-apiserver --help`
  kubectl         as upstream's

The first time it fetches the sources through the Go module proxy and compiles
for several minutes; later it is a matter of seconds, and of a moment when
nothing changed. A Go toolchain that is new enough is installed when missing:
Debian's own (on Debian 12 from backports), which takes the version it needs
from the Go module proxy. Go keeps what it fetches and compiles where it always
does (`go env GOMODCACHE GOCACHE`): some 4 GB.
TEXT
}

case "$#:${1-}" in
0:) ;;
1:-h | 1:--help) usage && exit 0 ;;
*) usage >&2 && exit 2 ;;
esac

. qemu/setup.sh
keelson_go

module=manifests/kubernetes
out=.cache/kubernetes
version=$(sed -n 's/^\tk8s.io\/kubernetes \(v[0-9.]*\)$/\1/p' "$module/go.mod")
[ -n "$version" ] || keelson_fail "$module/go.mod names no version of k8s.io/kubernetes"

mkdir -p "$out"
exec 9>"$out/guard"
flock 9

# What is built depends on these alone.
stamp=$(cd "$module" && go env GOVERSION && sha256sum go.mod go.sum ./*.go build.sh)
if [ "$stamp" = "$(cat "$out/stamp" 2>/dev/null)" ] && [ -x "$out/control-plane" ] && [ -x "$out/kubectl" ]; then
    exit 0
fi
rm -f "$out/stamp"

keelson_say "building Kubernetes $version into $out: minutes at first, then seconds"
IFS=. read -r major minor _ <<<"${version#v}"
flags='-s -w'
for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
    flags+=" -X $package.gitVersion=$version -X $package.gitMajor=$major -X $package.gitMinor=$minor"
done
# build PROGRAM PACKAGE: compiles it; the programs in place stay whole until theirs is done.
build() {
    (cd "$module" && CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags "$flags" -o "../../$out/$1.new" "$2") ||
        keelson_fail "Kubernetes' $1 does not build (see above)"
    mv "$out/$1.new" "$out/$1"
}
build control-plane .
build kubectl k8s.io/kubernetes/cmd/kubectl
printf '%s\n' "$stamp" >"$out/stamp"
