#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# SQLite's own command line on a mount, with a rollback journal and with a write-ahead log (shared memory through mmap).
# weir-test: timeout=300 asan=yes
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/remotes.sh"
LIMIT=120
command -v sqlite3 > /dev/null || skip_all "sqlite3 is missing"
rows=200
[ -z "${WEIR_TEST_QUICK:-}" ] || rows=50

inserts() {	# JOURNAL: one transaction each
	echo "PRAGMA busy_timeout=10000; PRAGMA journal_mode=$1; CREATE TABLE IF NOT EXISTS t(i INTEGER PRIMARY KEY, s TEXT);"
	for i in $(seq $rows); do echo "INSERT INTO t(s) VALUES('row $i ' || hex(randomblob(200)));"; done
}

for r in local rgw dav; do
	if ! have_remote $r; then
		skip "$r: SQLite" "$(why_not $r)"
		continue
	fi
	conf_remotes $r
	fresh_cache
	start_mount
	for mode in DELETE WAL; do
		db=$MNT/$r/$mode.db
		inserts $mode > "$T/sql"
		check "$r: $rows inserts, journal_mode=$mode" sqlite3 -bail "$db" ".read $T/sql"
		run sqlite3 "$db" 'PRAGMA journal_mode; SELECT count(*) FROM t;'
		is "$r: all there, in that mode ($mode)" "$out" "$(tr A-Z a-z <<< $mode)
$rows"
		sqlite3 -bail "$db" ".read $T/sql" > /dev/null 2> "$T/err1" &
		one=$!
		sqlite3 -bail "$db" ".read $T/sql" > /dev/null 2> "$T/err2"
		two=$?
		wait $one
		is "$r: two writers at once ($mode)" "$? $two $(cat "$T/err1" "$T/err2")" "0 0 "
		run sqlite3 "$db" 'PRAGMA integrity_check; SELECT count(*) FROM t;'
		is "$r: integrity and count ($mode)" "$out" "ok
$((rows * 3))"
		run sqlite3 "$db" .dump
		printf '%s\n' "$out" > "$T/dump.$mode"
	done
	unmounted "$r: umount"
	fresh_cache
	start_mount
	for mode in DELETE WAL; do
		run sqlite3 "$MNT/$r/$mode.db" 'PRAGMA integrity_check;'
		is "$r: what the server has is whole ($mode)" "$out" ok
		run sqlite3 "$MNT/$r/$mode.db" .dump
		is "$r: and the same ($mode)" "$(md5sum <<< "$out")" "$(md5sum < "$T/dump.$mode")"
	done
	unmounted "$r: umount at the end"
done
done_testing
