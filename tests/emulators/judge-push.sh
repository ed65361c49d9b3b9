#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The Nextcloud emulator's push socket (notify_push) judged by a WebSocket client nobody here wrote.
# usage: judge-push.sh [BUILDDIR]
here=$(cd "$(dirname "$0")" && pwd)
. "$here/judge-lib.sh"
build=${1:-${BUILDDIR:-.}}
judge_need python3 curl
# Debian's package is for Debian's Python, which need not be the first in the path.
python=
for p in /usr/bin/python3 python3; do
	[ -n "$python" ] || ! "$p" -c 'import websockets' 2>/dev/null || python=$p
done
[ -n "$python" ] || judge_skip "python3-websockets is not installed"
ncemu=$build/tests/emulators/ncemu
[ -x "$ncemu" ] || judge_skip "$ncemu is not built"

emu_start "$ncemu" --dir "$judge_dir/data" --user alice --password "pa ss:wörd"
set_switch() { curl -sSf -X POST "$emu_url/_emu/set?$1" >/dev/null; }
judge() { check "$1" "$python" -W ignore "$here/judge-push.py" "$emu_url" alice "pa ss:wörd" "$2"; }

set_switch push=1
judge "the capability names type and addresses" capability
judge "user and password are taken, a change is told" by_password
judge "a token is taken, once" by_token
judge "a wrong password is refused in the daemon's words" wrong_password
judge "a binary message is no user name" binary_first
judge "ids are told to who asks for them, many in one message" ids
judge "pings are answered, a wrong pong ends it" pings
set_switch push_down=1
judge "a daemon that is away is a 502" down
judge_done
