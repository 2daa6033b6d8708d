#!/usr/bin/env bash
# Sets this machine up, builds Keelson and runs every test. See --help.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

usage() {
    cat <<'TEXT'
Usage: tests/run.sh [--quick] [--minutes NUMBER] [--help]

Installs what building and testing need (and says what first), then checks the
format, builds everything, lints, and runs the unit, integration and VM tests.
Composes, disks and the Kubernetes that hosts are tested against are kept in
.cache and made again only when something changed, so a second run is quicker.
Ends with a summary; the exit code is 0 only when everything passed.

  --quick           leave the VM tests out
  --minutes NUMBER  end within so many minutes: VM tests for which there is not
                    time enough left are left out, and that is said
  --help            print this text

One test alone, after a first run:
  cargo test --release -p keelson-tests --test vm -- vm_power
TEXT
}

quick= minutes=
while [ $# -gt 0 ]; do
    case $1 in
    --quick) quick=yes ;;
    --minutes)
        minutes=${2:-}
        [[ $minutes =~ ^[0-9]+$ ]] || { usage >&2 && exit 2; }
        shift
        ;;
    -h | --help) usage && exit 0 ;;
    *) usage >&2 && exit 2 ;;
    esac
    shift
done

. qemu/setup.sh
keelson_setup

# A disk that fills up in between is reported by whatever meets it first, and seldom clearly.
free=$(df --output=avail --block-size=1G . | tail -n 1 | tr -dc 0-9)
[ "$free" -ge 15 ] || keelson_say "only $free GB are free here; a first run takes some 15 GB"

keelson_compose_mirror
# Composing sets owners of files and mounts: only the tests' programs run as root, cargo does not.
[ "$(id -u)" = 0 ] || export CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER="sudo --preserve-env"

left_out=()
summary=()
failed=0

# step NAME COMMAND...: runs the command and notes how it ended and how long it took.
step() {
    local name=$1 start=$SECONDS result=ok
    shift
    printf '\n== %s\n' "$name"
    "$@" || result=FAILED failed=1
    summary+=("$(printf '%-14s %-6s %5d s' "$name" "$result" $((SECONDS - start)))")
}

finish() {
    printf '\n'
    printf '%s\n' "${summary[@]}"
    [ "${#left_out[@]}" = 0 ] || printf '%s\n' "${left_out[@]}"
    [ -z "$quick" ] || echo "The VM tests were left out: run tests/run.sh without --quick."
    [ "$failed" = 0 ] && echo "All passed." || echo "Something failed: see above."
    exit "$failed"
}

# Unit tests of the large crates are not worth minutes of optimizing them once more.
plain=()
for crate in agent composer containers node; do plain+=(--config "profile.release.package.keelson-$crate.opt-level=0"); done

# vm MINUTES TEST...: runs VM tests, if there are so many minutes, which they take on a slow machine.
vm() {
    local takes=$1 over=$((SECONDS / 60))
    shift
    if [ -n "$minutes" ] && [ $((over + takes)) -gt "$minutes" ]; then
        left_out+=("Left out: $*. It may take $takes minutes, and $over of $minutes are over.")
    else
        step "$1" cargo test --release --locked --workspace --test vm --no-fail-fast -- "$@"
    fi
}

step build cargo build --release --locked --workspace
[ "$failed" = 0 ] || finish
step package agent/package.sh
step kubernetes manifests/kubernetes/package.sh
step format cargo fmt --all --check
step lint cargo clippy --release --locked --workspace --all-targets -- -D warnings
step unit cargo test --release --locked --workspace --lib --bins --no-fail-fast "${plain[@]}"
step test cargo test --release --locked --workspace --test '*' --no-fail-fast -- --skip vm_
# Not in the registries: only where GitHub is reached, or a clone of it is named.
if timeout 300 manifests/kubernetes/build.sh --fleetlock; then
    step fleetlock cargo test --release --locked --workspace --test update -- --ignored airlock
else
    left_out+=("The test of FleetLock against airlock was left out: airlock could not be fetched (see above).")
fi
if [ -z "$quick" ]; then
    # Three machines are more than enough for two cores: they have them to themselves.
    vm 28 vm_cluster
    vm 18 vm_node vm_seed
    vm 16 vm_host vm_minimal vm_power
fi
step doc cargo test --release --locked --workspace --doc
finish
