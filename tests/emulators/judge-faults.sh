#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The faults of the emulators do what they say, and only to whom they should. curl is the witness.
# usage: judge-faults.sh [BUILDDIR]
here=$(cd "$(dirname "$0")" && pwd)
. "$here/judge-lib.sh"
build=${1:-${BUILDDIR:-.}}
judge_need curl
ncemu=$build/tests/emulators/ncemu
delayproxy=$build/tests/servers/delayproxy
[ -x "$ncemu" ] && [ -x "$delayproxy" ] || judge_skip "$ncemu or $delayproxy is not built"
w=$judge_dir

emu_start "$ncemu" --dir "$w/data" --user u --password p
f=$emu_url/remote.php/dav/files/u
me() { curl -sS -u u:p "$@"; }
emu() { curl -sSf -o /dev/null -X POST "$emu_url/_emu/$1"; }
stat_of() { curl -sS "$emu_url/_emu/stats" | tr -d ' \n' | grep -q "$1"; }
code() { local c; c=$(me -o "$w/body" -w '%{http_code}' "${@:2}"); [ "$c" = "$1" ] || { echo "HTTP $c instead of $1"; false; }; }
# within LOW HIGH COMMAND: it succeeds and takes that many milliseconds.
within() {
	local low=$1 high=$2 start now
	shift 2
	start=$(date +%s%3N)
	"$@" || return 1
	now=$(($(date +%s%3N) - start))
	[ "$now" -ge "$low" ] && [ "$now" -le "$high" ] || { echo "$now ms is not within $low..$high"; false; }
}
# fails CURL_STATUS ARGS...
fails() {
	local want=$1 got=0
	shift
	me -o "$w/body" "$@" || got=$?
	[ "$got" = "$want" ] || { echo "curl: $got instead of $want"; false; }
}
many() { seq 256 | xargs -P 64 -I{} curl -sS -o /dev/null -u u:p "$f/small?{}"; }
export w emu_url f delayproxy
judge_functions=(me emu stat_of code within fails many)

head -c 1000000 /dev/urandom >"$w/mega"
echo small >"$w/small"
in_shell "without faults" 'code 201 -T $w/mega "$f/mega" && code 201 -T $w/small "$f/small" && within 0 1000 me -o $w/back "$f/mega" && cmp $w/back $w/mega'
in_shell "latency_ms waits before each request" 'emu "set?latency_ms=200" && within 200 1500 me -o /dev/null "$f/small"'
in_shell "64 connections wait at the same time" 'emu reset && emu "set?latency_ms=500" && within 1900 9000 many && stat_of "\"max_in_flight\":[3-6][0-9]" && stat_of "\"requests\":256"'
in_shell "bandwidth holds for downloads" 'emu reset && emu "set?bandwidth=1000000" && within 850 3000 me -o $w/back "$f/mega" && cmp $w/back $w/mega'
in_shell "and for uploads" 'within 850 3000 me -o /dev/null -T $w/mega "$f/mega"'
in_shell "error_next refuses exactly so many, of the operation named" \
	'emu reset && emu "set?error_next=2&error_status=503&retry_after=7&fault_op=files%20GET" && code 207 -X PROPFIND "$f/" && code 503 "$f/small" && code 503 -D $w/head "$f/small" && grep -qi "Retry-After: 7" $w/head && code 200 "$f/small"'
