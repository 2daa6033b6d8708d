#!/usr/bin/env bash
# Builds the Kubernetes that tests run against. See --help.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

usage() {
    cat <<'TEXT'
Usage: manifests/kubernetes/build.sh [--judges] [--dns] [--fleetlock] [--help]

Builds upstream's Kubernetes, of the version that manifests/kubernetes/go.mod
names, into .cache/kubernetes:

  control-plane   kube-apiserver, kube-controller-manager and kube-scheduler in
                  one static program: `control-plane kube-apiserver --help`
  kubectl         as upstream's
  pause           what holds a pod's namespaces

  --judges        besides, what a node is judged by: e2e.test (upstream's
                  end-to-end tests), ginkgo (their runner), agnhost and nnp
                  (what their images are made of), and peer, which is
                  upstream's kubelet and kube-proxy: `peer kubelet --help`
  --dns           besides, coredns with what a cluster's DNS needs: the master's,
                  and that of the clusters that nodes are tested in
  --fleetlock     besides, airlock, the server of the FleetLock protocol by which
                  the reboot lock of fleets is tested: from its own repository,
                  https://github.com/coreos/airlock or a clone of it that
                  KEELSON_AIRLOCK names, which has all that it is made of

The first time it fetches the sources through the Go module proxy and compiles
for several minutes, for the judges some ten more; later it is a matter of
seconds, and of a moment when nothing changed. A Go toolchain that is new enough
is installed when missing: Debian's own (on Debian 12 from backports), which
takes the version it needs from the Go module proxy. Go keeps what it fetches
and compiles where it always does (`go env GOMODCACHE GOCACHE`): some 4 GB.
TEXT
}

judges= dns= fleetlock=
for word; do
    case $word in
    --judges) judges=yes ;;
    --dns) dns=yes ;;
    --fleetlock) fleetlock=yes ;;
    -h | --help) usage && exit 0 ;;
    *) usage >&2 && exit 2 ;;
    esac
done

. qemu/setup.sh
keelson_go

top=manifests/kubernetes
out=.cache/kubernetes
version=$(sed -n 's/^\tk8s.io\/kubernetes \(v[0-9.]*\)$/\1/p' "$top/go.mod")
[ -n "$version" ] || keelson_fail "$top/go.mod names no version of k8s.io/kubernetes"
grep -qF "k8s.io/kubernetes $version" "$top/judges/go.mod" ||
    keelson_fail "$top/judges/go.mod is not of Kubernetes $version"

mkdir -p "$out"
exec 9>"$out/guard"
flock 9

IFS=. read -r major minor _ <<<"${version#v}"
flags='-s -w'
for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
    flags+=" -X $package.gitVersion=$version -X $package.gitMajor=$major -X $package.gitMinor=$minor"
done

# part NAME MODULE PROGRAM...: has these programs, which the function NAME makes from the Go module in the
# folder MODULE, unless they are there and made from what the folder now holds.
part() {
    local name=$1 program stamp fresh=yes
    module=$2
    shift 2
    # What is built depends on these alone.
    stamp=$(cd "$module" && go env GOVERSION && sha256sum go.mod go.sum ./*.go &&
        cd "$OLDPWD/$top" && sha256sum build.sh pick/*.go)
    [ "$stamp" = "$(cat "$out/$name.stamp" 2>/dev/null)" ] || fresh=
    for program; do [ -x "$out/$program" ] || fresh=; done
    [ -z "$fresh" ] || return 0
    rm -f "$out/$name.stamp"
    keelson_say "building Kubernetes' $* into $out: minutes at first, then seconds"
    "make_$name"
    printf '%s\n' "$stamp" >"$out/$name.stamp"
}

# build PROGRAM COMMAND...: runs the compiler, in the module, with the file to write after its `-o`; the
# programs in place stay whole until theirs is done.
build() {
    local program=$1 file=$PWD/$out/$1.new
    shift
    (cd "$module" && CGO_ENABLED=0 "$1" "$2" -o "$file" "${@:3}") || keelson_fail "$program does not build (see above)"
    mv "$file" "$out/$program"
}
build_go() { build "$1" go build -trimpath -buildvcs=false -ldflags "$flags" "${@:2}"; }

# Where Go keeps the sources of Kubernetes.
upstream() { (cd "$module" && go list -m -f '{{.Dir}}' k8s.io/kubernetes); }

make_master() {
    build_go control-plane .
    build_go kubectl k8s.io/kubernetes/cmd/kubectl
    # In C, and so small that no other would be worth its name.
    build pause gcc -static -Os "$(upstream)/build/pause/linux/pause.c"
}

make_judges() {
    build_go peer .
    build_go ginkgo github.com/onsi/ginkgo/v2/ginkgo
    build_go agnhost k8s.io/kubernetes/test/images/agnhost
    build_go nnp k8s.io/kubernetes/test/images/nonewprivs
    # What agnhost serves TLS with.
    install -m 644 "$(upstream)"/test/images/agnhost/porter/localhost.{crt,key} "$out/"
    build e2e.test go test -c -vet=off -trimpath -buildvcs=false -ldflags "$flags" k8s.io/kubernetes/test/e2e
}

make_dns() {
    # The version is Kubernetes', which this is not.
    flags='-s -w' build_go coredns .
}

# The commit names all of it: its dependencies are in it.
airlock=a3585edfaa0ed055dedd99db1133dbe145d625ae

make_fleetlock() {
    local source=$out/airlock-source from=${KEELSON_AIRLOCK:-https://github.com/coreos/airlock}
    keelson_say "building airlock into $out: a minute at first"
    rm -rf "$source" "$out/airlock.stamp"
    git init --quiet "$source"
    git -C "$source" fetch --quiet --depth 1 "$from" "$airlock" ||
        keelson_fail "cannot fetch airlock from $from; KEELSON_AIRLOCK may name a clone of it"
    git -C "$source" -c advice.detachedHead=false checkout --quiet FETCH_HEAD
    module=$source
    build airlock go build -mod=vendor -trimpath -buildvcs=false -ldflags '-s -w' .
    rm -rf "$source"
    echo "$airlock" >"$out/airlock.stamp"
}

part master "$top" control-plane kubectl pause
[ -z "$judges" ] || part judges "$top/judges" peer ginkgo agnhost nnp e2e.test
[ -z "$dns" ] || part dns "$top/dns" coredns
[ -z "$fleetlock" ] || [ "$(cat "$out/airlock.stamp" 2>/dev/null)" = "$airlock" ] || make_fleetlock
