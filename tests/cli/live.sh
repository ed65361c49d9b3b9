#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# weir check --live: the contract list on a person's own account, with a report.
# weir-test: timeout=300
. "$(dirname "$0")/../lib.sh"
conf_local a
sed -i 's|^path = .*|&\nquota = 1GB|' "$CONF"
cd "$T" || exit 99

refuse "a remote that is not there" 2 "has no remote 'nosuch'" "$WEIR" check -c "$CONF" --live nosuch
LIMIT=200 run "$WEIR" check -c "$CONF" --live a
is "every promise is kept by a folder" "$rc" 0
[ "$rc" = 0 ] || printf '%s\n%s\n' "$out" "$err" | diag
like "it says how many" "$out" '[1-9][0-9]* kept, 0 not kept, [0-9]+ left out; report: weir-live-a.txt'
like "the report names program and storage" "$(head -n 1 weir-live-a.txt)" "^# weir .*, remote 'a' of type local"
is "only its owner reads it" "$(stat -c %a weir-live-a.txt)" 600
is "one line a promise" "$(grep -c '^ok ' weir-live-a.txt)" "$(sed -n 's/^1\.\.//p' weir-live-a.txt)"
is "nothing is left there" "$(ls -A "$T/remote/a")" ""

if [ -n "${WEIR_TEST_NCEMU:-}" ]; then
	printf '[remote nc]\ntype = nextcloud\nurl = %s\nuser = %s\npassword = %s\n' "$WEIR_TEST_NCEMU" "$WEIR_TEST_NCEMU_USER" "$WEIR_TEST_NCEMU_PASSWORD" >> "$CONF"
	LIMIT=280 run "$WEIR" check -c "$CONF" --live nc --report "$T/nc.txt"
	is "a server with a password" "$rc" 0
	is "its password is not in the report" "$(grep -cF -- "$WEIR_TEST_NCEMU_PASSWORD" "$T/nc.txt")" 0
else
	skip "a server with a password" "no ncemu here"
fi

# A folder that cannot be written keeps less than it should, and that is said.
mkdir -p "$T/ro" && printf '[remote full]\ntype = local\npath = %s\n' "$T/ro" >> "$CONF"
if mount -t tmpfs -o size=64k,nr_inodes=20 none "$T/ro" 2> /dev/null; then
	LIMIT=200 run "$WEIR" check -c "$CONF" --live full --report "$T/full.txt"
	is "promises not kept make a failure" "$rc" 1
	like "and are named" "$out" '^NOT KEPT'
	umount "$T/ro"
else
	skip "promises not kept make a failure" "no tmpfs can be mounted here"
fi

"$WEIR" check -c "$CONF" --live a --report "$T/int.txt" > "$T/int.out" 2>&1 &
pid=$!
wait_for 20 grep -q '^kept' "$T/int.out"
kill -INT $pid
wait $pid
is "interrupted: a failure" $? 1
is "interrupted: cleaned up all the same" "$(ls -A "$T/remote/a")" ""
done_testing