in_shell "error_rate=0.5 refuses about half" 'emu reset && emu "set?error_rate=0.5&seed=3" && n=0; for i in $(seq 40); do code 200 "$f/small" >/dev/null && n=$((n + 1)); done; echo $n; [ $n -gt 8 ] && [ $n -lt 32 ]'
in_shell "reset_next: connection reset" 'emu reset && emu "set?reset_next=1" && fails 56 "$f/small" && code 200 "$f/small" && stat_of "\"reset\":1"'
in_shell "reset_after_bytes: in the middle of a body" 'emu "set?reset_next=1&reset_after_bytes=300000" && ! me -o $w/part "$f/mega" && [ "$(stat -c %s $w/part)" -le 300000 ]'
in_shell "truncate_next: less than Content-Length says" 'emu reset && emu "set?truncate_next=1" && fails 18 "$f/mega" && [ "$(stat -c %s $w/body)" = 500000 ]'
in_shell "stall_next holds one request and no other" 'emu reset && emu "set?stall_next=1&fault_path=small" && { (me -m 3 -o /dev/null "$f/small"; echo $? >$w/held) & } && sleep 0.3 && within 0 1000 code 200 "$f/mega" && within 0 1000 code 200 "$f/small" && wait && [ "$(cat $w/held)" = 28 ]'
in_shell "stall_ms ends it" 'emu reset && emu "set?stall_next=1&stall_ms=700" && within 700 3000 code 200 "$f/small"'
in_shell "stall_after_bytes: in the middle of a download" 'emu reset && emu "set?stall_next=1&stall_after_bytes=250000" && ! me -m 1 -o $w/part "$f/mega" && [ "$(stat -c %s $w/part)" = 250000 ]'
in_shell "stall_all stops bodies in flight and lets them go on" 'emu reset && emu "set?bandwidth=500000" && { (me -m 20 -o $w/back "$f/mega"; echo $? >$w/held) & } && sleep 0.5 && emu "set?stall_all=1" && sleep 0.3 && a=$(stat -c %s $w/back) && sleep 0.7 && b=$(stat -c %s $w/back) && [ "$a" = "$b" ] && [ "$a" -lt 1000000 ] && emu "set?stall_all=0&bandwidth=0" && wait && [ "$(cat $w/held)" = 0 ] && cmp $w/back $w/mega'
in_shell "after_success_next: done, and answered with 500" 'emu reset && emu "set?after_success_next=1" && code 500 -T $w/small "$f/new" && code 200 "$f/new" && stat_of "\"lost\":1"'
in_shell "after_success_reset: done, and reset" 'emu reset && emu "set?after_success_next=1&after_success_reset=1" && ! me -T $w/small "$f/new2" && code 200 "$f/new2"'
in_shell "etag_gzip and etag_weak" 'emu reset && emu "set?etag_gzip=1" && me -I "$f/small" | grep -qi "^etag: \"[0-9a-f]*-gzip\"" && emu "set?etag_gzip=0&etag_weak=1" && me -I "$f/small" | grep -qi "^etag: W/\"[0-9a-f]*\""'
in_shell "locked_next, unauthorized_next, ignore_conditionals" 'emu reset && emu "set?locked_next=1" && code 423 -T $w/small "$f/small" && emu "set?unauthorized_next=1" && code 401 "$f/small" && emu "set?ignore_conditionals=1" && code 204 -H "If-Match: \"no\"" -T $w/small "$f/small"'
in_shell "move_504_next: moved, and answered with 504" 'emu reset && emu "set?move_504_next=1" && code 504 -X MOVE -H "Destination: $f/new3" "$f/new2" && code 200 "$f/new3"'
in_shell "a switch that does not exist is an error" '! emu "set?nonsense=1" 2>/dev/null'
in_shell "/_emu/raw needs no password, and is not counted" 'emu reset && emu "set?error_rate=1" && curl -sSf -o /dev/null "$emu_url/_emu/raw/remote.php/dav/files/u/small" && stat_of "\"requests\":0"; r=$?; emu reset; exit $r'

# delayproxy: a round trip costs twice the delay; the black hole holds and lets go.
"$delayproxy" 0 "${emu_url##*:}" 100 >"$w/relay" &
relay=$!
for _ in $(seq 50); do [ -s "$w/relay" ] && break; sleep 0.05; done
far="http://$(sed 's/listening on //' "$w/relay")/remote.php/dav/files/u"
export far relay
in_shell "delayproxy delays each way" 'within 200 900 code 200 "$far/small" && me -o $w/back "$far/mega" && cmp $w/back $w/mega'
in_shell "SIGUSR1: accepted and never answered" 'kill -USR1 $relay && ! me -m 1 -o /dev/null "$far/small" && (echo >/dev/tcp/127.0.0.1/"$(echo "$far" | sed "s/.*:\([0-9]*\).*/\1/")")'
in_shell "SIGUSR2: what was held goes through" '{ (me -m 20 -o /dev/null "$far/small"; echo $? >$w/held) & } && sleep 0.5 && kill -USR2 $relay && wait && [ "$(cat $w/held)" = 0 ] && code 200 "$far/small"'
kill "$relay"
judge_done
