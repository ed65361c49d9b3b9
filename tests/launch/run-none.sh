#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# weir run with engine none: /storage, exit status, signals, time limit, data sent, data kept.
# weir-test: timeout=180 asan=yes
. "$(dirname "$0")/../lib.sh"
[ -e /dev/fuse ] || skip_all "no /dev/fuse"
[ "$(id -u)" = 0 ] || skip_all "not root"
unset WEIR_PODMAN WEIR_PODMAN_ARGS
conf_local a b
R=$T/remote
export XDG_RUNTIME_DIR=$T/run
mkdir "$XDG_RUNTIME_DIR"
echo seed > "$R/a/seed"
job() { run "$WEIR" run -c "$CONF" "$@"; }
nothing_left() {	# PROMISE: no mount, no folder of one, nobody who serves
	local left
	left=$(ls "$XDG_RUNTIME_DIR"; mounts_of "$CONF"; "$WEIR" status -c "$CONF" 2> /dev/null)
	is "$1" "$left" ""
}

# --- a mount of its own ------------------------------------------------------------------------------------------------
job -- cat /storage/a/seed
is "the job reads from /storage" "$out" seed
is "its status is 0" "$rc" 0
nothing_left "and nothing is left of its mount"
job -- sh -c 'head -c 2000000 /dev/urandom > /storage/b/model; cksum < /storage/b/model; mkdir /storage/b/d; echo x > /storage/b/d/x'
is "what it wrote is on the storage when it has ended" "$(cksum < "$R/b/model") $(cat "$R/b/d/x")" "$out x"
for n in 0 1 7 125 126 255; do
	job -- sh -c "exit $n"
	is "exit status $n is kept" "$rc" $n
done
job -- sh -c 'kill -TERM $$'
is "ended by a signal: 128+N" "$rc" 143
job -- "$T/no-such-command"
is "no such command: 127" "$rc" 127
like "and a sentence" "$err" "^weir: '$T/no-such-command': No such file"
job -- "$T"
is "not to be executed: 126" "$rc" 126
run bash -c "printf 'a b' | '$WEIR' run -c '$CONF' -- cat"
is "standard input is passed on" "$out" "a b"
job --workdir /storage/a -- sh -c 'pwd; cat seed'
is "--workdir" "$out" "/storage/a
seed"
job --workdir /storage/none -- true
is "a --workdir that is not there" "$rc" 242
printf '# comment\nFROM_FILE=file\nBOTH=file\n' > "$T/env"
FROM_HERE=here job --env-file "$T/env" --env BOTH=option --env FROM_HERE --env NOT_SET_ANYWHERE -- sh -c 'echo $FROM_FILE $BOTH $FROM_HERE ${NOT_SET_ANYWHERE-unset}'
is "--env and --env-file" "$out" "file option here unset"
AWS_SECRET_ACCESS_KEY=hush job -- env
unlike "secrets of storages are not in the job's environment" "$out" "hush|AWS_SECRET"
job --storage /a -- ls /storage
is "--storage shows a part" "$out" seed
job --storage /a:ro -- sh -c 'cat /storage/seed; echo no > /storage/new'
like "--storage PATH:ro cannot be written" "$out$err" "seed.*[Rr]ead-only|[Rr]ead-only"
if [ -e "$R/a/new" ]; then fail "indeed"; else pass "indeed"; fi
job --storage /nowhere -- true
is "a --storage that is not there" "$rc" 241
like "and a sentence" "$err" "^weir: --storage '/nowhere': No such file"
nothing_left "nothing is left after it"
job --json -- sh -c 'exit 3'
is "--json: the report is the last line on standard error" "$(json "$(tail -n 1 <<< "$err")" '[v["status"],v["job_status"],v["started"],v["unsent"]]')" "[3, 3, true, false]"
is "standard output stays the job's" "$out" ""

# --- signals -----------------------------------------------------------------------------------------------------------
for s in INT TERM HUP USR1 USR2 QUIT; do
	# the shell has its background processes ignore INT and QUIT
	env --default-signal "$WEIR" run -q -c "$CONF" -- python3 -c "
