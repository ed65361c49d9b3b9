#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The mount under a running job is taken away and made anew: the job sees the new one, the same part of it, and no more rights than before.
# weir-test: timeout=240 slow=yes net=own
. "$(dirname "$0")/../lib.sh"
[ -e /dev/fuse ] || skip_all "no /dev/fuse"
[ "$(id -u)" = 0 ] || skip_all "not root"
. "$(dirname "$0")/podman.inc"
LIMIT=120
conf_local a b
R=$T/remote
export XDG_RUNTIME_DIR=$T/run
mkdir "$XDG_RUNTIME_DIR"

mkdir -p "$T/image/bin" "$T/image/tmp" "$T/image/etc"
podman_store
cp "$busybox" "$T/image/bin/busybox"
for a in sh cat ls echo sleep touch true mount; do ln -s busybox "$T/image/bin/$a"; done
podman_image "$T/image" weir-test-image
podman_settle weir-test-image

# The job writes what it sees of the file "now" into its log until that says "end"; it never opens the mount for long.
JOB='touch /storage/a/up; while :; do w=$(cat /storage/a/now 2> /dev/null) && echo "sees $w"; [ "$w" = end ] && break; sleep 0.1; done; echo bye > /storage/b/bye'
take_away() {	# as a crash of all of it leaves it, and a person who cleans up
	local worker supervisor
	worker=$(worker_pid) supervisor=$(supervisor_pid)
	kill -KILL "$supervisor" "$worker" 2> /dev/null
	wait_for 10 gone "$supervisor" "$worker"
	umount -l "$MNT"
}
gone() { ! kill -0 "$1" 2> /dev/null && ! kill -0 "$2" 2> /dev/null; }
remounted() {	# WHAT [OPTION…]: a job of these options lives through a remount
	local what=$1 pid
	shift
	rm -f "$R/a/up" "$R/b/bye"
	echo one > "$R/a/now"
	start_mount
	"$WEIR" run -q -c "$CONF" "$@" -- sh -c "$JOB" > "$T/log" 2> "$T/err" &
	pid=$!
	wait_for 60 grep -q "sees one" "$T/log" || { fail "$what: the job starts" "$(cat "$T/err")"; kill "$pid"; return; }
	take_away
	echo two > "$R/a/now"
	start_mount
	wait_for 30 grep -q "was made anew" "$T/err"
	if wait_for 30 grep -q "sees two" "$T/log"; then pass "$what: the job sees the new mount"; else fail "$what: the job sees the new mount" "$(tail -n 3 "$T/log")" "$(cat "$T/err")"; fi
	echo end > "$MNT/a/now"
	wait "$pid"
	is "$what: and ends well" $? 0
	is "$what: what it wrote afterwards is on the storage" "$(cat "$R/b/bye")" bye
	stop_mount
}
remounted none
remounted podman --image weir-test-image

# --- a part, read-only ---
JOB='while :; do w=$(cat /storage/now 2> /dev/null) && echo "sees $w"; [ "$w" = end ] && break; sleep 0.1; done; ls /storage; touch /storage/new'
readonly_part() {	# WHAT [OPTION…]
	local what=$1 pid
	shift
	echo one > "$R/a/now"
	start_mount
	"$WEIR" run -q -c "$CONF" --storage /a:ro "$@" -- sh -c "$JOB" > "$T/log" 2> "$T/err" &
	pid=$!
	wait_for 60 grep -q "sees one" "$T/log"
	take_away
	start_mount
	wait_for 30 grep -q "was made anew" "$T/err"
	echo end > "$MNT/a/now"
	wait "$pid"
	is "$what: read-only stays read-only" "$(grep -c -i 'read-only' "$T/err") $(ls "$R/a/new" 2> /dev/null)" "1 "
	like "$what: and the part the part" "$(tail -n 2 "$T/log")" "^now|^up"
	stop_mount
}
readonly_part none
readonly_part podman --image weir-test-image
done_testing
