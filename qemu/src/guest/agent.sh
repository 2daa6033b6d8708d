# The guest's end of Keelson's command channel, run by systemd in the guest (see guest/mod.rs).
#
# Three virtio-serial ports: `control` carries one line a message, `stdout` and `stderr` what the
# running command prints, byte for byte, and after it the mark the host chose.
#
#   host:   run ID MARK BASE64      run a command; one at a time
#           kill ID                 kill it and all that shares its session
#   guest:  hello BOOT_ID           ready for commands; said once a start
#           exit ID STATUS          the command ended, and both marks are sent
port() {
    for entry in /sys/class/virtio-ports/*; do
        read -r name <"$entry/name" && [ "$name" = "keelson.$1" ] && echo "/dev/${entry##*/}" && return
    done
    echo "no virtio-serial port keelson.$1" >&2
    exit 1
}

job() { # ID MARK BASE64
    work=$dir/$1
    mkdir "$work" && mkfifo "$work/out" "$work/err" && printf %s "$3" | base64 -d >"$work/command" || exit
    cat <"$work/out" >&4 &
    out=$!
    cat <"$work/err" >&5 &
    err=$!
    cd "$HOME" 2>/dev/null || cd /
    setsid sh "$work/command" </dev/null >"$work/out" 2>"$work/err" 3>&- 4>&- 5>&- &
    echo $! >"$work/pid"
    wait $!
    status=$?
    # What the command left running may hold its output open: it gets two seconds.
    (exec 3>&- 4>&- 5>&-; sleep 2; kill "$out" "$err" 2>/dev/null) &
    timer=$!
    wait "$out" "$err"
    kill "$timer" 2>/dev/null
    rm -rf "$work"
    printf %s "$2" >&4
    printf %s "$2" >&5
    printf 'exit %s %s\n' "$1" "$status" >&3
}

export HOME=/root USER=root LOGNAME=root TERM=dumb LC_ALL=C.UTF-8 SYSTEMD_PAGER= SYSTEMD_COLORS=0
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
umask 022
dir=$(mktemp -d /run/keelson-guest.XXXXXX) || exit
exec 3<>"$(port control)" 4>"$(port stdout)" 5>"$(port stderr)" || exit
read -r boot </proc/sys/kernel/random/boot_id
printf 'hello %s\n' "$boot" >&3
while :; do
    # An end of file means that the host is not connected (now).
    read -r verb id mark data <&3 || { sleep 1; continue; }
    case $verb in
        run) job "$id" "$mark" "$data" & ;;
        kill) read -r pid <"$dir/$id/pid" && kill -KILL -- "-$pid" ;;
    esac
done
