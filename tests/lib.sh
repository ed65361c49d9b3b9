# SPDX-License-Identifier: Apache-2.0
# What every shell test needs: TAP, time limits, a mount namespace of its own, a folder that goes away, mounts that end.
#
#   #!/bin/bash
#   . "$(dirname "$0")/../lib.sh"
#   conf_local a b                          # $CONF: two local remotes, folders $T/remote/a and $T/remote/b
#   start_mount                             # $MNT is mounted from $CONF, or the test ends as failed
#   check "a file can be made" touch "$MNT/a/x"
#   run ls "$MNT/a"; is "ls tells it" "$out" x
#   done_testing
#
# A test run by hand enters its own mount and process namespaces (root) just as scripts/test does for it; what it leaves behind
# ends with them. Nothing here waits for a fixed time: wait_for polls a condition until its limit.

set -u
: "${WEIR_SRCDIR:=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)}"
: "${WEIR_BUILDDIR:=$WEIR_SRCDIR/build}"
: "${WEIR:=$WEIR_BUILDDIR/weir}"
export WEIR WEIR_SRCDIR WEIR_BUILDDIR
export LC_ALL=C.UTF-8 TZ=UTC
unset AWS_CA_BUNDLE XDG_RUNTIME_DIR XDG_CONFIG_HOME

# Own namespaces, unless the runner made them (then we are process 1, or told so).
if [ "$(id -u)" = 0 ] && [ $$ -ne 1 ] && [ -z "${WEIR_TEST_NS:-}" ]; then
	export WEIR_TEST_NS=1
	if unshare -m -p --fork --kill-child --mount-proc --propagation private true 2> /dev/null; then
		exec unshare -m -p --fork --kill-child --mount-proc --propagation private "$0" "$@"
	fi
fi

# In a namespace of our own, weir mounts of this host are no business of a test: out of sight, for us alone.
if [ $$ -eq 1 ] && [ "$(findmnt -n -o PROPAGATION / 2> /dev/null)" = private ]; then
	findmnt -n -r -t fuse.weir -o TARGET | tac | while IFS= read -r _m; do umount -l "$(printf '%b' "$_m")" 2> /dev/null; done
fi

T=$(mktemp -d "${TMPDIR:-/tmp}/weir-t.XXXXXX") || exit 99
export HOME=$T/home
export XDG_STATE_HOME=$T/state
mkdir -p "$HOME"
CONF=$T/weir.conf
MNT=$T/mnt
LIMIT=120		# seconds for one command of run, check or refuse
_n=0 _failed=0 _mounts=() _emus=()

# --- TAP ----------------------------------------------------------------------------------------------------------------

