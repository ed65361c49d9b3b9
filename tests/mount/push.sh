#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Nextcloud's notify_push: what others change is seen as it happens, a quiet server costs nothing, and when the daemon, the network or the
# address it names is no good, the walk over folder versions takes over and says why. A server of this test's own, because its faults are its own.
# weir-test: timeout=500 beside=yes
. "$(dirname "$0")/../lib.sh"
here=$(dirname "$0")
emu=$WEIR_BUILDDIR/tests/emulators/ncemu
[ -x "$emu" ] || skip_all "no ncemu in this build"
export no_proxy=127.0.0.1 PYTHONDONTWRITEBYTECODE=1

"$emu" --port 0 --dir "$T/emu" --user alice --password secret --die-with-parent > "$T/emu.out" 2>&1 &
wait_for 10 grep -q listening "$T/emu.out" || bail "ncemu says nothing" "$(cat "$T/emu.out")"
port=$(sed -n 's/.*127.0.0.1:\([0-9]*\)$/\1/p' "$T/emu.out")
url=http://127.0.0.1:$port
emu() { curl -sSf -X POST "$url/_emu/$1" > /dev/null; }
asked() { json "$(curl -sS "$url/_emu/stats")" "v['ops'].get('$1', 0)"; }

conf_push() {	# URL [LINE…]: $CONF, with a cache of its own each time
	_caches=$((${_caches:-0} + 1))
	{
		printf '[weir]\ncache_dir = %s\n[remote nc]\ntype = nextcloud\nurl = %s\nuser = alice\npassword = secret\n' "$T/cache$_caches" "$1"
		shift
		[ $# -eq 0 ] || printf '%s\n' "$@"
		printf '[namespace]\n/ = nc\n'
	} > "$CONF"
	chmod 600 "$CONF"
}
state() { json "$("$WEIR" status --json "$MNT")" "v['remotes'][0]['$1']"; }
is_watched() { [ "$(state watch)" = "$1" ]; }
watched() {	# PROMISE HOW SECONDS
	wait_for "$3" is_watched "$2"
	is "$1" "$(state watch)" "$2"
}
seen() {	# PROMISE ROUNDS: within the 10 s that are promised for Nextcloud
	run python3 "$here/push.py" "$url" alice "$MNT" "$2" 10
	if [ $rc -eq 0 ]; then
		pass "$1"
		echo "# $out" | sed 's/seen \([0-9]*\) \([0-9]*\)/seen after \1 ms (median), \2 ms (most)/'
	else
		fail "$1" "$out" "$err"
	fi
}
remount() {	# as conf_push; the old configuration must be there while the mount ends
	stop_mount || fail "it ends" "$out" "$err"
	conf_push "$@"
	start_mount
	ls "$MNT" > /dev/null
}

# --- it is there ---
emu "set?push=1"
conf_push "$url"
run "$WEIR" check -v -c "$CONF"
like "weir check says that changes are told" "$out" "told by the server as they happen"
start_mount
ls "$MNT" > /dev/null
watched "the status says that the server tells changes" push 20
like "and people can read it" "$("$WEIR" status "$MNT")" 'changes elsewhere: told by the server as they happen'
seen "what others change is seen as it happens" 3
emu "set?push_quiet_ms=0"
seen "the same from a daemon that does not wait for quiet" 2
emu "set?etag_late_ms=1500"
seen "also when folders' versions move later than the news comes" 1
emu "set?etag_late_ms=0&push_quiet_ms=500"

if [ -n "${WEIR_TEST_QUICK:-}" ]; then
	skip "an idle minute" "takes more than a minute"
else
	# What was told before is looked at again 2 and 10 s later; on a busy machine some of that is still to come.
	calm() { local n; n=$(state requests); sleep 11; [ "$(state requests)" = "$n" ]; }
	wait_for 60 calm
	before=$(state requests)
	sleep 60
	n=$(($(state requests) - before))
	echo "# $n requests in an idle minute"
	if [ $n -le 3 ]; then	# one of the slow looks, with what it finds to ask
		pass "an idle minute costs next to nothing"
	else
		fail "an idle minute costs next to nothing" "$n requests"
	fi
	is "and the connection outlives pings and idle minutes" "$(state watch)" push
fi

# --- our own changes are no news to trip over ---
mkdir "$MNT/own"
for i in $(seq 50); do echo "$i" > "$MNT/own/$i"; done
check "what was written here arrives" "$WEIR" flush "$MNT"
is "and stays as it is" "$(cat "$MNT"/own/* | sort -n | tail -1) $(ls "$MNT/own" | wc -l)" "50 50"
unlike "no conflict with ourselves" "$(ls "$MNT/own")" conflict

# --- it goes away, it comes back ---
emu "set?push_down=1"
watched "without the daemon the walk takes over" walk 10
seen "and sees what others change" 1
wait_for 20 sh -c "'$WEIR' status --json '$MNT' | grep -q 'push_error.*502'"
like "the status says why" "$(state push_error)" "502"
emu "set?push_down=0"
# Three failed tries, which a slow machine may have made by now, put the next off by up to 90 s.
watched "when the daemon is back, so is its word" push 100
seen "and it is heard" 1

emu "set?push_deaf=1"
watched "a connection that has died in silence is found out" walk 45
emu "set?push_deaf=0"
seen "and the walk sees what others change" 1
watched "until there is a new one" push 100

# --- it is not wanted, or there are no tokens ---
emu "set?push_no_tokens=1"
remount "$url"
watched "a server without tokens is given the password, where it goes anyway" push 20
emu "set?push_no_tokens=0"
emu reset
emu "set?push=1"
remount "$url" "push = no"
emu reset
emu "set?push=1"
sleep 3
is "push = no: the walk" "$(state watch)" walk
is "and the daemon is left alone" "$(asked push)" 0
emu "set?push=0"
remount "$url"
sleep 3
is "a server without it: the walk" "$(state watch)" walk
is "which is no trouble to report" "$(state push_error)" ""

# --- through a proxy, over TLS, with the authority given ---
mkdir "$T/front"
python3 "$here/../emulators/tlsfront.py" "$T/front" "$port" cloud.example.test > "$T/front.out" 2>&1 &
wait_for 30 grep -q listening "$T/front.out" || bail "tlsfront says nothing" "$(cat "$T/front.out")"
front=$(sed -n 's/.*listening on //p' "$T/front.out")
emu "set?push=1&push_tls=1"
remount https://cloud.example.test "proxy = http://$front" "ca_file = $T/front/ca.pem"
watched "over TLS, through a proxy, by the authority of ca_file" push 20
seen "what others change is seen there too" 1
emu "set?push_tls=0"
remount https://cloud.example.test "proxy = http://$front" "ca_file = $T/front/ca.pem"
wait_for 20 sh -c "'$WEIR' status --json '$MNT' | grep -q not.encrypted"
is "an address that is not encrypted is not used by a server that is" "$(state watch)" walk
like "the status names it" "$(state push_error)" "'ws://cloud.example.test/push/ws', which is not encrypted"
if stop_mount; then pass "and it ends"; else fail "and it ends" "$out" "$err"; fi
done_testing
