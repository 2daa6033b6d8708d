#!/usr/bin/env bash
# Builds Keelson, composes a host and boots it in QEMU. See --help.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

usage() {
    cat <<'TEXT'
Usage: qemu/run.sh [--help] [MANIFEST] [OPTION...]

Installs what building and running need (and says what first), builds Keelson
and its agent's package, composes MANIFEST (manifests/host.toml unless given)
and boots the host in QEMU. Once it is up, shows what the host says of itself
and how to log in by SSH, and leaves you at its serial console; Ctrl-A X ends
it. Without a terminal it is powered off instead, and the exit code is 0 only
when the host came up well.

Each step is quick when there is nothing new to do. What the guest writes is
thrown away. Every OPTION of `keelson run` may be given, for example:

  qemu/run.sh --firmware uefi
  qemu/run.sh manifests/minimal.toml --memory 1024
  qemu/run.sh --persist --ssh-port 2222
TEXT
}

manifest=manifests/host.toml
options=()
for word; do
    case $word in
    -h | --help) usage && exit 0 ;;
    *.toml) manifest=$word ;;
    *) options+=("$word") ;;
    esac
done
[ -r "$manifest" ] || { echo "qemu/run.sh: there is no manifest $manifest" >&2 && exit 2; }

. qemu/setup.sh
keelson_setup

# Composing takes the mirror that apt of this machine is set up with, where it has all that is needed.
mirrors=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | sed 's|/*$||' | sort -u)
base=$(keelson_mirror)
base=${base%/debian*}
if [ -n "$base" ] && grep -qxF "$base/debian-security" <<<"$mirrors"; then
    export KEELSON_MIRROR="${KEELSON_MIRROR:-$base}"
fi

# What the host is asked once it is up; fails unless it is running well.
questions='
    state=$(systemctl is-system-running --wait)
    echo "systemctl is-system-running: $state"
    [ "$state" = running ] || systemctl --failed --no-legend
    if command -v keelctl >/dev/null; then keelctl status || exit; fi
    [ "$state" = running ]'

# root COMMAND...: composing sets owners of files.
root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo --preserve-env=KEELSON_MIRROR,KEELSON_GNUPGHOME "$@"; fi; }

keelson_say "building"
cargo build --release --locked --workspace --bin keelson
agent/package.sh
case $manifest in *master.toml) manifests/kubernetes/package.sh ;; esac
keelson_say "composing $manifest"
# The agent's package was built here: the lock takes it over, and leaves everything else as locked.
# A lock of another manifest than this one is now is of no use.
lock=${manifest%.toml}.lock
if [ -e "$lock" ] && ! reason=$(root target/release/keelson lock --local "$manifest" 2>&1 >/dev/null); then
    keelson_say "choosing packages anew, because ${reason#keelson: }"
    root target/release/keelson lock "$manifest" >&2
fi
outcome=$(root target/release/keelson compose --json "$manifest")
reference=$(jq -r .ref <<<"$outcome")

keelson_say "booting $reference $(jq -r .version <<<"$outcome") (a minute or two where QEMU has to emulate)"
stay=()
[ ! -t 0 ] || [ ! -t 1 ] || stay=(--stay)
root target/release/keelson run --exec "$questions" "${stay[@]}" "${options[@]}" "$reference"
