#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Jobs of people who cannot mount because there is no fusermount3: launcher, mount and job in a user and mount namespace.
# weir-test: timeout=180 asan=yes
. "$(dirname "$0")/../lib.sh"
[ -e /dev/fuse ] || skip_all "no /dev/fuse"
[ "$(id -u)" = 0 ] || skip_all "not root"
unset WEIR_PODMAN WEIR_PODMAN_ARGS
as="setpriv --reuid=65534 --regid=65534 --clear-groups"
$as unshare -U true 2> /dev/null || skip_all "this host gives users no user namespace"
[ -d /storage ] || mkdir /storage 2> /dev/null || skip_all "no /storage, and it cannot be made"

# All programs of this host but the one.
N=$T/nobody
mkdir -p "$T/bin" "$N/run" "$N/state" "$N/r"
for d in /usr/bin /bin /usr/sbin /sbin; do
	for f in "$d"/*; do
		[ "${f##*/}" = fusermount3 ] || [ "${f##*/}" = fusermount ] || [ -e "$T/bin/${f##*/}" ] || ln -s "$f" "$T/bin/"
	done
done
u="$as env PATH=$T/bin HOME=$N XDG_RUNTIME_DIR=$N/run XDG_STATE_HOME=$N/state"
printf '[weir]\ncache_dir = %s/cache\n[remote r]\ntype = local\npath = %s/r\n' "$N" "$N" > "$N/w.conf"
echo seed > "$N/r/seed"
chmod 600 "$N/w.conf"
chmod 755 "$T" "$HOME"
chown -R 65534:65534 "$N"
if [ "$(stat -c %a /dev/fuse)" != 666 ] && mknod -m 666 "$T/fuse" c 10 229 2> /dev/null; then mount --bind "$T/fuse" /dev/fuse; fi
[ "$(stat -c %a /dev/fuse)" = 666 ] || skip_all "/dev/fuse is not for all"
WEIR=$(for_all "$WEIR")
job() { run $u "$WEIR" run -c "$N/w.conf" "$@"; }
nothing_left() {	# PROMISE: no folder of a mount, nobody who serves
	local left
	left=$(ls "$N/run"; pgrep -u 65534 -f "weir mount -c $N/w.conf")
	is "$1" "$left" ""
}

refuse "weir mount says what is missing" 1 "fusermount3 .package fuse3. cannot be run: No such file" $u "$WEIR" mount -c "$N/w.conf" "$N/run"

# --- a job -------------------------------------------------------------------------------------------------------------
job -- sh -c 'cat /storage/r/seed; id -u; echo done > /storage/r/done; grep CapEff /proc/self/status; exit 7'
is "it reads, is who it was, and has no rights" "$out" "seed
65534
CapEff:	0000000000000000"
is "its status is kept" "$rc" 7
is "what it wrote is on the storage" "$(cat "$N/r/done")" done
is "and is its own" "$(stat -c %u "$N/r/done")" 65534
nothing_left "nothing is left of the mount"
job --dry-run -- true
like "the plan tells it" "$out" "in a user and mount namespace \(there is no fusermount3\)"
cd "$N" || bail "cd"
job -- pwd
is "it begins where it was called" "$out" "$N"
cd "$T" || bail "cd"

# --- two that share it -------------------------------------------------------------------------------------------------
$u "$WEIR" run -q -c "$N/w.conf" --name one -- sh -c "echo 1 > /storage/r/first; touch $N/first; while [ ! -e $N/go ]; do sleep 0.1; done; cat /storage/r/second" > "$T/one.out" 2>&1 &
wait_for 30 test -e "$N/first" || bail "the first job does not run" "$(cat "$T/one.out")"
job -- sh -c 'cat /storage/r/first; echo 2 > /storage/r/second'
is "a second job joins the first one's mount" "$rc: $out" "0: 1"
run $u "$WEIR" exec one cat /storage/r/second
is "weir exec enters the first" "$out" 2
touch "$N/go"
if wait $!; then pass "which ends well"; else fail "which ends well" "$(cat "$T/one.out")"; fi
is "and sees what the second wrote" "$(cat "$T/one.out")" 2
nothing_left "the last one takes the mount away"

# --- killed ------------------------------------------------------------------------------------------------------------
rm "$N/first"
$u "$WEIR" run -q -c "$N/w.conf" --name gone -- sh -c "echo orphaned > /storage/r/orphaned; touch $N/first; exec sleep 1000" > "$T/gone.out" 2>&1 &
wait_for 30 test -e "$N/first" || bail "the job does not run" "$(cat "$T/gone.out")"
kill -KILL $! $(pgrep -u 65534 -f "weir run -q -c $N/w.conf")
wait $! 2> /dev/null
run $u "$WEIR" gc
is "weir gc takes away what a killed one left" "$rc" 0
like "and says so" "$out" "the mount at '$N/run/weir-run\..*/storage', which no job used any more, has sent all and is unmounted"
is "what the job had written was sent" "$(cat "$N/r/orphaned")" orphaned
nothing_left "nothing is left"

# --- engines that would not see it -------------------------------------------------------------------------------------
printf '#!/bin/sh\nexit 0\n' > "$T/podman"
chmod 755 "$T/podman"
refuse "an engine that would not see it is refused before anything is pulled" 242 "fusermount3 is not installed.*engine 'podman' does not see.*--storage-mode stage" \
    $u WEIR_PODMAN="$T/podman" "$WEIR" run -q -c "$N/w.conf" --engine podman --image any/thing -- true
done_testing
