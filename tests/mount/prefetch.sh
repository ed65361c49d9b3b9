#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# weir prefetch: files come into the cache in the order of a list, behind readers, no more of them than it holds, and can be given up; from a folder, an S3 that
# lags and resets, and a Nextcloud.
# weir-test: timeout=240 asan=yes beside=yes
. "$(dirname "$0")/../lib.sh"
[ -e /dev/fuse ] || skip_all "no /dev/fuse"
[ "$(id -u)" = 0 ] || skip_all "not root"
start_emu s3emu --access-key key --secret-key secret --bucket bucket || skip_all "s3emu was not built"
s3=$url
start_emu ncemu --user alice --password pw || skip_all "ncemu was not built"
nc=$url
mkdir -p "$T/remote/a"
conf_for() {
	printf '[weir]\ncache_dir = %s\ncache_size = %s\n' "$1" "$2"
	printf '[remote a]\ntype = local\npath = %s\n' "$T/remote/a"
	printf '[remote s]\ntype = s3\nendpoint = %s\nregion = us-east-1\nbucket = bucket\naccess_key = key\nsecret_key = secret\n' "$s3"
	printf '[remote n]\ntype = nextcloud\nurl = %s\nuser = alice\npassword = pw\n' "$nc"
}
conf_for "$T/cache" 67MB > "$CONF"
conf_for "$T/cache2" 500MB > "$T/other.conf"
chmod 600 "$CONF" "$T/other.conf"
faults() { curl -sSf -o /dev/null -X POST "$1/_emu/$2" || bail "emulator: $2"; }
gets() { curl -sS "$s3/_emu/stats" | python3 -c "import json,sys; print(json.load(sys.stdin)['methods'].get('GET', 0))"; }
mkdir -p "$T/src/set/sub"
for i in $(seq -w 1 30); do head -c 200000 /dev/urandom > "$T/src/set/f$i"; done
head -c 9000000 /dev/urandom > "$T/src/set/sub/large"
: > "$T/src/set/empty"
for r in a s n; do "$WEIR" cp -q -c "$T/other.conf" -r "$T/src/set" $r: || bail "cannot fill $r"; done
start_mount

refuse "nothing named" 2 "something is missing" "$WEIR" prefetch
refuse "what is not there" ! "no such file" "$WEIR" prefetch "$MNT/s/none"
refuse "a list of nothing there" ! "no such file" bash -c "echo nix | $WEIR prefetch --order - $MNT/s/set"
faults "$s3" "set?latency_ms=20&reset_rate=0.03"
for r in a s n; do
	check "$r: a folder" "$WEIR" prefetch "$MNT/$r/set"
	like "$r: all of it" "$out" "^32 files, 15.00 MB in the cache$"
done
faults "$s3" reset
# nothing is left to ask for
for r in s n; do
	faults "$s3" "set?stall_all=1"; faults "$nc" "set?stall_all=1"
	check "$r: is read without the storage" timeout 20 diff -r "$MNT/$r/set" "$T/src/set"
	faults "$s3" reset; faults "$nc" reset
done
stop_mount || fail umount

# order, one after the other through a thin wire
rm -rf "$T/cache"
start_mount
(cd "$T/src/set" && ls f* | sort -R --random-source=<(yes)) > "$T/list"
faults "$s3" reset
check "a list" "$WEIR" prefetch --order "$T/list" "$MNT/s/set"
like "that many files" "$out" "^30 files, 6.00 MB in the cache$"
curl -sS "$s3/_emu/log" | grep -o 'GET /bucket/set/f[0-9]*' | sed 's|.*/||' > "$T/asked"
# sixteen are under way at once: none is asked for that is more than that ahead of its turn
is "is asked for in its order" "$(python3 - "$T/list" "$T/asked" << 'P'
import sys
order, asked = [open(p).read().split() for p in sys.argv[1:]]
print(sorted(asked) == sorted(order), all(abs(order.index(f) - i) <= 16 for i, f in enumerate(asked)))
P
)" "True True"
check "again costs nothing" "$WEIR" prefetch --order "$T/list" "$MNT/s/set"
is "no request" "$(curl -sS "$s3/_emu/log" | grep -c 'GET /bucket/set/f')" 30
check "by a path of the namespace, from standard input" bash -c "head -n 3 $T/list | $WEIR prefetch -c $CONF --order - /s/set"

# more than the cache holds
mkdir "$T/remote/a/much"; for i in 1 2 3 4 5 6 7 8 9 10 11 12; do head -c 8000000 /dev/urandom > "$T/remote/a/much/m$i"; done
wait_for 60 test -d "$MNT/a/much" || fail "what others made shows"
refuse "more than the cache holds" 1 "the cache holds no more: [678] files, .* MB are there, what follows is not" "$WEIR" prefetch "$MNT/a/much"
check "its first files stay" timeout 20 cmp "$MNT/a/much/m1" "$T/remote/a/much/m1"

# readers go first, and it can be given up
faults "$s3" "set?bandwidth=300000"
"$WEIR" prefetch "$MNT/s/set/sub" > "$T/p.out" 2>&1 & pid=$!
wait_for 20 bash -c "curl -sS $s3/_emu/log | grep -q sub/large" || fail "it does not begin"
check "a reader beside it" timeout 20 cmp "$MNT/n/set/f01" "$T/src/set/f01"
kill $pid; wait $pid; rc=$?
if [ $rc -ne 0 ]; then pass "a signal gives up"; else fail "a signal gives up" "$(cat "$T/p.out")"; fi
quiet() { [ "$(json "$("$WEIR" status --json "$MNT")" 'v["pending_ops"]')" = 0 ]; }
if wait_for 20 quiet; then pass "and nothing waits any more"; else fail "something still waits"; fi
faults "$s3" reset
check "later all of it" "$WEIR" prefetch "$MNT/s/set/sub"
check "is right" cmp "$MNT/s/set/sub/large" "$T/src/set/sub/large"
done_testing
