#!/usr/bin/env bash
# A cluster of virtual machines: power-on to Ready for the master and for each node, and what part of that
# is the firmware's, the kernel's, the initramfs', the userspace's, cloud-init's and joining's; then a
# version with one small package more over all of them, its time and its bytes. Prints a table; takes some
# 25 minutes where QEMU has to emulate, and means something only on a machine that does nothing else.
# NODES changes the size. It needs manifests/kubernetes/package.sh to have run.
tools="jq kubectl qemu-system-x86_64 dpkg-deb"
packages="jq qemu-system-x86 dpkg"
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
PATH=$top/.cache/kubernetes/bin:$PATH
. "$(dirname "$0")/lib.sh"

nodes=${NODES:-2}
export XDG_STATE_HOME=$work/state
name=bench
folder=$XDG_STATE_HOME/keelson/clusters/$name
export KUBECONFIG=$folder/kubeconfig

cluster() { "$keelson" cluster "$1" --name "$name" "${@:2}"; }
end() {
    [ ! -e "$folder" ] || cluster down >&2 || true
    rm -rf "$work"
}
trap end EXIT

# asked MACHINE COMMAND: runs it there.
asked() { cluster ssh "$1" -- "$2" </dev/null; }

# stages MACHINE: rows of its boot.
stages() {
    local machine=$1 full ready pid power kernel
    full=$(jq -r --arg name "$machine" '.machines[].name | select(endswith($name))' <<<"$status")
    pid=$(pgrep -f -- "$folder/$full/" | head -n 1)
    # In seconds since the epoch: the power, the kernel, Ready.
    power=$(awk -v ticks="$(getconf CLK_TCK)" -v up="$(cut -d' ' -f1 /proc/uptime)" -v now="$(date +%s.%N)" \
        '{ sub(/.*\) /, ""); printf "%.1f", now - up + $20 / ticks }' "/proc/$pid/stat")
    kernel=$(asked "$machine" 'awk -v now="$(date +%s.%N)" "{ printf \"%.1f\", now - \$1 }" /proc/uptime')
    ready=$(kubectl get node "$full" --output \
        'jsonpath={.status.conditions[?(@.type=="Ready")].lastTransitionTime}')
    ready=$(date --date "$ready" +%s)
    row "$machine: power on to Ready" "$(awk "BEGIN { printf \"%.0f s\", $ready - $power }")"
    row "$machine: firmware and boot loader" "$(awk "BEGIN { printf \"%.1f s\", $kernel - $power }")"
    row "$machine: kernel, initramfs, userspace until all is started" "$(
        asked "$machine" 'systemd-analyze time' | sed -n '1{s/^Startup finished in //;s/ = .*//;p}')"
    row "$machine: of the userspace, cloud-init" "$(asked "$machine" 'for unit in cloud-init-local cloud-init cloud-init-network cloud-config cloud-final; do
        systemctl show --property InactiveExitTimestampMonotonic,ActiveEnterTimestampMonotonic "$unit.service" 2>/dev/null | sort | cut -d= -f2 | tr "\n" " "
        echo; done | awk "NF == 2 && \$1 > 0 { all += \$1 - \$2 } END { printf \"%.1f s\", all / 1e6 }"')"
    row "$machine: of the userspace, from the agent reading its seed to Ready" "$(
        start=$(asked "$machine" 'systemctl show --value --property InactiveExitTimestampMonotonic keelson-provision.service')
        awk "BEGIN { printf \"%.0f s\", $ready - $kernel - $start / 1e6 }")"
}

leaf 1.1
mkdir -p "$work/m"
printf 'include = ["%s"]\n' "$top/manifests/master.toml" >"$work/m/bench.toml"
"$keelson" lock --cache "$top/.cache" "$work/m/bench.toml" >/dev/null
places=(--repo "$work/repo" --cache "$top/.cache")
start=$SECONDS
cluster up --nodes "$nodes" "${places[@]}" --timeout 1800 "$work/m/bench.toml" >&2
row "cluster up --nodes $nodes, composing and making the disk as well" "$((SECONDS - start)) s"
status=$(cluster status --json)
machines=(master)
for number in $(seq "$nodes"); do machines+=("node$number"); done
for machine in "${machines[@]}"; do stages "$machine"; done

# A version with one small package more.
printf 'include = ["%s"]\nlocal = ["%s"]\npackages = ["keelson-leaf"]\n' \
    "$top/manifests/master.toml" "$work/leaf" >"$work/m/bench.toml"
"$keelson" lock --cache "$top/.cache" "$work/m/bench.toml" >/dev/null
start=$SECONDS
rolled=$(cluster upgrade --json)
row "cluster upgrade, one package more, over $((nodes + 1)) machines, composing as well" "$((SECONDS - start)) s"
row "sent for it, to all of them" "$(jq -r '.bytes / 1000 | round' <<<"$rolled") kB"
for machine in "${machines[@]}"; do asked "$machine" 'test -e /usr/share/keelson-leaf/numbers'; done
start=$SECONDS
cluster down >&2
row "cluster down" "$((SECONDS - start)) s"
table
