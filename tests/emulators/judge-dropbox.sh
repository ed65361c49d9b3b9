#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# weir-test: timeout=600
# The Dropbox emulator judged by Dropbox's own SDK (judge-dropbox.mjs) and by rclone. rclone has no option for Dropbox's address; it is led
# to the emulator by a proxy with a certificate of its own (tlsfront.py).
# usage: judge-dropbox.sh [BUILDDIR]
here=$(cd "$(dirname "$0")" && pwd)
. "$here/judge-lib.sh"
. "$here/../../scripts/lib/npm.sh"
build=${1:-${BUILDDIR:-.}}
judge_need curl
dropemu=$build/tests/emulators/dropemu
[ -x "$dropemu" ] || judge_skip "$dropemu is not built"
w=$judge_dir

id=judgeappkey000 secret=judgesecret0000 refresh=refresh-token-of-the-judge
emu_start "$dropemu" --dir "$w/data" --client-id $id --client-secret $secret --refresh-token $refresh
emu() { curl -sSf -o /dev/null -X POST "$emu_url/_emu/$1"; }
raw() { curl -sSf -X POST -H 'Content-Type:' -H "Dropbox-API-Arg: {\"path\":\"$1\"}" "$emu_url/_emu/raw/2/files/download"; }
emu_again() {	# what was stored survives the emulator
	emu_port=${emu_url##*:}
	emu_stop
	emu_start "$dropemu" --dir "$w/data" --client-id $id --client-secret $secret --refresh-token $refresh
}
export w emu_url
judge_functions=(emu raw)

# The SDK
if npm_install; then
	sdk() {
		check "SDK: $1" node "$here/judge-dropbox.mjs" "$emu_url" "$NPM_MODULES" $id $secret $refresh "$1" "$w/notes"
		emu reset	# what a chapter that failed may have left on
	}
	for chapter in $(node "$here/judge-dropbox.mjs" "$emu_url" "$NPM_MODULES" $id $secret $refresh --list); do
		sdk "$chapter"
	done
	sdk before-restart
	emu_again
	sdk after-restart
else
	judge_n=$((judge_n + 1))
	echo "ok $judge_n - Dropbox's own SDK # SKIP $NPM_WHY"
fi

# rclone
rclone_judges() {
	local front_url front i
	mkdir -p "$w/front"
	python3 "$here/tlsfront.py" "$w/front" "${emu_url##*:}" api.dropboxapi.com content.dropboxapi.com notify.dropboxapi.com www.dropbox.com \
		>"$w/front.out" 2>"$w/front.err" &
	front=$!
	for ((i = 0; i < 100; i++)); do
		front_url=$(sed -n 's/^listening on /http:\/\//p' "$w/front.out" 2>/dev/null)
		[ -z "$front_url" ] || break
		sleep 0.1
	done
	export RCLONE_CONFIG=$w/rclone.conf RCLONE_CA_CERT=$w/front/ca.pem HTTPS_PROXY=$front_url RCLONE_RETRIES=1 RCLONE_LOW_LEVEL_RETRIES=3
	cat >"$w/rclone.conf" <<END
[d]
type = dropbox
client_id = $id
client_secret = $secret
token = {"access_token":"sl.u.of-yesterday","token_type":"bearer","refresh_token":"$refresh","expiry":"2020-01-01T00:00:00Z"}
END
	mkdir -p "$w/tree/a b/c" "$w/tree/ünï+code" "$w/back"
	head -c 100000 /dev/urandom >"$w/tree/a b/one.bin"
	echo "two & <three>" >"$w/tree/a b/c/t'wo (2)~!.txt"
	: >"$w/tree/empty"
	printf plus >"$w/tree/ünï+code/p+l%us=#&.txt"
	for i in $(seq 30); do echo "$i" >"$w/tree/a b/c/n$i"; done
	head -c 26000001 /dev/urandom >"$w/large.bin"

	check "rclone lsd, with an expired token" rclone lsd d:
	check "rclone mkdir" rclone mkdir d:rc/fresh
	# Debian's rclone writes names that are not ASCII into the header as they are, against Dropbox's rules; in batches they are in a body.
	check "rclone copy a tree, one by one" rclone copy --dropbox-batch-mode off "$w/tree/a b" "d:rc/one/a b"
	check "rclone copy the rest" rclone copy --dropbox-batch-mode sync "$w/tree" d:rc/one
	check "rclone check it (Dropbox's hash)" rclone check "$w/tree" d:rc/one
	check "rclone check it by download" rclone check --download "$w/tree" d:rc/one
	check "rclone copy a tree, in batches" rclone copy --dropbox-batch-mode sync "$w/tree" d:rc/batch
	check "rclone check the batches" rclone check "$w/tree" d:rc/batch
	in_shell "rclone lsf -R names every file" 'diff <(cd "$w/tree" && find . -type f | cut -c3- | sort) <(rclone lsf -R --files-only d:rc/one | sort)'
	in_shell "paging: the same names a few at a time, empty pages between" \
		'emu "set?page_max=7&empty_pages=1" && diff <(cd "$w/tree" && find . -type f | cut -c3- | sort) <(rclone lsf -R --files-only d:rc/one | sort); r=$?; emu reset; exit $r'
	check "rclone uploads a large file in a session" rclone copyto --dropbox-chunk-size 8Mi "$w/large.bin" d:rc/large.bin
	in_shell "its bytes are right" 'raw /rc/large.bin | cmp - "$w/large.bin"'
	check "rclone multi-threaded download" rclone copy --multi-thread-cutoff 1Mi --multi-thread-streams 4 d:rc/large.bin "$w/back"
	check "its bytes came back" cmp "$w/large.bin" "$w/back/large.bin"
	check "rclone copy by the server" rclone copyto d:rc/large.bin d:rc/copy.bin
	check "rclone moveto" rclone moveto d:rc/copy.bin "d:rc/moved to/x.bin"
	in_shell "the move left nothing" '! rclone lsf d:rc | grep -q copy.bin && raw "/rc/moved to/x.bin" | cmp - "$w/large.bin"'
	check "rclone moves a folder" rclone moveto d:rc/one d:rc/two
	check "what it held is there" rclone check "$w/tree" d:rc/two
	check "rclone sync" rclone sync "$w/tree" d:rc/two
	check "rclone deletefile" rclone deletefile "d:rc/moved to/x.bin"
	check "rclone rmdir" rclone rmdir "d:rc/moved to"
	in_shell "rclone rmdir refuses a folder that is not empty" '! rclone rmdir d:rc/two'
	check "rclone about" rclone about d:
	in_shell "rclone cat a range" 'cmp <(rclone cat --offset 1000 --count 500 d:rc/large.bin) <(tail -c +1001 "$w/large.bin" | head -c 500)'
	in_shell "rclone goes on after a partial append" 'emu "set?append_partial_next=1" && rclone copyto --dropbox-chunk-size 8Mi "$w/large.bin" d:rc/again.bin && raw /rc/again.bin | cmp - "$w/large.bin"; r=$?; emu reset; exit $r'
	in_shell "rclone rides out 429 and write contention" 'emu "set?throttle_next=2&throttle_s=0&write_contention_next=2" && RCLONE_LOW_LEVEL_RETRIES=10 rclone copyto --dropbox-batch-mode off "$w/tree/a b/one.bin" d:rc/throttled; r=$?; emu reset; exit $r'
	check "rclone purge" rclone purge d:rc/batch
	# The proxy keeps leading to the same port.
	emu_again
	check "after a restart the tree is still right" rclone check --download "$w/tree" d:rc/two
	in_shell "and the large file" 'raw /rc/large.bin | cmp - "$w/large.bin"'
	kill "$front"
}
if command -v rclone >/dev/null && command -v python3 >/dev/null && command -v openssl >/dev/null; then
	rclone_judges
else
	judge_n=$((judge_n + 1))
	echo "ok $judge_n - rclone # SKIP rclone, python3 or openssl is not installed"
fi
judge_done
