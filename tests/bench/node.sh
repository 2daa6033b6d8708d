#!/usr/bin/env bash
# Our node's agent against upstream's kubelet and kube-proxy, each as the only node of a cluster of its
# own, one after the other: from its first start to Ready, memory and processor time in a quiet minute
# with no pod and with 50, and from bound to Running as a watch sees it for one pod and for 30 at once.
# `tests/bench/node.sh upstream` measures one alone. Prints a table; takes six minutes for each, and
# means something only on a machine that does nothing else. PODS, BURST and QUIET (seconds) change the size.
tools="jq python3 nsenter containerd"
packages="jq python3 util-linux containerd"
. "$(dirname "$0")/lib.sh"

pods=${PODS:-50} burst=${BURST:-30} quiet=${QUIET:-60}

# --- each in turn ---
if [ -z "${KEELSON_TEST_NODE-}" ]; then
    agents=("$@")
    [ $# -gt 0 ] || agents=(ours upstream)
    for agent in "${agents[@]}"; do
        echo "== $agent" >&2
        KEELSON_BENCH_FIGURES=$work/$agent "$built/cluster-node" --kubelet "$agent" "$0" >&2
    done
    printf '\n| what |%s\n|---|%s\n' "$(printf ' %s |' "${agents[@]}")" "$(printf -- '---|%.0s' "${agents[@]}")"
    cut -d'|' -f1 "$work/${agents[0]}" | while read -r what; do
        printf '| %s |' "$what"
        for agent in "${agents[@]}"; do printf ' %s |' "$(sed -n "s/^$what|//p" "$work/$agent")"; done
        printf '\n'
    done
    uptime >&2
    exit
fi

# --- beside a cluster: this file was started again there ---
figure() { # WHAT FIGURE
    printf '%s|%s\n' "$1" "$2" >>"$KEELSON_BENCH_FIGURES"
    echo "$1: $2" >&2
}

# spent PID: its processor time so far, in hundredths of a second.
spent() { sed 's/.*) //' "/proc/$1/stat" | awk '{ print $12 + $13 }'; }

# idle WHAT: memory and processor time of every program of the node, over a quiet minute.
idle() {
    local program pid rss total=0 parts='' before=0 after=0
    sleep 15
    for program in $KEELSON_TEST_PROGRAMS; do before=$((before + $(spent "${program#*=}"))); done
    sleep "$quiet"
    for program in $KEELSON_TEST_PROGRAMS; do
        pid=${program#*=}
        after=$((after + $(spent "$pid")))
        rss=$(awk '$1 == "Rss:" { print $2 }' "/proc/$pid/smaps_rollup")
        total=$((total + rss))
        parts+="${parts:+, }${program%=*} $((rss / 1024))"
    done
    figure "memory (RSS), $1" "$((total / 1024)) MB ($parts)"
    figure "of a core in a quiet minute, $1" "$(awk "BEGIN { printf \"%.2f %%\", ($after - $before) / $quiet }")"
}

# made NAME NUMBER: pods of the smallest image, at once.
made() {
    jq -n --arg name "$1" --arg image "$KEELSON_TEST_PAUSE" --argjson number "$2" '{apiVersion: "v1", kind: "List",
        items: [range($number) | {apiVersion: "v1", kind: "Pod", metadata: {name: "\($name)-\(.)", labels: {bench: $name}},
        spec: {terminationGracePeriodSeconds: 1, containers: [{name: "pause", image: $image}]}}]}' |
        kubectl create --filename - >/dev/null
    kubectl wait --for=condition=Ready pod --selector "bench=$1" --timeout=300s >/dev/null
}

# from NAME: median and longest time from bound to Running of those pods.
from() {
    python3 - "$1" "$work/seen" <<'PY'
import statistics, sys
bound, running = {}, {}
for line in open(sys.argv[2]):
    time, name, node, phase = (line.rstrip("\n").split("\t") + [""] * 3)[:4]
    if name.rsplit("-", 1)[0] == sys.argv[1]:
        if node: bound.setdefault(name, float(time))
        if phase == "Running": running.setdefault(name, float(time))
took = sorted(running[name] - bound[name] for name in running)
print(f"{statistics.median(took):.2f} s, at most {took[-1]:.2f} s")
PY
}

until kubectl get serviceaccount default >/dev/null 2>&1; do sleep 0.2; done
figure "from the agent's first start to Ready" "$KEELSON_TEST_READY s"
idle "no pod"

# A watch as any client has it; each line is noted with the time it came.
kubectl get --raw '/api/v1/namespaces/default/pods?watch=true' 2>/dev/null | python3 -u -c '
import json, sys, time
for line in sys.stdin:
    now, pod = time.time(), json.loads(line)["object"]
    print(now, pod["metadata"]["name"], pod["spec"].get("nodeName", ""), pod["status"].get("phase", ""), sep="\t")
' >"$work/seen" &
sleep 1
made warm 1
for number in 1 2 3 4 5; do
    made "one$number" 1
    sleep 1
done
figure "from bound to Running, one pod, five times" "$(for number in 1 2 3 4 5; do from "one$number"; done |
    cut -d' ' -f1 | sort -n | sed -n '3p;$p' | paste -sd' ' | sed 's/\(.*\) \(.*\)/\1 s, at most \2 s/')"
made burst "$burst"
figure "from bound to Running, $burst pods at once" "$(from burst)"
started=$(date +%s.%N)
kubectl delete pod --all >/dev/null
figure "until $((burst + 6)) pods with a second's grace are gone" \
    "$(awk "BEGIN { printf \"%.1f s\", $(date +%s.%N) - $started }")"
made many "$pods"
idle "$pods pods"
kill %1 2>/dev/null || true
