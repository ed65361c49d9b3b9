#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What others change shows up by itself: files, names, sizes, cached pages; how soon is printed, and held against what is promised (Dropbox 3 s, Drive
# and Nextcloud 10 s, S3 and WebDAV by listing age, 30 s). And nobody looking costs nothing: at most six requests a minute.
# weir-test: timeout=420 beside=yes
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/remotes.sh"
export T OWN PYTHONDONTWRITEBYTECODE=1
here=$(dirname "$0")

# Emulators of our own: what other tests do in an account is news for all of it, and would be counted in the idle minute.
own_emulators

kinds=()
for r in local rgw s3emu dav ncemu drive dropbox; do
	if have_remote $r; then kinds+=($r); else skip "$r" "$(why_not $r)"; fi
done
conf_remotes "${kinds[@]}"
start_mount

limit() {
	case $1 in
	dropbox) echo 3 ;;
	drive | ncemu) echo 10 ;;
	*) echo 32 ;;	# 30 s of age, and a look
	esac
}

prepare() {	# the folder of the test's own must be there
	case $1 in
	drive | dropbox) python3 -c "import sys; sys.path.insert(0, '$here'); from far import far; far('$1').mkdir('')" ;;
	esac
}

look() {	# KIND: its lines, for later
	prepare "$1" > "$T/look.$1" 2>&1 && PYTHONPATH=$here timeout 200 python3 "$here/watch.py" "$1" "$MNT/$1" "$(limit "$1")" >> "$T/look.$1" 2>&1 ||
	    echo "FAIL $1: the test came to its end" >> "$T/look.$1"
}

# The remotes are looked at side by side: most of the time is waiting.
pids=()
for r in "${kinds[@]}"; do
	look "$r" &
	pids+=($!)
done
wait "${pids[@]}"
for r in "${kinds[@]}"; do
	while IFS= read -r line; do
		case $line in
		PASS\ *) pass "${line#PASS }" ;;
		FAIL\ *) fail "${line#FAIL }" ;;
		*) echo "# ${line#\# }" ;;
		esac
	done < "$T/look.$r"
done

state() { json "$("$WEIR" status --json "$MNT")" "[r['$2'] for r in v['remotes'] if r['name']=='$1'][0]"; }
for r in "${kinds[@]}"; do
	case $r in
	drive | dropbox) is "$r: the status says that the storage tells changes" "$(state "$r" watch)" feed ;;
	ncemu) is "$r: the status says that folder versions are compared" "$(state "$r" watch)" walk ;;
	*) is "$r: the status says that listings grow old" "$(state "$r" watch)" age ;;
	esac
done
like "and people can read it" "$("$WEIR" status "$MNT")" 'changes elsewhere: '

# Nobody looks, at any of them, for the same minute. weir's own count is the witness: of the servers some are shared with other tests.
if [ -n "${WEIR_TEST_QUICK:-}" ]; then
	skip "an idle minute" "takes two and a half minutes"
	done_testing
fi
sleep 85
declare -A before
for r in "${kinds[@]}"; do before[$r]=$(state "$r" requests); done
sleep 60
for r in "${kinds[@]}"; do
	n=$(($(state "$r" requests) - before[$r]))
	echo "# $r: $n requests in an idle minute"
	if [ $n -le 6 ]; then pass "$r: an idle minute costs at most 6 requests"; else fail "$r: an idle minute costs at most 6 requests" "$n"; fi
done
unmounted "and it ends"
done_testing
