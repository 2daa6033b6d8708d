#!/usr/bin/env bash
# Has upstream's conformance tests judge a node. See --help.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

usage() {
    cat <<'TEXT'
Usage: tests/conformance.sh [OPTION]... [sig-node|sig-storage|sig-network|...]...

Starts a throw-away Kubernetes cluster with one node and runs upstream's
conformance specs of these groups (sig-node, sig-storage and sig-network when
none is named) against it. Builds what is missing first: some ten minutes the
first time. Prints how many passed, and for each that failed its name and the
beginning of its error; `*` marks those that upstream's kubelet failed here in
its own last run. Exits 0 only when all passed.

  --kubelet ours|upstream  the node's agent: keeld-node (the default), or upstream's
                           kubelet and kube-proxy
  --focus REGEX            only specs whose name matches, conformance or not; no
                           groups then
  --procs N                how many specs run at once (6)
  --nodes N                how many nodes (1)
  --dns                    start CoreDNS also where no spec of sig-network runs
  --again                  only those that failed the last time with these words
  --list                   only write the names of all specs of the groups to
                           .cache/conformance/specs-GROUP.txt
  --help                   print this text

In .cache/conformance: KUBELET-GROUPS.json and .xml (ginkgo's and JUnit reports),
.failed and .passed (names), .log (all output), and a folder of the servers' logs.
TEXT
}

agent=ours procs=6 nodes=1 focus= dns= again= list= groups=()
words=("$@")
while [ $# -gt 0 ]; do
    case $1 in
    --kubelet) agent=${2-} && shift ;;
    --focus) focus=${2-} && shift ;;
    --procs) procs=${2-} && shift ;;
    --nodes) nodes=${2-} && shift ;;
    --dns) dns=yes ;;
    --again) again=yes ;;
    --list) list=yes ;;
    -h | --help) usage && exit 0 ;;
    -*) usage >&2 && exit 2 ;;
    *) groups+=("$1") ;;
    esac
    shift || { usage >&2 && exit 2; }
done
case $agent in ours | upstream) ;; *) usage >&2 && exit 2 ;; esac
name=$agent-focus
if [ -z "$focus" ]; then
    [ ${#groups[@]} -gt 0 ] || groups=(sig-node sig-storage sig-network)
    name=$agent-$(IFS=+ && echo "${groups[*]}")
    focus="\\[($(IFS='|' && echo "${groups[*]}"))\\].*\\[Conformance\\]"
fi
case " ${groups[*]-} " in *" sig-network "*) dns=yes ;; esac
skip='\[Serial\]|\[Slow\]|\[Disruptive\]|\[Flaky\]'

kubernetes=$PWD/.cache/kubernetes
out=$PWD/.cache/conformance
mkdir -p "$out"

# The full names of the specs in a report whose state is one of these.
names() { # FILE STATE...
    local file=$1
    shift
    jq -r --args '.[].SpecReports[] | select(.LeafNodeType == "It" and (.State | IN($ARGS.positional[])))
        | (.ContainerHierarchyTexts + [.LeafNodeText]) | join(" ")' "$@" <"$file" | sort
}

# --- beside the cluster: this file was started again there ---
if [ -n "${KEELSON_TEST_NODE-}" ]; then
    start=$SECONDS
    cd "$out"
    rm -rf "$name".* "$name"
    mkdir "$name"
    if [ -n "$again" ]; then focus=$(sed 's/[][\.*^$+?(){}|/]/\\&/g' "$out/again" | paste -sd '|'); fi
    "$kubernetes/ginkgo" --procs="$procs" --timeout=3h --no-color --silence-skips --focus="$focus" --skip="$skip" \
        --output-dir="$out" --json-report="$name.json" --junit-report="$name.xml" "$kubernetes/e2e.test" -- \
        --provider=skeleton --kubeconfig="$KUBECONFIG" --kubectl-path="$kubernetes/kubectl" --num-nodes="$nodes" \
        --disable-log-dump >"$name.log" 2>&1 </dev/null || true
    cp "$KEELSON_TEST_NODE"/*.log "$KEELSON_TEST_FOLDER"/*.log "$name/"
    [ -s "$name.json" ] || { tail -n 40 "$name.log" && exit 1; }
    names "$name.json" passed >"$name.passed"
    names "$name.json" failed panicked aborted interrupted timedout >"$name.failed"
    jq -r '.[].SpecReports[] | select(.State | IN("failed", "panicked", "aborted", "interrupted", "timedout"))
        | ((.ContainerHierarchyTexts // []) + [.LeafNodeText] | join(" ")) + "\t"
        + ((.Failure.Message // "") | split("\n") | map(select(. != ""))[0:3] | join(" ") | .[0:240])' "$name.json" |
        while IFS=$'\t' read -r spec error; do
            mark=' '
            ! grep -qxF -- "$spec" upstream-*.failed 2>/dev/null || mark='*'
            printf '\n%s %s\n      %s\n' "$mark" "${spec:-before or after all specs}" "$error"
        done
    printf '\n%s: %d passed, %d failed in %d s; ran for %d s\n' "$name" "$(wc -l <"$name.passed")" \
        "$(wc -l <"$name.failed")" $((SECONDS - start)) \
        "$(jq '[.[].SpecReports[].RunTime] | add / 1e9 | round' "$name.json")"
    awk '/^VmRSS/ { printf "the agent: %d MB RSS at the end\n", $2 / 1000 }' "/proc/$KEELSON_TEST_AGENT/status" || true
    jq -e 'all(.[]; .SuiteSucceeded)' "$name.json" >/dev/null
    exit
fi

# --- before that ---
. qemu/setup.sh
keelson_setup
keelson_compose_mirror
manifests/kubernetes/build.sh --judges --dns

if [ -n "$list" ]; then
    [ ${#groups[@]} -gt 0 ] || { usage >&2 && exit 2; }
    for group in "${groups[@]}"; do
        "$kubernetes/e2e.test" --provider=skeleton --ginkgo.dry-run --ginkgo.no-color --ginkgo.silence-skips \
            --ginkgo.focus="\\[$group\\].*\\[Conformance\\]" --ginkgo.skip="$skip" \
            --ginkgo.json-report="$out/list.json" >"$out/list.log" 2>&1 || { tail -n 40 "$out/list.log" && exit 1; }
        names "$out/list.json" passed >"$out/specs-$group.txt"
        echo "$(wc -l <"$out/specs-$group.txt") $out/specs-$group.txt"
    done
    rm -f "$out/list.json" "$out/list.log"
    exit
fi

programs=(--bin cluster-node)
[ "$agent" = upstream ] || programs+=(--bin keeld-node)
cargo build --release --locked "${programs[@]}"
built=${CARGO_TARGET_DIR:-$PWD/target}/release
if [ -n "$again" ]; then
    [ -s "$out/$name.failed" ] || { echo "nothing failed the last time" && exit 0; }
    cp "$out/$name.failed" "$out/again"
fi
"$built/cluster-node" --kubelet "$agent" --nodes "$nodes" ${dns:+--dns} "$PWD/tests/conformance.sh" "${words[@]}"
