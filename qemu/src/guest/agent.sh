# The guest's end of Keelson's command channel, run by systemd in the guest (see guest/mod.rs).
#
# Three virtio-serial ports: `control` carries one line a message, `stdout` and `stderr` what the
# running command prints, byte for byte, and after it the mark the host chose.
#
#   host:   run ID MARK COMMAND     run a command, escaped for printf's %b; one at a time
#           kill ID                 kill it and its process group
#           drop ID                 stop listening to what it left running
#   guest:  hello BOOT_ID           ready for commands; said once a start
#           exit ID STATUS          the command ended; both marks follow its last output
#
# Under emulation every fork shows, so a command costs four: this shell's, its own, and a `cat` a
# stream. (The ports themselves would do for output but for /dev/stderr, which could not be opened.)
port() {
    for entry in /sys/class/virtio-ports/*; do
        read -r name <"$entry/name" && [ "$name" = "keelson.$1" ] && echo "/dev/${entry##*/}" && return
    done
    echo "no virtio-serial port keelson.$1" >&2
    exit 1
}

fifos() {
    count=$((count + 1))
    mkfifo "$dir/out$count" "$dir/err$count"
}

job() { # ID MARK COMMAND
    printf %b "$3" >"$dir/command"
    cat <"$dir/out$count" >&4 &
    cats=$!
    cat <"$dir/err$count" >&5 &
    cats="$cats $!"
    cd "$HOME" 2>/dev/null || cd /
    setsid sh "$dir/command" </dev/null >"$dir/out$count" 2>"$dir/err$count" 3>&- 4>&- 5>&- &
    echo "$1 $! $cats" >"$dir/running"
    wait $!
    printf 'exit %s %s\n' "$1" "$?" >&3
    # Unquoted: two process ids.
    wait $cats
    printf %s "$2" >&4
    printf %s "$2" >&5
}

export HOME=/root USER=root LOGNAME=root TERM=dumb LC_ALL=C.UTF-8 SYSTEMD_PAGER= SYSTEMD_COLORS=0
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
umask 022
dir=$(mktemp -d -p /run --suffix .keelson-guest) || exit
exec 3<>"$(port control)" 4>"$(port stdout)" 5>"$(port stderr)" || exit
read -r boot </proc/sys/kernel/random/boot_id
count=0
fifos || exit
printf 'hello %s\n' "$boot" >&3
while :; do
    # An end of file means that the host is not connected (now).
    read -r verb id mark data <&3 || { sleep 1; continue; }
    case $verb in
        run) job "$id" "$mark" "$data" & ;;
        kill) read -r of pid cats <"$dir/running" && [ "$of" = "$id" ] && kill -s KILL -- "-$pid" ;;
        drop) fifos && read -r of pid cats <"$dir/running" && [ "$of" = "$id" ] && kill $cats ;;
    esac
done
