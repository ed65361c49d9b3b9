#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Bad bytes in the cache are never served: a page that the server still has is fetched again, one that nobody else has is an error.
# weir-test: timeout=180 asan=yes
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/remotes.sh"

flip() {	# flips one bit in the middle of every cached content file of at least a page; says how many
	python3 - "$T/cache/content" <<'P'
import os, sys
n = 0
for base, _, names in os.walk(sys.argv[1]):
    for name in names:
        p = os.path.join(base, name)
        size = os.path.getsize(p)
        if size < 1000:
            continue
        with open(p, "r+b") as f:
            f.seek(size // 2)
            b = f.read(1)
            f.seek(size // 2)
            f.write(bytes([b[0] ^ 1]))
        n += 1
print(n)
P
}

one_local() {
	conf_remotes local
}
one_local
mkdir -p "$T/remote/local"
for i in 1 2 3; do head -c $((i * 300000)) /dev/urandom > "$T/remote/local/f$i"; done
(cd "$T/remote/local" && sha256sum f1 f2 f3) > "$T/sums"
start_mount
check "files are read into the cache" bash -c "cd $MNT/local && sha256sum -c $T/sums"
unmounted "umount"
n=$(flip)
if [ "$n" -ge 3 ]; then pass "$n cached files were damaged"; else fail "at least 3 cached files were damaged" "$n"; fi
start_mount
check "the damaged pages were fetched again" bash -c "cd $MNT/local && sha256sum -c $T/sums"
is "read once more, past the page cache" "$(cd "$MNT/local" && echo 3 > /proc/sys/vm/drop_caches && sha256sum -c "$T/sums" 2>&1 | grep -c OK)" 3
unmounted "umount"

# The same while the file is written: the good pages around the bad one must not hide it.
flip > /dev/null
start_mount
check "a write beside the damage" dd if=/dev/zero of="$MNT/local/f3" bs=1000 count=1 conv=notrunc status=none
check "the same write on a copy" bash -c "cp $T/remote/local/f3 $T/f3 && dd if=/dev/zero of=$T/f3 bs=1000 count=1 conv=notrunc status=none"
check "the file is right in the mount" cmp "$T/f3" "$MNT/local/f3"
flushed "flush"
check "and on the server" cmp "$T/f3" "$T/remote/local/f3"
unmounted "umount"

# What nobody else has: written while the storage is away, sealed, damaged.
if ! have_remote dav || ! have_remote rgw; then
	skip "damage to unsent data" "no servers here"
	done_testing
fi
server=$T/apache
chmod 755 "$T"
run timeout 30 "$WEIR_SRCDIR/tests/servers/apache-dav.sh" start "$server"
[ $rc -eq 0 ] || bail "Apache does not start" "$err"
cleanup_more() { "$WEIR_SRCDIR/tests/servers/apache-dav.sh" stop "$server"; }
value() { sed -n "s/^$1=//p" "$server/env"; }
WEIR_TEST_DAV=$(value url) WEIR_TEST_DAV_USER=$(value user) WEIR_TEST_DAV_PASSWORD=$(value password)
port=$(sed 's|.*:\([0-9]*\)/dav|\1|' <<< "$WEIR_TEST_DAV")
conf_remotes dav
fresh_cache
start_mount
check "a folder on the server" mkdir "$MNT/dav/d"
flushed "flush"
"$WEIR_SRCDIR/tests/servers/apache-dav.sh" stop "$server"
head -c 500000 /dev/urandom > "$T/good"
check "a file is written while the server is away" dd if="$T/good" of="$MNT/dav/d/only" bs=64k conv=fsync status=none
check "umount --now keeps it" "$WEIR" umount --now "$MNT"
wait_for 10 bash -c "! findmnt -n --mountpoint $MNT"
n=$(flip)
if [ "$n" -ge 1 ]; then pass "the unsent file was damaged"; else fail "the unsent file was damaged" "$n files changed"; fi
start_mount
run cat "$MNT/dav/d/only"
if [ $rc -ne 0 ]; then pass "reading it is an error, not bad bytes"; else fail "reading it is an error, not bad bytes"; fi
like "the error is EIO" "$err" "Input/output error"
run timeout 30 "$WEIR_SRCDIR/tests/servers/apache-dav.sh" start "$server" "$port"
[ $rc -eq 0 ] || bail "Apache does not start again" "$err"
run timeout 40 "$WEIR" flush "$MNT"
if [ $rc -ne 0 ] && [ $rc -ne 124 ]; then pass "flush fails, though the server is back"; else fail "flush fails, though the server is back" "status $rc" "$out"; fi
unlike "and no damaged file was sent" "$(far_names dav)" "only"
run "$WEIR" umount --now "$MNT"
done_testing
