#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# One remote stalls without end: the other goes on unhindered, nobody sleeps in D state, kill ends every waiter, and it comes back.
# weir-test: timeout=240 beside=yes
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/remotes.sh"
have_remote rgw || skip_all "$(why_not rgw)"
proxy=$WEIR_BUILDDIR/tests/servers/delayproxy
[ -x "$proxy" ] || skip_all "no delayproxy in this build"

"$proxy" 0 "${WEIR_TEST_RGW##*:}" 0 > "$T/proxy.out" 2>&1 &
PROXY=$!
cleanup_more() { kill $PROXY 2> /dev/null; }
wait_for 10 grep -q '[0-9]' "$T/proxy.out" || bail "delayproxy says nothing"
port=$(grep -oE '[0-9]+$' "$T/proxy.out" | head -n 1)

conf_remotes rgw local
python3 - "$CONF" "$port" <<'P'
import re, sys
p, port = sys.argv[1:]
s = open(p).read()
s = re.sub(r"(\[remote rgw\][^\[]*?endpoint = http://127\.0\.0\.1:)\d+", r"\g<1>" + port, s)
s = s.replace("[remote rgw]\n", "[remote rgw]\ntimeout = 20\n")
open(p, "w").write(s)
P
head -c 4000000 /dev/urandom > "$T/big"
for i in 1 2 3 4 5 6 7 8; do far_put rgw "in/f$i" "$T/big"; done
head -c 2000000 /dev/urandom > "$T/remote/local/near"
for i in $(seq 50); do echo $i > "$T/remote/local/n$i"; done
start_mount
run ls "$MNT/rgw/in"
is "both remotes answer before" "$(wc -w <<< "$out")" 8
check "one file of it is in the cache" cmp "$T/big" "$MNT/rgw/in/f1"

kill -USR1 $PROXY	# not a byte more, in either direction
for i in 2 3 4 5 6 7 8; do cat "$MNT/rgw/in/f$i" > /dev/null 2>&1 & done
for i in 1 2 3 4; do ls "$MNT/rgw/unknown$i" > /dev/null 2>&1 & done
waiters=$(jobs -p | grep -vx $PROXY)
sleep 1

quick() {	# PROMISE COMMAND…: within 3 s
	local what=$1 begin=${EPOCHREALTIME/./}
	shift
	run timeout 10 "$@"
	local took=$(((${EPOCHREALTIME/./} - begin) / 1000))
	if [ $rc -eq 0 ] && [ $took -lt 3000 ]; then pass "$what"; else fail "$what" "status $rc after $took ms" "$err"; fi
}
quick "the other remote: an uncached read" cmp "$T/remote/local/near" "$MNT/local/near"
quick "a listing" ls -l "$MNT/local"
quick "df" df "$MNT/local"
quick "df of the dead one" df "$MNT/rgw"
quick "a write and its flush" bash -c "echo new > $MNT/local/new && $WEIR flush $MNT/local"
quick "many small reads" bash -c "cat $MNT/local/n*"
quick "cached data of the dead remote" cmp "$T/big" "$MNT/rgw/in/f1"
quick "a write to the dead remote is accepted" bash -c "echo later > $MNT/rgw/later"
quick "status" "$WEIR" status "$MNT"

# While they wait, the kernel shows readers of the page cache as D, because only a fatal signal ends that wait (TASK_KILLABLE); none may be left after it.
kill -9 $waiters 2> /dev/null
ended() { local w; for w in $waiters; do ! kill -0 "$w" 2> /dev/null || [ "$(ps -o stat= -p "$w" | cut -c 1)" = Z ] || return 1; done; }
if wait_for 5 ended; then pass "kill ends every waiter"; else fail "kill ends every waiter" "$(ps -o pid,stat,wchan:30,args -p "$(tr '\n' ',' <<< "$waiters" | sed 's/,$//')")"; fi
wait $waiters 2> /dev/null
no_stuck "no process is left in D state"

# A reader that is not killed gets an error in the end, not silence.
begin=$SECONDS
run timeout 60 cat "$MNT/rgw/in/f2"
if [ $rc -ne 0 ] && [ $rc -ne 124 ]; then pass "a reader gets an error after the timeout ($((SECONDS - begin)) s)"; else fail "a reader gets an error after the timeout" "status $rc after $((SECONDS - begin)) s"; fi

kill -USR2 $PROXY	# the wire again
back() { timeout 20 cmp "$T/big" "$MNT/rgw/in/f3"; }
if wait_for 60 back; then pass "the remote comes back by itself"; else fail "the remote comes back by itself" "$("$WEIR" status "$MNT" 2>&1)"; fi
flushed "what was written meanwhile is sent"
is "and arrived" "$(rc_far cat "$(far rgw later)")" later
unmounted "umount"
done_testing