import os, signal, sys
def got(n, f): sys.exit(40 + (n == signal.SIG$s))
for n in (1, 2, 3, 10, 12, 15): signal.signal(n, got)
open('$T/ready-$s', 'w').close()
while True: signal.pause()" &
	pid=$!
	wait_for 20 test -e "$T/ready-$s" || fail "the job for SIG$s starts"
	kill -$s $pid
	wait $pid
	is "SIG$s is passed on, and the job's answer kept" $? 41
done
env --default-signal "$WEIR" run -q -c "$CONF" -- sh -c "touch $T/ready; exec sleep 1000" &
pid=$!
wait_for 20 test -e "$T/ready"
kill -INT $pid
wait $pid
is "a job that a passed signal ends: 128+N" $? 130
nothing_left "nothing is left after signals"

# --- time --------------------------------------------------------------------------------------------------------------
begin=$SECONDS
job --time 1s -- sh -c 'echo before > /storage/a/before; exec sleep 1000'
is "a time limit has its own status" "$rc" 245
like "and a sentence" "$err" "^weir: the job was ended after its time limit of 1s"
if [ $((SECONDS - begin)) -lt 9 ]; then pass "TERM is enough for a job that takes it"; else fail "TERM is enough for a job that takes it"; fi
is "what it wrote until then is sent" "$(cat "$R/a/before")" before
job --time 1s -- sh -c 'trap "" TERM; while :; do sleep 0.2; done'
is "a job that ignores TERM is killed" "$rc" 245

# --- what it leaves running --------------------------------------------------------------------------------------------
job -- sh -c "(while :; do sleep 0.1; done) & (setsid sleep 1000 &) ; echo \$! > $T/orphan; exit 5"
is "a job ends with its command" "$rc" 5
if kill -0 "$(cat "$T/orphan")" 2> /dev/null; then fail "what it left running has ended"; else pass "what it left running has ended"; fi
if pgrep -x sleep -a | grep -q 'sleep 1000'; then fail "in its own session too"; else pass "in its own session too"; fi

# --- a mount that is there already -------------------------------------------------------------------------------------
start_mount
echo fresh > "$R/a/fresh"
job -- cat /storage/a/fresh
is "a running mount is used, and looked at afresh" "$out" fresh
is "no other one is made" "$(ls "$XDG_RUNTIME_DIR")" ""
job -- sh -c 'echo y > /storage/b/y'
is "what the job wrote is sent" "$(cat "$R/b/y")" y
if is_mounted "$MNT"; then pass "the mount stays"; else fail "the mount stays"; fi
stop_mount

# --- jobs side by side share a mount, the last takes it away -----------------------------------------------------------
"$WEIR" run -q -c "$CONF" -- sh -c "touch $T/first; while [ ! -e $T/go ]; do sleep 0.1; done; echo one > /storage/a/one" &
first=$!
wait_for 20 test -e "$T/first"
job -- sh -c 'echo two > /storage/a/two'
is "a second job beside it" "$rc" 0
is "they share one mount" "$(mounts_of "$CONF" | wc -l)" 1
touch "$T/go"
wait $first
is "the first goes on unharmed" $? 0
is "both have written" "$(cat "$R/a/one" "$R/a/two" | tr '\n' ' ')" "one two "
nothing_left "the last one took the mount away"
pids=()
for i in 1 2 3 4 5 6; do
	"$WEIR" run -q -c "$CONF" -- sh -c "echo $i > /storage/b/together-$i" 2>> "$T/together.err" &
	pids+=($!)
done
rcs=
for pid in "${pids[@]}"; do wait "$pid"; rcs="$rcs $?"; done
is "six that begin together, with no mount there yet" "$rcs $(cat "$T/together.err")" " 0 0 0 0 0 0 "
is "all have written" "$(cat "$R"/b/together-* | tr '\n' ' ')" "1 2 3 4 5 6 "
nothing_left "and the last of them takes the mount away"

