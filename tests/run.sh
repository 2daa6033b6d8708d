#!/usr/bin/env bash
# Sets this machine up, builds Keelson and runs every test. See --help.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

usage() {
    cat <<'TEXT'
Usage: tests/run.sh [--quick] [--help]

Installs what building and testing need (and says what first), then checks the
format, builds everything, lints, and runs the unit, integration and VM tests.
Composes, disks and the Kubernetes that hosts are tested against are kept in
.cache and made again only when something changed, so a second run is quicker.
Ends with a summary; the exit code is 0 only when everything passed.

  --quick   leave the VM tests out
  --help    print this text

One test alone, after a first run:
  cargo test --release -p keelson-tests --test vm -- vm_power
TEXT
}

quick=
for word; do
    case $word in
    --quick) quick=yes ;;
    -h | --help) usage && exit 0 ;;
    *) usage >&2 && exit 2 ;;
    esac
done

. qemu/setup.sh
keelson_setup

# A disk that fills up in between is reported by whatever meets it first, and seldom clearly.
free=$(df --output=avail --block-size=1G . | tail -n 1 | tr -dc 0-9)
[ "$free" -ge 15 ] || keelson_say "only $free GB are free here; a first run takes some 15 GB"

keelson_compose_mirror
# Composing sets owners of files and mounts: only the tests' programs run as root, cargo does not.
[ "$(id -u)" = 0 ] || export CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER="sudo --preserve-env"

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
    [ -z "$quick" ] || echo "The VM tests were left out: run tests/run.sh without --quick."
    [ "$failed" = 0 ] && echo "All passed." || echo "Something failed: see above."
    exit "$failed"
}

# Unit tests of the large crates are not worth minutes of optimizing them once more.
plain=()
for crate in agent composer containers node; do plain+=(--config "profile.release.package.keelson-$crate.opt-level=0"); done
filter=()
[ -z "$quick" ] || filter=(--skip vm_)

step build cargo build --release --locked --workspace
[ "$failed" = 0 ] || finish
step package agent/package.sh
step kubernetes manifests/kubernetes/package.sh
step format cargo fmt --all --check
step lint cargo clippy --release --locked --workspace --all-targets -- -D warnings
step unit cargo test --release --locked --workspace --lib --bins --no-fail-fast "${plain[@]}"
step test cargo test --release --locked --workspace --test '*' --no-fail-fast -- "${filter[@]}"
step doc cargo test --release --locked --workspace --doc
finish
