#!/usr/bin/env bash
# keelctl and keeld against podman and ctr: one container with its default network and with none, 100
# starts in a row, listing 100 containers, the log of a chatty container, and keeld's memory. All of
# them run the same image by the same runtime (RUNTIME, runc unless set) on the same file system, in a
# network namespace of their own. Every call is checked for what it prints before it is timed. Prints a
# table; runs some minutes, and means something only on a machine that does nothing else.
tools="hyperfine podman ctr jq nsenter"
packages="hyperfine podman containerd jq util-linux"
. "$(dirname "$0")/lib.sh"

# This file runs itself again against a containerd and a keeld started for it.
if [ -z "${KEELSON_TEST_FOLDER-}" ]; then
    rm -rf "$work"
    exec "$built/container-host" "$0" "$@"
fi

runtime=${RUNTIME:-runc}
many=${MANY:-100}
log_mb=${LOG_MB:-200}
runs=${RUNS:-20}

# podman keeps everything below $work; the limits are within those of a machine that caps them.
podman_words=(podman --root "$work/podman" --runroot "$work/podman-run" --tmpdir "$work/podman-tmp"
    --network-config-dir "$work/podman-net" --runtime "$(command -v "$runtime")" --cgroup-manager cgroupfs
    --events-backend file --log-level error)
podman() { command "${podman_words[@]}" "$@"; }
limits=(--ulimit nofile=1024:1024 --ulimit nproc=1000:1000)
# podman does not start without the file that this names.
unset DOCKER_CONFIG
mkdir -p "$work/podman-net"
podman load --quiet --input "$KEELSON_TEST_FOLDER/busybox.tar" >/dev/null
# The names the one image has.
image=localhost/busybox
ctr_image=docker.io/library/busybox:latest
clean() {
    podman rm --all --force --time 0 >/dev/null 2>&1 || true
    umount "$work/podman/overlay" 2>/dev/null || true
    rm -rf "$work"
}
trap clean EXIT

# In scripts, because hyperfine starts what it measures without this shell's functions.
command_file() { # NAME COMMAND...
    local name=$1
    shift
    printf '#!/bin/sh\nexec %s\n' "$(printf '%q ' "$@")" >"$work/$name"
    chmod +x "$work/$name"
}
# speed NAME COMMAND...: the command with `echo here` says so, and with `true` is timed; sets $ms.
speed() {
    local name=$1 said
    shift
    said=$("$@" echo here 2>&1) || { echo "$name failed: $said" >&2 && exit 1; }
    [ "$said" = here ] || { echo "$name printed: $said" >&2 && exit 1; }
    command_file "$name" "$@" true
    measure "$name"
}

# measure NAME: times the script of that name, none of whose runs may fail; sets $ms, its median.
measure() {
    hyperfine --shell=none --warmup 3 --runs "$runs" --export-json "$work/$1.json" "$work/$1" >/dev/null 2>"$work/$1.log" ||
        { cat "$work/$1.log" >&2 && exit 1; }
    ms=$(jq '.results[0].median * 1000 | . * 10 | round / 10' "$work/$1.json")
    spread=$(jq -r '.results[0] | "\(.min * 1000 | round)..\(.max * 1000 | round)"' "$work/$1.json")
}

ratio() { echo "scale=2; $1 / $2" | bc | sed 's/^\./0./'; }
# compare WHAT OURS THEIRS PEER
compare() { row "$1 against $4" "$(ratio "$2" "$3")"; }

memory() { # a figure of keeld's memory in MB
    awk -v figure="$1:" '$1 == figure { printf "%.1f MB", $2 / 1000 }' "/proc/$KEELSON_TEST_KEELD/smaps_rollup"
}

row "keeld's memory, as started" "$(memory Rss) RSS, $(memory Pss) PSS"

