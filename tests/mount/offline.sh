#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A host that is merely away does not refuse a mount: the remote is offline, the cache is served, writes wait, and it comes back.
# weir-test: timeout=180 beside=yes
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/remotes.sh"
server=$T/apache
chmod 755 "$T"
dav() { timeout 30 "$WEIR_SRCDIR/tests/servers/apache-dav.sh" "$@"; }
dav start "$server" > "$T/apache.out" 2>&1 || skip_all "Apache does not start: $(tail -n 1 "$T/apache.out")"
cleanup_more() { dav stop "$server"; }
value() { sed -n "s/^$1=//p" "$server/env"; }
WEIR_TEST_DAV=$(value url) WEIR_TEST_DAV_USER=$(value user) WEIR_TEST_DAV_PASSWORD=$(value password)
port=$(sed 's|.*:\([0-9]*\)/dav|\1|' <<< "$WEIR_TEST_DAV")
have_remote dav || skip_all "rclone is missing"
conf_remotes dav local
sed -i 's/^\[remote dav\]$/[remote dav]\ntimeout = 5/' "$CONF"
head -c 700000 /dev/urandom > "$T/data"
far_put dav known/file "$T/data"
far_put dav known/other "$T/data"
start_mount
check "a file is read into the cache" cmp "$T/data" "$MNT/dav/known/file"
unmounted "umount"

dav stop "$server"
start_mount
pass "the mount starts though the server is away"
check "the other remote works" ls "$MNT/local"
run timeout 20 cmp "$T/data" "$MNT/dav/known/file"
is "what the cache holds is served" "$rc $err" "0 "
run timeout 20 ls "$MNT/dav/known"
is "a listing that was seen is served" "$(tr '\n' ' ' <<< "$out")" "file other "
run timeout 30 cat "$MNT/dav/known/other"
if [ $rc -ne 0 ] && [ $rc -ne 124 ]; then pass "what it does not hold is an error, soon"; else fail "what it does not hold is an error, soon" "status $rc"; fi
check "a new file is accepted" bash -c "echo while away > '$MNT/dav/known/new'"
run "$WEIR" status "$MNT"
like "status says that it is away" "$out" "(offline|down|away|does not answer|refused)"
LIMIT=25
run timeout 20 "$WEIR" umount "$MNT"
if [ $rc -ne 0 ]; then pass "umount does not claim that all was sent"; else fail "umount does not claim that all was sent" "$out"; fi
is_mounted "$MNT" || start_mount
LIMIT=60

dav start "$server" "$port" > "$T/apache.out" 2>&1 || bail "Apache does not start again" "$(cat "$T/apache.out")"
other() { timeout 10 cmp "$T/data" "$MNT/dav/known/other"; }
if wait_for 60 other; then pass "the remote comes back by itself"; else fail "the remote comes back by itself" "$("$WEIR" status "$MNT" 2>&1)"; fi
flushed "what was written while it was away is sent"
is "and is there" "$(rc_far cat "$(far dav known/new)")" "while away"
unmounted "umount at the end"
done_testing