# --- a weir run that was killed ----------------------------------------------------------------------------------------
"$WEIR" run -q -c "$CONF" -- sh -c "echo orphaned > /storage/a/orphaned; touch $T/killme; exec sleep 1000" &
pid=$!
wait_for 20 test -e "$T/killme"
kill -KILL $pid
wait $pid 2> /dev/null
job -- cat /storage/a/orphaned
is "its mount serves the next job" "$out" orphaned
nothing_left "which takes it away"
is "what the killed one wrote is sent" "$(cat "$R/a/orphaned")" orphaned

# --- storage that refuses, storage that takes nothing ------------------------------------------------------------------
cp "$CONF" "$T/good.conf"
printf '[remote away]\ntype = webdav\nurl = http://127.0.0.1:1/\ntimeout = 5\n' >> "$CONF"
job -- touch "$T/started"
is "a remote that does not answer ends a job before its start" "$rc" 241
like "and says which, and why" "$err" "^weir: remote 'away': .*"
if [ -e "$T/started" ]; then fail "the job was not started"; else pass "the job was not started"; fi
cp "$T/good.conf" "$CONF"
mkdir "$T/small"
if mount -t tmpfs -o size=256k none "$T/small"; then
	printf '[remote small]\ntype = local\npath = %s\n' "$T/small" >> "$CONF"
	job -- sh -c 'head -c 600000 /dev/urandom > /storage/small/large; cksum < /storage/small/large'
	is "what cannot be sent makes a failed job" "$rc" 244
	like "the reason is told" "$err" "[Nn]o space left"
	like "and where the data is kept" "$err" "the job ended with status 0, but not all that it wrote could be sent.* kept in '$T/cache', and 'weir mount -c $CONF MOUNTPOINT' sends it"
	sum=$out
	mount -o remount,size=10M "$T/small"
	nothing_left "nothing is left mounted"
	job -- true
	is "the next job sends it" "$(cksum < "$T/small/large")" "$sum"
else
	skip "a storage that is full" "no tmpfs here"
fi

# --- not root ----------------------------------------------------------------------------------------------------------
u="setpriv --reuid=65534 --regid=65534 --clear-groups env HOME=$T/nobody XDG_RUNTIME_DIR=$T/nobody/run XDG_STATE_HOME="
mkdir "$T/nobody" "$T/nobody/run" "$T/nobody/r"
printf '[remote r]\ntype = local\npath = %s/nobody/r\n' "$T" > "$T/nobody/w.conf"
echo mine > "$T/nobody/r/mine"
chmod 755 "$T" "$HOME"
chown -R 65534:65534 "$T/nobody"
WEIR=$(for_all "$WEIR")
if [ "$(stat -c %a /dev/fuse)" != 666 ] && mknod -m 666 "$T/fuse" c 10 229 2> /dev/null; then mount --bind "$T/fuse" /dev/fuse; fi
if ! $u true 2> /dev/null || [ ! -u "$(command -v fusermount3)" ] || [ "$(stat -c %a /dev/fuse)" != 666 ] || ! $u test -x "$WEIR"; then
	skip "a job of somebody who is not root" "no setuid fusermount3, or /dev/fuse and the program are not for all"
elif ! $u unshare -Um true 2> /dev/null; then
	refuse "without user namespaces a job of somebody who is not root is refused" 242 "user namespace" $u "$WEIR" run -q -c "$T/nobody/w.conf" -- true
else
	check "a job of somebody who is not root" $u "$WEIR" run -q -c "$T/nobody/w.conf" -- sh -c 'cat /storage/r/mine; id -u; exit 0'
	is "sees its storage and is itself" "$out" "mine
65534"
	is "nothing is left of its mount" "$(ls "$T/nobody/run"; mounts_of "$T/nobody/w.conf")" ""
fi

# --- no storage --------------------------------------------------------------------------------------------------------
run "$WEIR" run -- echo hi
is "without a configuration the job runs" "$out" hi
like "and weir says so" "$err" "^weir: no configuration: the job runs without storage"
done_testing