# --- one container ---
speed keelctl-none keelctl run --rm --network none busybox
none=$ms
row "keelctl run --rm --network none" "$ms ms ($spread)"
speed podman-none "${podman_words[@]}" run --rm --network none "${limits[@]}" "$image"
row "podman run --rm --network none" "$ms ms ($spread)"
compare "--network none" "$none" "$ms" podman
# ctr wants a name for each; it gives the container a network namespace with nothing in it.
cat >"$work/ctr-run" <<TEXT
#!/bin/sh
exec ctr run --rm --runc-binary $(command -v "$runtime") $ctr_image bench-\$\$ "\$@"
TEXT
chmod +x "$work/ctr-run"
speed ctr-none "$work/ctr-run"
row "ctr run --rm" "$ms ms ($spread)"
compare "--network none" "$none" "$ms" ctr
speed keelctl-bridge keelctl run --rm busybox
bridge=$ms
row "keelctl run --rm" "$ms ms ($spread)"
speed podman-bridge "${podman_words[@]}" run --rm "${limits[@]}" "$image"
row "podman run --rm" "$ms ms ($spread)"
compare "default network" "$bridge" "$ms" podman
row "keeld's memory, no containers" "$(memory Rss) RSS, $(memory Pss) PSS, $(memory Anonymous) anonymous"

# --- many ---
# starts NAME COMMAND...: $many containers, one after the other; sets $seconds.
starts() {
    local name=$1 from number
    shift
    from=$(date +%s.%N)
    for number in $(seq "$many"); do "$@" --name "b$number" "${extra[@]}" "$of" sleep 100000 >/dev/null; done
    seconds=$(echo "scale=1; ($(date +%s.%N) - $from) / 1" | bc)
}
# listed COMMAND...: the command names every one of the containers.
listed() {
    local count
    count=$("$@" --quiet | wc -l)
    [ "$count" = "$many" ] || { echo "$* lists $count containers, not $many" >&2 && exit 1; }
}
extra=() of=busybox
starts keelctl keelctl run --detach
ours=$seconds
row "$many times keelctl run --detach" "$seconds s"
listed keelctl ps
command_file keelctl-ps keelctl ps
measure keelctl-ps
ps=$ms
row "keelctl ps with $many containers" "$ms ms ($spread)"
row "keeld's memory, $many containers" "$(memory Rss) RSS, $(memory Pss) PSS, $(memory Anonymous) anonymous"
# shellcheck disable=SC2046
keelctl rm --force $(keelctl ps --quiet) >/dev/null
row "keeld's memory, $many containers later" "$(memory Rss) RSS, $(memory Pss) PSS"
extra=("${limits[@]}") of=$image
starts podman podman run --detach
row "$many times podman run --detach" "$seconds s"
compare "$many starts" "$ours" "$seconds" podman
listed podman ps
command_file podman-ps "${podman_words[@]}" ps
measure podman-ps
row "podman ps with $many containers" "$ms ms ($spread)"
compare "ps with $many containers" "$ps" "$ms" podman
podman rm --all --force --time 0 >/dev/null

# --- log ---
yes "a line of the usual length, such as a server writes about each of the requests it has answered so far" |
    head -c "${log_mb}000000" >"$work/chatter" || true
# chatty NAME COMMAND...: writes the file to the log; sets $seconds until the container has ended.
chatty() {
    local name=$1 from
    shift
    sync
    from=$(date +%s.%N)
    "$@" run --detach --name chatty "${extra[@]}" --volume "$work/chatter:/chatter:ro" "$of" cat /chatter >/dev/null
    [ "$("$@" wait chatty)" = 0 ] || { echo "$name: the chatty container failed" >&2 && exit 1; }
    seconds=$(echo "scale=2; ($(date +%s.%N) - $from) / 1" | bc | sed 's/^\./0./')
    "$@" logs chatty | cmp - "$work/chatter" || { echo "$name lost a part of the log" >&2 && exit 1; }
    "$@" rm chatty >/dev/null
}
extra=() of=busybox
chatty keelctl keelctl
ours=$seconds
row "a container writes $log_mb MB to keeld's log" "$seconds s"
extra=("${limits[@]}" --log-driver k8s-file) of=$image
chatty podman podman
row "a container writes $log_mb MB to podman's log" "$seconds s"
compare "log" "$ours" "$seconds" podman

uptime >&2
table
