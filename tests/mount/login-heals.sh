#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A sign-in that is revoked under a mount: what is cached stays readable, what is written waits, the sentence says what to do; a login heals it,
# at once: the mount is told (by itself it asks a remote that refused it once a minute).
# weir-test: timeout=240 asan=yes
. "$(dirname "$0")/../lib.sh"
[ -e /dev/fuse ] || skip_all "no /dev/fuse"
[ "$(id -u)" = 0 ] || skip_all "not root"
unset DISPLAY WAYLAND_DISPLAY
login() {	# REMOTE: shows its address in $T/login.err; login_end when the person was there
	rm -f "$T/in"
	mkfifo "$T/in"
	timeout 60 "$WEIR" login -c "$CONF" "$1" < "$T/in" 2> "$T/login.err" &
	pid=$!
	exec 7> "$T/in"
	wait_for 20 grep -q '^  http' "$T/login.err" || bail "no address" "$(cat "$T/login.err")"
	address=$(sed -n 's/^  \(http.*\)/\1/p' "$T/login.err")
}
login_end() {
	exec 7>&-
	wait $pid
}

start_emu ncemu --user alice --password real-password || skip_all "ncemu was not built"
nc=$url
app_password=$(curl -sSf -u alice:real-password -H 'OCS-APIRequest: true' "$nc/ocs/v2.php/core/getapppassword?format=json") || bail "no app password"
(umask 077 && json "$app_password" 'v["ocs"]["data"]["apppassword"]' > "$T/cloud.pass")
start_emu driveemu --client-id the-id --client-secret the-secret --refresh-token seeded || skip_all "driveemu was not built"
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
[remote cloud]
type = nextcloud
url = $nc
user = alice
password_file = $T/cloud.pass
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
login gd
curl -sS -L -o /dev/null "$address"
login_end
is "somebody signs in" "$?" 0
like "the mount is told" "$(cat "$T/login.err")" "the mount that runs asks 'gd' again now"
if wait_for 30 "$WEIR" flush "$MNT"; then pass "it goes on, and sends what waited"; else fail "the mount goes on" "$("$WEIR" status "$MNT")"; fi
like "status is content" "$("$WEIR" status "$MNT")" "gd \(drive\): up"

# An app password that its owner took back.
echo before > "$MNT/cloud/a"
check "Nextcloud: a file is sent" "$WEIR" flush "$MNT"
curl -sSf -o /dev/null -X DELETE -u "alice:$(cat "$T/cloud.pass")" -H 'OCS-APIRequest: true' "$nc/ocs/v2.php/core/apppassword" || bail "emulator"
echo meanwhile > "$MNT/cloud/b"
refuse "taken back: what waits says why" 5 "/b: the server refuses user 'alice'" "$WEIR" flush "$MNT"
like "Nextcloud: status says it" "$("$WEIR" status "$MNT")" "cloud \(nextcloud\): refused"
login cloud
is "the person allows it in the browser" "$(curl -sS -u alice:real-password -o /dev/null -w '%{http_code}' "$address")" 200
login_end
is "Nextcloud: somebody signs in" "$?" 0
like "Nextcloud: the mount is told" "$(cat "$T/login.err")" "the mount that runs asks 'cloud' again now"
if wait_for 30 "$WEIR" flush "$MNT"; then pass "Nextcloud: it goes on with the new password"; else fail "the mount goes on" "$("$WEIR" status "$MNT")"; fi
like "Nextcloud: status is content" "$("$WEIR" status "$MNT")" "cloud \(nextcloud\): up"
is "Nextcloud: the server has it" "$(curl -sS -u "alice:$(cat "$T/cloud.pass")" "$nc/remote.php/dav/files/alice/b")" meanwhile
check "a clean end" "$WEIR" umount "$MNT"
done_testing
