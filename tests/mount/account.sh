#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Two remotes of one account: what its server says is used counts once.
# weir-test: timeout=90
. "$(dirname "$0")/../lib.sh"
used() { json "$("$WEIR" status --json "$MNT")" "v['used_bytes']"; }
remote_used() { json "$("$WEIR" status --json "$MNT")" "[r['used_bytes'] for r in v['remotes'] if r['name'] == '$1'][0]"; }
known() { [ "$(remote_used one)" -ge 3000000 ] && [ "$(remote_used two)" -ge 3000000 ]; }

if [ -n "${WEIR_TEST_DROPEMU:-}" ] && [ -n "${WEIR_TEST_DRIVEEMU:-}" ]; then
	for kind in drive dropbox; do
		if [ $kind = drive ]; then
			u=$WEIR_TEST_DRIVEEMU id=$WEIR_TEST_DRIVEEMU_CLIENT_ID secret=$WEIR_TEST_DRIVEEMU_CLIENT_SECRET refresh=$WEIR_TEST_DRIVEEMU_REFRESH_TOKEN
			more="upload_url = $u
auth_url = $u/o/oauth2/v2/auth
token_url = $u/token"
		else
			u=$WEIR_TEST_DROPEMU id=$WEIR_TEST_DROPEMU_CLIENT_ID secret=$WEIR_TEST_DROPEMU_CLIENT_SECRET refresh=$WEIR_TEST_DROPEMU_REFRESH_TOKEN
			more="content_url = $u
notify_url = $u
auth_url = $u/oauth2/authorize
token_url = $u/oauth2/token"
		fi
		printf '[weir]\ncache_dir = %s\n' "$T/cache" > "$CONF"
		chmod 600 "$CONF"
		for r in one two; do
			(umask 077 && printf '{"access_token":"","refresh_token":"%s","token_type":"Bearer","expires_at":0}\n' "$refresh" > "$T/$r.token")
			printf '[remote %s]\ntype = %s\nclient_id = %s\nclient_secret = %s\ntoken_file = %s\napi_url = %s\n%s\n' $r $kind "$id" "$secret" "$T/$r.token" "$u" "$more" >> "$CONF"
		done
		if [ $kind = dropbox ]; then sed -i 's|^\[remote two\]|&\nroot = second|' "$CONF"; else sed -i 's|^\[remote two\]|&\nshared_with_me = no|' "$CONF"; fi
		# The folder that the second one shows is made by the first.
		if [ $kind = dropbox ]; then
			sed '/^\[remote two\]/,$d' "$CONF" > "$T/first.conf" && chmod 600 "$T/first.conf"
			start_mount "$MNT" "$T/first.conf"
			mkdir -p "$MNT/one/second"
			check "dropbox: a folder to begin with" "$WEIR" umount "$MNT"
		fi
		rm -rf --one-file-system "$T/cache"
		run "$WEIR" mount -c "$CONF" "$MNT"
		if [ $rc -ne 0 ]; then
			mkdir -p "$MNT"
			run "$WEIR" mount -c "$CONF" "$MNT"
		fi
		[ $rc -eq 0 ] || { skip "$kind: two remotes of one account" "they cannot be told apart: $err"; continue; }
		_mounts+=("$MNT")
		head -c 3000000 /dev/urandom > "$MNT/one/weir-account-$$"
		check "$kind: the data is sent" "$WEIR" umount "$MNT"
		start_mount	# both ask for the figure when they begin
		if wait_for 40 known; then pass "$kind: both know the server's figure"; else fail "$kind: both know the server's figure" "$(remote_used one) $(remote_used two)"; fi
		one=$(remote_used one) two=$(remote_used two) all=$(used)
		if [ "$all" -le $(((one > two ? one : two) + 100000)) ]; then pass "$kind: it counts once"; else fail "$kind: it counts once" "$one and $two make $all"; fi
		rm "$MNT/one/weir-account-$$"
		check "$kind: umount" "$WEIR" umount "$MNT"
		# Somebody else has signed in under this name: nothing of this cache goes to them.
		command -v sqlite3 > /dev/null || { skip "$kind: another account" "no sqlite3"; continue; }
		sqlite3 "$T/cache/meta.db" "UPDATE info SET value = 'somebody else' WHERE key LIKE 'account %'"
		start_mount
		if wait_for 20 sh -c "'$WEIR' status '$MNT' | grep -q 'another account'"; then pass "$kind: another account is noticed"; else fail "$kind: another account is noticed" "$("$WEIR" status "$MNT")"; fi
		echo kept > "$MNT/one/weir-kept-$$" 2> /dev/null
		refuse "$kind: nothing is sent to it" ! 'another account' "$WEIR" flush "$MNT"
		check "$kind: umount, kept for later" "$WEIR" umount --now "$MNT"
		sqlite3 "$T/cache/meta.db" "DELETE FROM info WHERE key LIKE 'account %'"
		start_mount
		check "$kind: the former one gets it" "$WEIR" flush "$MNT"
		rm -f "$MNT/one/weir-kept-$$"
		check "$kind: umount at the end" "$WEIR" umount "$MNT"
	done
else
	skip_all "no driveemu and dropemu here"
fi
done_testing
