#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What a mount says without being asked: events to the [notify] hook, and what systemd wants to hear of a service.
# weir-test: timeout=240 asan=yes beside=yes
. "$(dirname "$0")/../lib.sh"
[ -e /dev/fuse ] || skip_all "no /dev/fuse"
[ "$(id -u)" = 0 ] || skip_all "not root"

# --- events ------------------------------------------------------------------------------------------------------------
start_emu ncemu --user alice --password secret || skip_all "ncemu was not built"
conf_local a
app=$(curl -sSf -u alice:secret -H 'OCS-APIRequest: true' "$url/ocs/v2.php/core/getapppassword?format=json") || bail "no app password"
json "$app" 'v["ocs"]["data"]["apppassword"]' > "$T/pass"
cat >> "$CONF" << C
quota = 1 MB
[remote cloud]
type = nextcloud
url = $url
user = alice
password_file = $T/pass
[notify]
command = cat >> $T/events
C
chmod 600 "$T/pass"
: > "$T/events"
events() { python3 - "$T/events" "$1" << 'P'
import json, sys
for line in open(sys.argv[1]):
    e = json.loads(line)
    if e['event'] == sys.argv[2]:
        assert e['host'] and e['user'] and e['at']
        print({k: v for k, v in e.items() if k not in ('host', 'user', 'at')})
P
}
has_events() { [ "$(events "$1" | wc -l)" = "$2" ]; }	# KIND N

start_mount
head -c 800000 /dev/zero > "$MNT/a/first"
check "80 % of a quota" "$WEIR" flush "$MNT"
head -c 120000 /dev/zero > "$MNT/a/second"
wait_for 20 has_events quota 1
is "90 % of a quota are told, with the remote" "$(events quota)" "{'event': 'quota', 'remote': 'a', 'used_bytes': 920000, 'quota_bytes': 1000000}"
rm "$MNT/a/second"
sleep 6	# a look in between: below the lower mark, so that the next time is told again
head -c 130000 /dev/zero > "$MNT/a/second"
wait_for 20 has_events quota 2
is "and again when it had been less" "$(events quota | wc -l)" 2

echo one > "$MNT/cloud/file"
check "a file is sent" "$WEIR" flush "$MNT"
mtime=$(date -d '2020-01-01' +%s)
echo mine >> "$MNT/cloud/file"
curl -sSf -o /dev/null -u alice:secret -T - -H "X-OC-MTime: $mtime" "$url/remote.php/dav/files/alice/file" <<< "of somebody else" || bail "emulator"
run "$WEIR" flush "$MNT"
wait_for 20 has_events conflict 1
like "a conflict is told, with the copy's path" "$(events conflict)" "'conflicts': 1, 'files': \[.'path': '/file', 'what': .changed here and on remote 'cloud'; the version of this host is now 'file .*conflict"

curl -sSf -o /dev/null -X DELETE -u "alice:$(cat "$T/pass")" -H 'OCS-APIRequest: true' "$url/ocs/v2.php/core/apppassword" || bail "emulator"
echo more > "$MNT/cloud/more"
wait_for 40 has_events signin-dead 1
like "a sign-in that is dead is told, with its reason" "$(events signin-dead)" "'remote': 'cloud', 'error': .*refuses user 'alice'"
sleep 6
is "once" "$(events signin-dead | wc -l)" 1
is "and no event besides these" "$(wc -l < "$T/events")" 4
run "$WEIR" umount --now "$MNT"
is "the mount ends" "$rc" 0

# --- systemd -----------------------------------------------------------------------------------------------------------
cat > "$T/manager.py" << 'P'
import os, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
print('here', flush=True)
while True:
    print(s.recv(4096).decode().replace('\n', ' | '), flush=True)
P
python3 "$T/manager.py" "$T/manager" > "$T/told" & manager=$!
wait_for 10 grep -q here "$T/told" || bail "no manager"
conf_local a
printf '[remote b]\ntype = webdav\nurl = http://127.0.0.1:1/\ntimeout = 5\n' >> "$CONF"	# nobody listens there
mkdir -p "$MNT"
NOTIFY_SOCKET=$T/manager WATCHDOG_USEC=2000000 "$WEIR" mount -f -c "$CONF" "$MNT" 2> "$T/mount.err" & mounter=$!
_mounts+=("$MNT")
wait_for 20 grep -q '^READY=1' "$T/told"
like "it is ready when it serves" "$(cat "$T/told")" "^READY=1 \| STATUS=serving $MNT"
check "which is so" test -d "$MNT/a"
wait_for 20 grep -q '^STATUS=1 of 2' "$T/told"
like "the status tells who is away and why, and what is to be sent" "$(cat "$T/told")" "^STATUS=1 of 2 remotes away \(b: .*onnect.*\); all is sent$"
fed() { [ "$(grep -c '^WATCHDOG=1' "$T/told")" -ge 3 ]; }
wait_for 20 fed
if fed; then pass "the watchdog is fed"; else fail "the watchdog is fed" "$(cat "$T/told")"; fi
kill -TERM $mounter
wait $mounter
is "SIGTERM ends it" "$?" 0
like "and it says that it stops" "$(cat "$T/told")" "^STOPPING=1"
is "nothing is mounted any more" "$(findmnt -n --mountpoint "$MNT")" ""
kill $manager

# A service that cannot start says why where systemctl shows it.
python3 "$T/manager.py" "$T/manager2" > "$T/told" & manager=$!
wait_for 10 grep -q here "$T/told" || bail "no manager"
conf_local a
"$WEIR" mount -c "$CONF" "$MNT" || bail "no mount"
NOTIFY_SOCKET=$T/manager2 run "$WEIR" mount -f -c "$CONF" "$T/mnt"
is "a mount that cannot be made" "$rc" 1
unlike "is never ready" "$(cat "$T/told")" READY
kill $manager
stop_mount || fail "it ends" "$out" "$err"
done_testing
