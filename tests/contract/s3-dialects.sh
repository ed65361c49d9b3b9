#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The whole contract against S3 servers that differ in what they keep, spell and break: s3emu with its switches.
# usage: s3-dialects.sh [BUILDDIR]; TAP, one point a dialect.
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../emulators/judge-lib.sh"
build=${1:-${BUILDDIR:-.}}
program=$build/tests/contract/contract s3emu=$build/tests/emulators/s3emu
[ -x "$s3emu" ] && [ -x "$program" ] || judge_skip "$s3emu and $program are not built"
export LC_ALL=C.UTF-8
umask 077
export OUT=$judge_dir/contract
key=AKIADIALECT secret='dia/lect+secret' run=0

start() {	# [ARGS…]: a fresh server
	run=$((run + 1))
	: > "$judge_dir/listening"	# what the last server said is not for this one
	emu_start "$s3emu" --dir "$judge_dir/data$run" --access-key $key --secret-key "$secret" --bucket dialect "$@"
	conf_extra= conf_url=$emu_url
}

set_switch() { curl -sS -f -m 10 -o /dev/null -X POST "$emu_url/_emu/set?$1"; }

contract() {	# NAME [PROMISE]: all promises kept
	printf '[remote r]\ntype = s3\nendpoint = %s\nbucket = dialect\naccess_key = %s\nsecret_key = %s\npart_size = 5MiB\n%s\n' \
	    "$conf_url" $key "$secret" "$conf_extra" > "$judge_dir/weir.conf"
	check "$1" bash -c 'timeout -k 5 100 "$0" "$@" > "$OUT"; r=$?; grep -v "^ok" "$OUT"; exit $r' "$program" "$judge_dir/weir.conf" r ${2:+"$2"}
}

said() {	# NAME PATTERN: the last contract said so
	judge_n=$((judge_n + 1))
	if grep -qE -- "$2" "$OUT"; then
		echo "ok $judge_n - $1"
	else
		echo "not ok $judge_n - $1"
		grep "^#" "$OUT" | head -n 20
		judge_failed=$((judge_failed + 1))
	fi
}

start
contract "a server that keeps everything"
said "check says what is kept" 'conditional removal: kept'
emu_stop

start
set_switch 'ignore_if_put=1&ignore_if_complete=1&ignore_if_copy=1&ignore_if_delete=1'
contract "a server that ignores every precondition"
said "check names the window that remains" 'compared right before: a change by somebody else within about [0-9.]+ ms'
emu_stop

start
set_switch 'refuse_conditionals=1'
contract "a server that refuses preconditions (501)"
emu_stop

start
set_switch 'if_match_unquoted=1'
contract "a server that wants ETags without quotes"
said "check says so" 'replace kept \(ETag without quotes\)'
emu_stop

start
set_switch 'list_v1_only=1&short_pages=7'
contract "a server that lists by the old protocol, seven entries a page"
emu_stop

start
set_switch 'short_pages=3'
contract "a server with short pages"
emu_stop

start
set_switch 'etag_unquoted=1&random_multipart_etag=1'
contract "a server with bare ETags, and some that cannot be foreseen"
emu_stop

start
set_switch 'ignore_range=1'
contract "a server without ranges"
emu_stop

start --region eu-west-9
contract "a bucket in another region (400)" what_is_put_is_what_is_got
set_switch 'region_redirect=1'
contract "a bucket in another region (301)" what_is_put_is_what_is_got
emu_stop

start --session-token 'session/token+=='
cat > "$judge_dir/token" <<-'END'
	if [ -e "$0.used" ]; then echo 'session/token+=='; else : > "$0.used"; echo expired; fi
END
conf_extra="session_token_command = sh $judge_dir/token"
set_switch 'expired_token_next=1'
contract "a session token that expired and is read again" what_is_put_is_what_is_got
emu_stop

start
set_switch 'clock_skew=4000'
contract "a server whose clock is an hour ahead"
emu_stop

start
set_switch 'complete_error_200_next=2&copy_error_200_next=2&conflict_next=2'
contract "errors inside a 200, and conflicts that pass"
emu_stop

start
set_switch 'after_success_rate=0.05&after_success_status=500'
contract "changes that are done and answered with 500"
emu_stop

start
set_switch 'after_success_rate=0.05&after_success_reset=1&reset_rate=0.02&truncate_rate=0.02'
contract "lost replies, resets and cut answers"
emu_stop

start
set_switch 'error_rate=0.05&error_status=503&error_code=SlowDown'
contract "a server that asks to slow down"
emu_stop
judge_done
