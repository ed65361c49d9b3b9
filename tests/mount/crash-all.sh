#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# kill -9 of supervisor and worker at random moments of a mixed write load, then a mount again: every file whose close returned is
# there with its bytes, and reaches the storage in the end. 20 rounds; 5 with --quick, 50 with --full.
# weir-test: timeout=600 asan=yes
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/remotes.sh"
rounds=20
[ -z "${WEIR_TEST_QUICK:-}" ] || rounds=5
[ -z "${WEIR_TEST_FULL:-}" ] || rounds=50
load="python3 $WEIR_SRCDIR/tests/mount/crash-load.py"
r=local
! have_remote rgw || r=rgw
conf_remotes $r
tree=$MNT/$r log=$T/load.log
LIMIT=60
bad=0 checked=0
for i in $(seq $rounds); do
	start_mount
	if [ "$i" -gt 1 ]; then
		run $load judge "$tree" "$log"
		checked=$((checked + $(sed -n 's/^\([0-9]*\) files checked.*/\1/p' <<< "$out" | head -n 1)))
		[ $rc -eq 0 ] || { bad=$((bad + 1)); fail "round $i: nothing that was closed is lost" "$out" "$err"; }
	fi
	sup=$(supervisor_pid) wrk=$(worker_pid)
	size=$(stat -c %s "$log" 2> /dev/null || echo 0)
	$load load "$tree" "$log" > "$T/load.out" 2>&1 &
	l=$!
	begun() { [ "$(stat -c %s "$log" 2> /dev/null || echo 0)" -gt "$size" ]; }
	wait_for 30 begun || fail "round $i: the load begins" "$(cat "$T/load.out")"
	sleep "$(awk -v s="$RANDOM" 'BEGIN {printf "%.3f", 0.05 + s / 32768 * 1.5}')"
	kill -9 "$sup" "$wrk"
	gone() { ! kill -0 "$sup" && ! kill -0 "$wrk"; }
	wait_for 10 gone || fail "round $i: kill -9 ends them"
	umount -l "$MNT" 2> /dev/null
	ended() { ! kill -0 $l; }
	wait_for 20 ended || { kill -9 $l; fail "round $i: a caller hangs after the kill"; }
	wait $l 2> /dev/null
done
[ $bad -gt 0 ] || pass "$r: after each of $rounds kills, all that was closed is there ($checked files looked at)"
if [ $checked -gt 50 ]; then pass "the load was a load"; else fail "the load was a load" "only $checked files" "$(cat "$T/load.out")"; fi
start_mount
check "after the last kill too" $load judge "$tree" "$log"
flushed "flush"
unmounted "umount"
works "rclone fetches all from the server" far_copy $r "" "$T/far"
check "the server has every byte" $load judge "$T/far" "$log"
done_testing
