#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# When a file goes out that somebody still writes: after its last close, once; after a pause; at a flush, which does not wait for the writer; and now and then
# while it grows on and on.
# weir-test: timeout=300 beside=yes asan=yes
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/remotes.sh"
conf_remotes local
start_mount
M=$MNT/local
F=$T/remote/local

sizes() {	# FILE PID: each size it has there while the process lives
	while kill -0 "$2" 2> /dev/null; do
		stat -c %s "$1" 2> /dev/null
		sleep 0.05
	done | uniq
}
slowly() { local i; for ((i = 0; i < $1; i++)); do printf '%01024d' "$i"; sleep 0.3; done; }

# bash closes a copy of the descriptor before the loop writes a byte
slowly 25 > "$M/once" &
is "a redirection's file is not there before it is closed" "$(sizes "$F/once" $!)" ""
wait $!
check "flush" "$WEIR" flush "$MNT"
is "then it is, whole" "$(sha256sum < "$F/once")" "$(slowly 25 | sha256sum)"

# dd, with a second name for its descriptor, over a file that is there
(exec 7<> "$M/once" 8>&7 8>&-; slowly 12 >&7) &
is "nor is a new version" "$(sizes "$F/once" $!)" $((25 * 1024))
wait $!
check "flush of it" "$WEIR" flush "$MNT"
is "then it is" "$(head -c $((12 * 1024)) "$F/once" | sha256sum)" "$(slowly 12 | sha256sum)"

# a writer that goes on for as long as the test does
(while :; do date +%s.%N; sleep 0.1; done > "$M/log") &
writer=$!
for ((i = 0; i < 3; i++)); do
	sleep 1
	before=$(stat -c %s "$M/log")
	LIMIT=20 check "flush ends beside a writer ($i)" "$WEIR" flush "$MNT"
	there=$(stat -c %s "$F/log" 2>&1)
	if [ "$there" -ge "$before" ] 2> /dev/null; then pass "and what was there when it began has arrived ($i)"; else fail "and what was there when it began has arrived ($i)" "$before, there: $there"; fi
done
begin=$SECONDS
first=$there
while [ "$(stat -c %s "$F/log")" = "$first" ] && [ $((SECONDS - begin)) -lt 150 ]; do sleep 0.5; done
took=$((SECONDS - begin))
if [ $took -ge 30 ] && [ $took -lt 150 ]; then pass "a log that grows on is seen elsewhere, seldom"; else fail "a log that grows on is seen elsewhere, seldom" "after $took s"; fi
kill $writer
wait $writer 2> /dev/null
cp "$M/log" "$T/log"

# opened, written, left alone
exec 9> "$M/idle"
echo "and then nothing" >&9
for ((i = 0; i < 600; i++)); do [ ! -s "$F/idle" ] || break; sleep 0.1; done
is "a pause is enough" "$(cat "$F/idle" 2>&1)" "and then nothing"
exec 9>&-
unmounted "umount"
check "the log is whole" cmp "$T/log" "$F/log"

# contents whose owner nobody knows any more are not written over
before=$(cd "$T/cache/content" && find . -type f -exec sha256sum {} + | sort)
: > "$T/cache/meta.db"
refuse "a cache whose database is empty is refused" ! "cache_dir '$T/cache' holds contents of files, unsent ones perhaps, but its meta.db is missing or empty" "$WEIR" mount -c "$CONF" "$MNT"
rm -f "$T/cache"/meta.db*
refuse "or missing" ! "its meta.db is missing or empty: put that back, or move '$T/cache/content' away" "$WEIR" mount -c "$CONF" "$MNT"
is "and nothing of it has changed" "$(cd "$T/cache/content" && find . -type f -exec sha256sum {} + | sort)" "$before"
like "there was something" "$before" '[0-9a-f]{64}'
mv "$T/cache/content" "$T/content"
start_mount
w=$(worker_pid)
mv "$T/cache" "$T/away"
kill -9 "$w"
wait_for 20 eval '! kill -0 "$w" 2> /dev/null && ! timeout 5 ls "$MNT/local" > /dev/null 2>&1'
is "a worker does not begin a new cache under a living mount" "$(timeout 5 ls "$MNT/local" > /dev/null 2>&1; [ $? -ne 0 ] && ls "$T/cache" 2>&1)" "ls: cannot access '$T/cache': No such file or directory"
done_testing
