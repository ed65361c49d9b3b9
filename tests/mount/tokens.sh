#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Access tokens that expire all the time, under load: a thousand times each for two storages, and no operation notices.
# weir-test: timeout=600 slow=yes beside=yes
. "$(dirname "$0")/../lib.sh"
[ -e /dev/fuse ] || skip_all "no /dev/fuse"
[ "$(id -u)" = 0 ] || skip_all "not root"
: "${WEIR_TOKENS_WANTED:=1000}"
LIMIT=240
# Emulators of our own, as all their tokens suffer.
secrets=(--client-id the-id --client-secret the-secret --refresh-token seeded)
start_emu driveemu "${secrets[@]}" || skip_all "driveemu was not built"
drive=$url
start_emu dropemu "${secrets[@]}" || skip_all "dropemu was not built"
dropbox=$url
cat > "$CONF" << C
[weir]
cache_dir = $T/cache
[remote drive]
type = drive
client_id = the-id
client_secret = the-secret
api_url = $drive/drive/v3
upload_url = $drive/upload/drive/v3
auth_url = $drive/o/oauth2/v2/auth
token_url = $drive/token
revoke_url = $drive/revoke
[remote dropbox]
type = dropbox
client_id = the-id
client_secret = the-secret
api_url = $dropbox
content_url = $dropbox
notify_url = $dropbox
auth_url = $dropbox/oauth2/authorize
C
chmod 600 "$CONF"
for r in drive dropbox; do
	"$WEIR" login -c "$CONF" --import $r <<< '{"access_token":"stale","refresh_token":"seeded","expiry":"2020-01-01T00:00:00Z"}' 2> /dev/null || bail "cannot sign in to $r"
done

emu_set() { curl -sSf -o /dev/null -X POST "$1/_emu/set?$2" || bail "emulator: $2"; }
renewed() { curl -sS "$1/_emu/stats" | python3 -c 'import json,sys; print(json.load(sys.stdin)["ops"].get("oauth token", 0))'; }

# One of several at once: files made, read, renamed, replaced, removed; one in ten stays.
worker() {	# FOLDER ROUND NUMBER
	local i f
	for ((i = 0; i < 20; i++)); do
		f=$1/$2-$3-$i
		echo "$2 $3 $i" > "$f" && [ "$(cat "$f")" = "$2 $3 $i" ] || return 1
		if ((i % 10)); then echo gone >> "$f" && mv "$f" "$f.moved" || return 1; fi
	done
}

load() {	# NAME ADDRESS
	local d=$MNT/$1 round=0 n failed=0 pids p end=$((SECONDS + LIMIT))
	emu_set "$2" oauth_expire_every=6
	while n=$(renewed "$2") && [ "$n" -lt "$WEIR_TOKENS_WANTED" ] && [ $SECONDS -lt $end ]; do
		round=$((round + 1)) pids=()
		for p in 1 2 3 4; do
			worker "$d" $round $p &
			pids+=($!)
		done
		for p in "${pids[@]}"; do wait "$p" || failed=$((failed + 1)); done
		"$WEIR" flush "$d" > /dev/null 2>> "$T/flush.err" || failed=$((failed + 1))
		rm -f "$d"/*.moved || failed=$((failed + 1))
		ls "$d" > /dev/null || failed=$((failed + 1))
	done
	"$WEIR" flush "$d" > /dev/null 2>> "$T/flush.err" || failed=$((failed + 1))
	is "$1: no operation failed in $round rounds" "$failed $(cat "$T/flush.err" 2> /dev/null)" "0 "
	if [ "$(renewed "$2")" -ge "$WEIR_TOKENS_WANTED" ]; then
		pass "$1: the token was renewed $WEIR_TOKENS_WANTED times"
	else
		fail "$1: the token was renewed $WEIR_TOKENS_WANTED times" "only $(renewed "$2")"
	fi
	is "$1: nothing is failing" "$(json "$("$WEIR" status --json "$MNT")" 'v["failing_files"]')" 0
	emu_set "$2" oauth_expire_every=0
	ls "$d" | sort > "$T/$1.names"
	(cd "$d" && cat $(< "$T/$1.names")) > "$T/$1.bytes"
	is "$1: what stays is complete" "$(wc -l < "$T/$1.names")" $((round * 8))
}

start_mount
load drive "$drive"
load dropbox "$dropbox"
check "everything is sent" "$WEIR" umount "$MNT"
rm -rf "$T/cache"
start_mount
for r in drive dropbox; do
	is "$r: the storage has the names" "$(ls "$MNT/$r" | sort | cmp - "$T/$r.names" 2>&1)" ""
	is "$r: and the bytes" "$(cd "$MNT/$r" && cat $(< "$T/$r.names") | cmp - "$T/$r.bytes" 2>&1)" ""
done
done_testing
