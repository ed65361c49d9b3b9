#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The server renames a folder and its answer is lost: the rename stands, here and there, also when weir dies before it could ask again.
# weir-test: timeout=120 asan=yes beside=yes
. "$(dirname "$0")/../lib.sh"
emu=$WEIR_BUILDDIR/tests/emulators/ncemu
[ -x "$emu" ] || skip_all "no ncemu in this build"
"$emu" --port 0 --dir "$T/data" --user u --password p > "$T/emu.out" 2>&1 &
EMU=$!
cleanup() { kill $EMU 2> /dev/null; }
wait_for 10 grep -q listening "$T/emu.out" || bail "ncemu says nothing" "$(cat "$T/emu.out")"
url=http://$(grep -o '127.0.0.1:[0-9]*' "$T/emu.out" | head -n 1)
set_emu() { curl -sSf -o /dev/null -X POST "$url/_emu/$1" || bail "emulator: $1"; }
far() { curl -sS -u u:p -X PROPFIND -H 'Depth: 1' "$url/remote.php/dav/files/u/$1" | grep -o '<d:href>[^<]*' | sed "s|.*files/u/$1||; s|^/||" | grep . | sort | tr '\n' ' '; }
printf '[weir]\ncache_dir = %s\n[remote nc]\ntype = nextcloud\nurl = %s\nuser = u\npassword = p\n' "$T/cache" "$url" > "$CONF"
chmod 600 "$CONF"
start_mount
D=$MNT/nc

for how in reset answer; do
	mkdir "$D/a-$how"
	for i in 1 2 3; do echo "$how $i" > "$D/a-$how/f$i"; done
	check "$how: a folder with files is there" "$WEIR" flush "$MNT"
	set_emu reset
	if [ $how = reset ]; then set_emu "set?after_success_next=1&after_success_reset=1&fault_method=MOVE"; else set_emu "set?after_success_next=1&fault_method=MOVE"; fi
	mv "$D/a-$how" "$D/b-$how"
	check "$how: flush" "$WEIR" flush "$MNT"
	like "$how: the answer was lost once" "$(curl -sS "$url/_emu/stats" | tr -d ' \n')" '"lost":1'
	is "$how: the server has it under its new name" "$(far "b-$how")" "f1 f2 f3 "
	is "$how: so have we" "$(cat "$D/b-$how"/f* | tr '\n' ' ')" "$how 1 $how 2 $how 3 "
	is "$how: and nothing under the old one" "$(ls -d "$D/a-$how" 2> /dev/null)" ""
done

# Killed before anybody could find out.
mkdir "$D/c" && echo kept > "$D/c/f" && "$WEIR" flush "$MNT" || bail "no folder c"
set_emu reset
set_emu "set?after_success_next=100&after_success_reset=1&fault_method=MOVE"
mv "$D/c" "$D/d"
wait_for 20 test "$(far '' | grep -c ' d')" = 1 || wait_for 20 sh -c "curl -sS '$url/_emu/stats' | tr -d ' \n' | grep -q '\"lost\":[1-9]'"
s=$(supervisor_pid) w=$(worker_pid)
kill -9 "$s" "$w"
umount -l "$MNT"
set_emu reset
start_mount
check "killed: flush after the next mount" "$WEIR" flush "$MNT"
is "killed: the server has the new name" "$(far d)" "f "
is "killed: the file is in it" "$(cat "$D/d/f")" kept
is "killed: the old name is gone" "$(ls -d "$D/c" 2> /dev/null)" ""
unlike "nothing was undone" "$("$WEIR" status --json "$MNT")" '"undone"'
check "umount" "$WEIR" umount "$MNT"
done_testing
