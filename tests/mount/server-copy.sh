#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# cp inside one remote: the storage makes the copy, no byte of it travels through this host. What weir itself counts (status --json) is the witness,
# and rclone sees whether the copy is right.
# weir-test: timeout=300 asan=yes
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/remotes.sh"

moved() { json "$("$WEIR" status --json "$MNT")" "[r['bytes_in'] + r['bytes_out'] for r in v['remotes'] if r['name'] == '$1'][0]"; }
sizes=$((48 << 20))

one_remote() {	# NAME
	local r=$1 D=$MNT/$1 before after want
	head -c $sizes /dev/urandom > "$T/data"
	rc_far copyto "$T/data" "$(far "$r" src.bin)" || bail "no file on $r"
	want=$(sha256sum < "$T/data" | cut -d ' ' -f 1)
	start_mount
	ls "$D" > /dev/null
	before=$(moved "$r")
	check "$r: cp" cp --reflink=auto "$D/src.bin" "$D/copy.bin"
	is "$r: it has its size at once" "$(stat -c %s "$D/copy.bin")" $sizes
	flushed "$r: flush"
	after=$(moved "$r")
	if [ $((after - before)) -lt 2000000 ]; then pass "$r: the bytes did not travel"; else fail "$r: the bytes did not travel" "$((after - before)) bytes did"; fi
	is "$r: the far side has the copy" "$(far_sum "$r" copy.bin)" "$want"
	is "$r: it reads the same through the mount" "$(sha256sum < "$D/copy.bin" | cut -d ' ' -f 1)" "$want"
	# The copy is a file like any other.
	printf tail >> "$D/copy.bin"
	flushed "$r: appended to the copy"
	is "$r: the far side has the longer one" "$(far_sum "$r" copy.bin)" "$( (cat "$T/data"; printf tail) | sha256sum | cut -d ' ' -f 1)"
	is "$r: the original is as it was" "$(far_sum "$r" src.bin)" "$want"
	# An unsent change is part of the copy.
	printf x | dd of="$D/src.bin" bs=1 seek=5 conv=notrunc status=none
	check "$r: cp of a changed file" cp --reflink=auto "$D/src.bin" "$D/second.bin"
	check "$r: is what cp saw" cmp "$D/src.bin" "$D/second.bin"
	# Onto what is there: replaced as cp does.
	check "$r: cp over the copy" cp --reflink=auto "$D/src.bin" "$D/copy.bin"
	flushed "$r: flush of all"
	is "$r: far side, replaced" "$(far_sum "$r" copy.bin)" "$(sha256sum < "$D/src.bin" | cut -d ' ' -f 1)"
	is "$r: no conflict" "$(find "$D" -name '*conflict*' | wc -l)" 0
	# Somebody else was faster under that name: nobody's version goes.
	rc_far copyto "$T/data" "$(far "$r" taken.bin)"
	cp --reflink=auto "$D/second.bin" "$D/taken.bin" 2> /dev/null
	"$WEIR" flush "$MNT" > /dev/null 2>&1
	wait_for 20 test "$(far_names "$r" | grep -c taken)" -ge 1
	is "$r: what somebody else put there is still there" "$(far_names "$r" | grep taken | while read -r f; do far_sum "$r" "$f"; done | grep -c "$want")" 1
	unmounted "$r: umount"
	fresh_cache
	start_mount
	check "$r: after a fresh start" cmp "$D/src.bin" "$D/second.bin"
	unmounted "$r: umount again"
	fresh_cache
}

did=0
for r in rgw dav ncemu; do
	if ! have_remote $r; then
		skip "$r" "$(why_not $r)"
		continue
	fi
	conf_remotes $r
	one_remote $r
	did=1
done
[ $did = 1 ] || skip_all "no storage that copies"
done_testing
