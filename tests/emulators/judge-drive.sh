#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# weir-test: timeout=600
# The Drive emulator judged by Google's own SDK (judge-drive.mjs) and by rclone. rclone has no option for Drive's address; it is led to the emulator
# by a proxy with a certificate of its own (tlsfront.py).
# usage: judge-drive.sh [BUILDDIR]
here=$(cd "$(dirname "$0")" && pwd)
. "$here/judge-lib.sh"
. "$here/../../scripts/lib/npm.sh"
build=${1:-${BUILDDIR:-.}}
judge_need curl openssl
driveemu=$build/tests/emulators/driveemu
[ -x "$driveemu" ] || judge_skip "$driveemu is not built"
w=$judge_dir

id=judge.apps.example.com secret=GOCSPX-judge refresh=1//0refresh-of-the-judge account=judge@project.iam.example.com
openssl genpkey -quiet -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out "$w/key.pem" 2>/dev/null ||
	openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out "$w/key.pem" 2>/dev/null
openssl pkey -in "$w/key.pem" -pubout -out "$w/public.pem"
start() {
	emu_start "$driveemu" --dir "$w/data" --client-id $id --client-secret $secret --refresh-token $refresh --service-account $account \
		--service-key "$w/public.pem"
}
start
emu() { curl -sSf -o /dev/null -X POST "$emu_url/_emu/$1"; }
export w emu_url
judge_functions=(emu)

# The SDK
if npm_install; then
	for chapter in $(node "$here/judge-drive.mjs" --list); do
		check "SDK: $chapter" node "$here/judge-drive.mjs" "$emu_url" "$NPM_MODULES" $id $secret $refresh $account "$w/key.pem" "$chapter"
		curl -sS -o /dev/null -X POST "$emu_url/_emu/reset"
	done
else
	judge_n=$((judge_n + 1))
	echo "ok $judge_n - Google's own SDK # SKIP $NPM_WHY"
fi

# A resumable upload goes on after the server was away: its address, what it had kept, and ids made in advance outlive it.
head -c 1000001 /dev/urandom >"$w/resumed.bin"
range() { curl -sS -o /dev/null -D - -X PUT "$@" | tr -d '\r' | sed -n 's/^[Rr]ange: //p'; }
location=$(curl -sS -o /dev/null -D - -X POST -H 'X-Upload-Content-Length: 1000001' -H 'Content-Type: application/json' -d '{"name":"resumed"}' \
	"$emu_url/_emu/raw/upload/drive/v3/files?uploadType=resumable&fields=md5Checksum" | tr -d '\r' | sed -n 's/^Location: //p')
