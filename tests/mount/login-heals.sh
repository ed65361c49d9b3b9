#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A sign-in that is revoked under a mount: what is cached stays readable, what is written waits, the sentence says what to do; a login heals it.
# weir-test: timeout=240 slow=yes
. "$(dirname "$0")/../lib.sh"
[ -e /dev/fuse ] || skip_all "no /dev/fuse"
[ "$(id -u)" = 0 ] || skip_all "not root"
emu=$WEIR_BUILDDIR/tests/emulators/driveemu
[ -x "$emu" ] || skip_all "driveemu was not built"
unset DISPLAY WAYLAND_DISPLAY
emu_pid=
cleanup() { [ -z "$emu_pid" ] || kill "$emu_pid" 2> /dev/null; }

mkdir -p "$T/emu"
"$emu" --port 0 --dir "$T/emu" --die-with-parent --client-id the-id --client-secret the-secret --refresh-token seeded > "$T/emu.log" 2>&1 &
emu_pid=$!
wait_for 20 grep -q '^listening on ' "$T/emu.log" || bail "driveemu does not start" "$(cat "$T/emu.log")"
url=http://$(sed -n 's/^listening on //p' "$T/emu.log")
cat > "$CONF" << C
[weir]
cache_dir = $T/cache
[remote gd]
type = drive
client_id = the-id
client_secret = the-secret
api_url = $url/drive/v3
upload_url = $url/upload/drive/v3
auth_url = $url/o/oauth2/v2/auth
token_url = $url/token
revoke_url = $url/revoke
C
chmod 600 "$CONF"
"$WEIR" login -c "$CONF" --import gd <<< '{"access_token":"stale","refresh_token":"seeded","expiry":"2020-01-01T00:00:00Z"}' 2> "$T/e" || bail "no import" "$(cat "$T/e")"
start_mount
echo before > "$MNT/gd/a"
check "a file is sent" "$WEIR" flush "$MNT"

curl -sSf -o /dev/null -X POST "$url/_emu/set?oauth_revoke=1&oauth_expire_next=1" || bail "emulator"
echo meanwhile > "$MNT/gd/b"
refuse "revoked: what waits says what to do" 5 "/b: the sign-in was revoked or has expired .*sign in again with 'weir login gd'" "$WEIR" flush "$MNT"
like "status says it" "$("$WEIR" status "$MNT")" "gd \(drive\): refused"
is "what is cached can be read" "$(cat "$MNT/gd/a" "$MNT/gd/b" | tr '\n' ' ')" "before meanwhile "
check "and more can be written" bash -c "echo more > '$MNT/gd/c'"

curl -sSf -o /dev/null -X POST "$url/_emu/set?oauth_revoke=0" || bail "emulator"
mkfifo "$T/in"
timeout 60 "$WEIR" login -c "$CONF" gd < "$T/in" 2> "$T/login.err" &
pid=$!
exec 7> "$T/in"
wait_for 20 grep -q '^  http' "$T/login.err" || bail "no address" "$(cat "$T/login.err")"
curl -sS -L -o /dev/null "$(sed -n 's/^  \(http.*\)/\1/p' "$T/login.err")"
exec 7>&-
wait $pid
is "somebody signs in" "$?" 0
if wait_for 100 "$WEIR" flush "$MNT"; then pass "the mount goes on by itself, and sends what waited"; else fail "the mount goes on" "$("$WEIR" status "$MNT")"; fi
like "status is content" "$("$WEIR" status "$MNT")" "gd \(drive\): up"
check "a clean end" "$WEIR" umount "$MNT"
done_testing