pass() { _n=$((_n + 1)); echo "ok $_n - $1"; }
fail() {	# PROMISE [DETAIL…]
	_n=$((_n + 1)) _failed=$((_failed + 1))
	echo "not ok $_n - $1"
	shift
	[ $# -eq 0 ] || printf '%s\n' "$@" | diag
}
skip() { _n=$((_n + 1)); echo "ok $_n - $1 # SKIP $2"; }
skip_all() { echo "1..0 # SKIP $1"; exit 77; }
bail() { echo "Bail out! $1"; [ $# -lt 2 ] || printf '%s\n' "$2" | diag; exit 99; }
diag() { head -c 4000 | sed 's/^/# /'; }
done_testing() { echo "1..$_n"; [ $_failed -eq 0 ] || exit 1; exit 0; }

# --- running ------------------------------------------------------------------------------------------------------------

# run COMMAND…: under the time limit; sets rc, out, err (the last two without trailing newlines).
run() {
	local f=$T/.run.$BASHPID
	timeout -k 5 "$LIMIT" "$@" > "$f.out" 2> "$f.err" < /dev/null
	rc=$?
	out=$(tr -d '\0' < "$f.out") err=$(tr -d '\0' < "$f.err")
	rm -f "$f.out" "$f.err"
}

check() {	# PROMISE COMMAND…: it succeeds
	local what=$1
	shift
	run "$@"
	if [ $rc -eq 0 ]; then pass "$what"; else fail "$what" "status $rc of: $*" "$out" "$err"; fi
}

refuse() {	# PROMISE STATUS PATTERN COMMAND…: it ends with this status (! = any but 0) and a sentence like this (extended regular expression)
	local what=$1 status=$2 pattern=$3
	shift 3
	run "$@"
	if { [ "$status" = ! ] && [ $rc -eq 0 ]; } || { [ "$status" != ! ] && [ $rc -ne "$status" ]; }; then
		fail "$what" "status $rc, wanted $status, of: $*" "$out" "$err"
	elif ! grep -qE -- "$pattern" <<< "$err"; then
		fail "$what" "no sentence like: $pattern" "$err"
	else
		pass "$what"
	fi
}

is() { if [ "$2" = "$3" ]; then pass "$1"; else fail "$1" "got:    $2" "wanted: $3"; fi; }			# PROMISE GOT WANTED
like() { if grep -qE -- "$3" <<< "$2"; then pass "$1"; else fail "$1" "got: $2" "wanted something like: $3"; fi; }	# PROMISE GOT PATTERN
unlike() { if grep -qE -- "$3" <<< "$2"; then fail "$1" "got: $2" "wanted nothing like: $3"; else pass "$1"; fi; }

wait_for() {	# SECONDS COMMAND…: until it succeeds; 1 when the time is over
	local end=$((SECONDS + $1))
	shift
	until "$@" > /dev/null 2>&1; do
		[ $SECONDS -lt $end ] || return 1
		sleep 0.1
	done
}

# --- configurations and mounts ------------------------------------------------------------------------------------------

conf_local() {	# NAME…: $CONF with one local remote each, cache in $T/cache
	local r
	{
		printf '[weir]\ncache_dir = %s\n' "$T/cache"
		for r in "$@"; do
			mkdir -p "$T/remote/$r"
			printf '[remote %s]\ntype = local\npath = %s\n' "$r" "$T/remote/$r"
		done
	} > "$CONF"
	chmod 600 "$CONF"
}

is_mounted() { timeout 10 findmnt -n --mountpoint "$1" > /dev/null 2>&1; }

start_mount() {	# [MOUNTPOINT [CONF [OPTION…]]]: bails out when it fails
	local m=${1:-$MNT} c=${2:-$CONF}
	shift $(($# < 2 ? $# : 2))
	mkdir -p "$m"
	_mounts+=("$m")
	run "$WEIR" mount -c "$c" "$@" "$m"
	[ $rc -eq 0 ] || bail "cannot mount" "$out
$err"
	is_mounted "$m" || bail "weir mount succeeded, but nothing is mounted" "$out
$err"
}

stop_mount() {	# [MOUNTPOINT]: a clean umount with drain; its status
	run "$WEIR" umount "${1:-$MNT}"
	return $rc
}

# for_all PROGRAM: a path by which others than root can run it too, wherever this build is: a clone in /root is for root alone.
for_all() {
	setpriv --reuid=65534 --regid=65534 --clear-groups test -x "$1" && { echo "$1"; return; }
	chmod 755 "$T" && install -m 755 "$1" "$T/" && echo "$T/${1##*/}"
}

# Process ids behind a mount, from weir itself.
supervisor_pid() { json "$("$WEIR" status --json "${1:-$MNT}")" 'v["supervisor_pid"]'; }
mounts_of() { findmnt -n -r -o TARGET,SOURCE | awk -v a="$1" -v b="rshare:$1" '$2 == a || $2 == b {print $1}'; }	# CONF: where its tree is mounted
worker_pid() { json "$("$WEIR" status --json "${1:-$MNT}")" 'v["worker_pid"]'; }

# json TEXT EXPRESSION: a Python expression over the parsed value v
json() { python3 -c 'import json,sys; v=json.loads(sys.argv[1]); r=eval(sys.argv[2]); print(r if isinstance(r,str) else json.dumps(r))' "$1" "$2"; }

# --- servers of a test's own ----------------------------------------------------------------------------------------------

# start_emu PROGRAM ARGS…: an emulator for this test alone, in a folder of its own; ends with the test. Sets url; 1: it was not built.
start_emu() {
	local p=$WEIR_BUILDDIR/tests/emulators/$1
	[ -x "$p" ] || return 1
	mkdir -p "$T/emu/$1"
	"$p" --port 0 --dir "$T/emu/$1" --die-with-parent "${@:2}" > "$T/emu/$1.log" 2>&1 &
	_emus+=($!)
	wait_for 30 grep -q '^listening on ' "$T/emu/$1.log" || bail "$1 does not start" "$(cat "$T/emu/$1.log")"
	url=http://$(sed -n 's/^listening on //p' "$T/emu/$1.log")
}

# --- the end ------------------------------------------------------------------------------------------------------------

_cleanup() {
	local r=$? m
	trap - EXIT
	for m in "${_mounts[@]}"; do
		timeout 20 "$WEIR" umount --now "$m" > /dev/null 2>&1
		timeout 5 umount -l "$m" 2> /dev/null || true
	done
	! declare -F cleanup > /dev/null || cleanup
	[ ${#_emus[@]} -eq 0 ] || kill "${_emus[@]}" 2> /dev/null
	rm -rf --one-file-system "$T" 2> /dev/null
	exit $r
}
trap _cleanup EXIT
trap 'exit 130' INT TERM HUP