premade=$(curl -sS "$emu_url/_emu/raw/drive/v3/files/generateIds?count=1" | sed -n 's/.*"\(1[^"]*\)".*/\1/p')
first=$(head -c 524288 "$w/resumed.bin" | range -H 'Content-Range: bytes 0-524287/1000001' --data-binary @- "$location")
emu_port=${emu_url##*:}
emu_stop
start
again=$(range -H 'Content-Range: bytes */1000001' -H 'Content-Length: 0' "$location")
check "an upload session outlives a restart" [ "$first $again" = "bytes=0-524287 bytes=0-524287" ]
tail -c +524289 "$w/resumed.bin" | curl -sS -X PUT -H 'Content-Range: bytes 524288-1000000/1000001' --data-binary @- "$location" >"$w/resumed.json"
check "and goes on to the end" grep -q "$(md5sum <"$w/resumed.bin" | cut -c -32)" "$w/resumed.json"
check "ids made in advance are good after a restart" curl -sSf -X POST -H 'Content-Type: application/json' -d "{\"id\":\"$premade\",\"name\":\"premade\"}" \
	"$emu_url/_emu/raw/drive/v3/files"

# rclone
rclone_judges() {
	local front_url front i
	mkdir -p "$w/front"
	python3 "$here/tlsfront.py" "$w/front" "${emu_url##*:}" www.googleapis.com oauth2.googleapis.com accounts.google.com \
		>"$w/front.out" 2>"$w/front.err" &
	front=$!
	for ((i = 0; i < 100; i++)); do
		front_url=$(sed -n 's/^listening on /http:\/\//p' "$w/front.out")
		[ -z "$front_url" ] || break
		sleep 0.1
	done
	export RCLONE_CONFIG=$w/rclone.conf RCLONE_CA_CERT=$w/front/ca.pem HTTPS_PROXY=$front_url RCLONE_RETRIES=1 RCLONE_LOW_LEVEL_RETRIES=5 \
		RCLONE_DRIVE_PACER_MIN_SLEEP=1ms RCLONE_DRIVE_DISABLE_HTTP2=true
	cat >"$w/rclone.conf" <<END
[d]
type = drive
scope = drive
client_id = $id
client_secret = $secret
token = {"access_token":"ya29.of-yesterday","token_type":"Bearer","refresh_token":"$refresh","expiry":"2020-01-01T00:00:00Z"}
END
	mkdir -p "$w/tree/a b/c" "$w/tree/ünï+code" "$w/back"
	head -c 100000 /dev/urandom >"$w/tree/a b/one.bin"
	echo "two & <three>" >"$w/tree/a b/c/t'wo (2)~!*.txt"
	: >"$w/tree/empty"
	printf plus >"$w/tree/ünï+code/p+l%us=#?&.txt"
	for i in $(seq 30); do echo "$i" >"$w/tree/a b/c/n$i"; done
	head -c 26000001 /dev/urandom >"$w/large.bin"

	check "rclone lsd, with an expired token" rclone lsd d:
	check "rclone mkdir" rclone mkdir d:rc/fresh
	check "rclone copy a tree" rclone copy "$w/tree" d:rc/one
	check "rclone check it (md5)" rclone check "$w/tree" d:rc/one
	check "rclone check it by download" rclone check --download "$w/tree" d:rc/one
	in_shell "rclone lsf -R names every file" 'diff <(cd "$w/tree" && find . -type f | cut -c3- | sort) <(rclone lsf -R --files-only d:rc/one | sort)'
	in_shell "paging: the same names a few at a time, empty pages between" \
		'emu "set?page_max=7&empty_pages=1" && diff <(cd "$w/tree" && find . -type f | cut -c3- | sort) <(rclone lsf -R --fast-list --files-only d:rc/one | sort); r=$?; emu reset; exit $r'
	check "rclone uploads a large file in a session" rclone copyto --drive-chunk-size 8Mi "$w/large.bin" d:rc/large.bin
	in_shell "its bytes are right" 'rclone cat d:rc/large.bin | cmp - "$w/large.bin"'
	check "rclone multi-threaded download" rclone copy --multi-thread-cutoff 1Mi --multi-thread-streams 4 d:rc/large.bin "$w/back"
	check "its bytes came back" cmp "$w/large.bin" "$w/back/large.bin"
	check "rclone copy by the server" rclone copyto d:rc/large.bin d:rc/copy.bin
	check "rclone moveto" rclone moveto d:rc/copy.bin "d:rc/moved to/x.bin"
	in_shell "the move left nothing" '! rclone lsf d:rc | grep -q copy.bin && rclone cat "d:rc/moved to/x.bin" | cmp - "$w/large.bin"'
	check "rclone moves a folder" rclone moveto d:rc/one d:rc/two
	check "what it held is there" rclone check "$w/tree" d:rc/two
	check "rclone sync" rclone sync "$w/tree" d:rc/two
	check "rclone deletefile" rclone deletefile "d:rc/moved to/x.bin"
	check "rclone rmdir" rclone rmdir "d:rc/moved to"
	in_shell "rclone rmdir refuses a folder that is not empty" '! rclone rmdir d:rc/two'
	check "rclone about" rclone about d:
	in_shell "rclone cat a range" 'cmp <(rclone cat --offset 1000 --count 500 d:rc/large.bin) <(tail -c +1001 "$w/large.bin" | head -c 500)'
	in_shell "rclone goes on after a chunk that is kept in part" 'emu "set?chunk_partial_next=1" && rclone copyto --drive-chunk-size 8Mi "$w/large.bin" d:rc/again.bin && rclone cat d:rc/again.bin | cmp - "$w/large.bin"; r=$?; emu reset; exit $r'
	in_shell "rclone rides out throttling" 'emu "set?throttle_next=1&throttle_429_next=1" && rclone copyto "$w/tree/a b/one.bin" d:rc/throttled; r=$?; emu reset; exit $r'
	in_shell "rclone sees documents as their exports" 'curl -sSf -o /dev/null -X POST "$emu_url/_emu/raw/emu/doc?name=Letter&text=Dear" && rclone lsf d: | grep -qx Letter.docx && rclone cat d:Letter.docx | grep -q Dear'
	in_shell "rclone dedupe finds the twin" 'curl -sSf -o /dev/null -X POST "$emu_url/_emu/raw/emu/twin?id=$(rclone lsf --format i d:rc/throttled)" && rclone dedupe newest d:rc && [ "$(rclone lsf d:rc | grep -c throttled)" = 1 ]'
	check "rclone purge" rclone purge d:rc/fresh
	# What was stored survives the emulator; the proxy keeps leading there.
	emu_port=${emu_url##*:}
	emu_stop
	start
	check "after a restart the tree is still right" rclone check --download "$w/tree" d:rc/two
	in_shell "and the large file" 'rclone cat d:rc/large.bin | cmp - "$w/large.bin"'
	kill "$front"
}
if [ ! -e "$here/tlsfront.py" ] || ! command -v rclone >/dev/null || ! command -v python3 >/dev/null; then
	judge_n=$((judge_n + 1))
	echo "ok $judge_n - rclone # SKIP rclone or python3 is not installed"
else
	rclone_judges
fi
judge_done
