#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A tree is unpacked through the mount: it is the same in the mount, on the server as rclone fetches it, and in a fresh mount.
# weir-test: timeout=600
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/remotes.sh"
LIMIT=280
files=1000
[ -z "${WEIR_TEST_QUICK:-}" ] || files=200
[ -z "${WEIR_TEST_FULL:-}" ] || files=5000

tree=$T/tree
python3 - "$tree" $files <<'P'
import os, random, sys
top, n = sys.argv[1], int(sys.argv[2])
rnd = random.Random(7)
for i in range(n):
    d = os.path.join(top, f"d{i // 40:03d}", *(["deeper", "and deeper"][: i % 3]))
    os.makedirs(d, exist_ok=True)
    name = ["plain%d.txt", "with space %d", "ümlaut-%d.c", "plus+and&%d", "per%%cent%d", "日本%d"][i % 6 if i % 50 < 6 else 0] % i
    with open(os.path.join(d, name), "wb") as f:
        f.write(rnd.randbytes(rnd.choice([0, 1, 100, 3000, 3000, 20000, 140000 if i % 25 == 0 else 9000])))
P
tar -C "$tree" -cf "$T/tree.tar" .

for r in local rgw dav; do
	if ! have_remote $r; then
		skip "$r: tar x of $files files" "$(why_not $r)"
		continue
	fi
	conf_remotes $r
	fresh_cache
	start_mount
	mkdir "$MNT/$r/tree"
	check "$r: tar x of $files files" tar -C "$MNT/$r/tree" -xf "$T/tree.tar"
	check "$r: diff -r with the original" diff -r "$tree" "$MNT/$r/tree"
	flushed "$r: flush"
	works "$r: rclone fetches it from the server" far_copy $r tree "$T/far"
	check "$r: diff -r of what rclone fetched" diff -r "$tree" "$T/far"
	rm -rf "$T/far"
	unmounted "$r: umount"
	fresh_cache
	start_mount
	check "$r: diff -r in a fresh mount" diff -r "$tree" "$MNT/$r/tree"
	check "$r: rm -r" rm -r "$MNT/$r/tree"
	flushed "$r: flush of the removal"
	is "$r: the server has nothing left" "$(far_names $r)" ""
	unmounted "$r: umount at the end"
done
done_testing
