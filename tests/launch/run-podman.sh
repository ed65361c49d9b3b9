#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# weir run with engine podman, with an image made here from one static busybox.
# weir-test: timeout=240 slow=yes
. "$(dirname "$0")/../lib.sh"
[ -e /dev/fuse ] || skip_all "no /dev/fuse"
[ "$(id -u)" = 0 ] || skip_all "not root"
command -v podman > /dev/null || skip_all "podman is not installed"
busybox=$(command -v busybox) && ! ldd "$busybox" > /dev/null 2>&1 || skip_all "no static busybox (package busybox-static) to make an image of"
unset WEIR_PODMAN_ARGS
export PODMAN_IGNORE_CGROUPSV1_WARNING=1	# podman 5 says it at every start
LIMIT=120
conf_local a b
R=$T/remote
export XDG_RUNTIME_DIR=$T/run
mkdir "$XDG_RUNTIME_DIR"

# --- an image, and a podman that can run it ----------------------------------------------------------------------------
mkdir -p "$T/image/bin" "$T/image/tmp" "$T/image/etc"
cp "$busybox" "$T/image/bin/busybox"
for a in sh cat ls echo sleep id env touch dd md5sum mkdir; do ln -s busybox "$T/image/bin/$a"; done
STORE="--root $T/containers --runroot $T/runroot --storage-driver vfs"
podman_can() { timeout 60 $1 run --rm weir-test-image true > "$T/podman.log" 2>&1; }
# shellcheck disable=SC2086
tar -C "$T/image" -c . | timeout 60 podman $STORE import - weir-test-image > "$T/podman.log" 2>&1 || skip_all "podman import: $(tail -n 1 "$T/podman.log")"
ln -s busybox "$T/image/bin/true"
tar -C "$T/image" -c . | timeout 60 podman $STORE import - weir-test-image > "$T/podman.log" 2>&1
WEIR_PODMAN="podman $STORE"
if ! podman_can "$WEIR_PODMAN"; then
	# where limits may not be raised, and only runc runs
	printf '[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]\n' > "$T/containers.conf"
	export CONTAINERS_CONF=$T/containers.conf
	WEIR_PODMAN="podman $STORE --runtime runc"
	podman_can "$WEIR_PODMAN" || skip_all "podman cannot run a container here: $(grep . "$T/podman.log" | tail -n 1)"
fi
export WEIR_PODMAN
cleanup() { timeout 30 $WEIR_PODMAN rm -af > /dev/null 2>&1; timeout 30 $WEIR_PODMAN rmi -af > /dev/null 2>&1; timeout 20 umount -R "$T/containers" "$T/runroot" 2> /dev/null; }
job() { run "$WEIR" run -q -c "$CONF" --image weir-test-image "$@"; }

# --- jobs --------------------------------------------------------------------------------------------------------------
echo seed > "$R/a/seed"
job -- cat /storage/a/seed
is "the job reads from /storage" "$out" seed
is "its status is 0" "$rc" 0
job -- sh -c 'dd if=/dev/urandom of=/storage/b/model bs=100k count=20 2> /dev/null; md5sum < /storage/b/model; mkdir /storage/b/d; echo x > /storage/b/d/x; exit 9'
is "its exit status is kept" "$rc" 9
is "what it wrote is on the storage when it has ended" "$(md5sum < "$R/b/model") $(cat "$R/b/d/x")" "$out x"
is "nothing is left of its mount" "$(ls "$XDG_RUNTIME_DIR"; mounts_of "$CONF")" ""
is "nor of its container" "$(timeout 30 $WEIR_PODMAN ps -aq)" ""
run bash -c "printf 'a b' | '$WEIR' run -c '$CONF' --image weir-test-image -- cat"
is "standard input is passed on" "$out" "a b"
printf 'FROM_FILE=file\n' > "$T/env"
job --workdir /storage/a --env X=1 --env-file "$T/env" -- sh -c 'cat seed; echo $X $FROM_FILE'
is "--workdir, --env and --env-file" "$out" "seed
1 file"
job --storage /a:ro -- sh -c 'cat /storage/seed; touch /storage/new'
like "--storage PATH:ro" "$out $err" "seed.*[Rr]ead-only"
AWS_SECRET_ACCESS_KEY=hush job -- env
unlike "the container gets nothing of the environment here" "$out" "hush"
job --rootfs "$T/image" -- true
is "--image and --rootfs together" "$rc" 240
run "$WEIR" run -q -c "$CONF" --rootfs "$T/image" -- cat /storage/a/seed
is "--rootfs" "$out" seed
job --image no-such-image-at-all.invalid/x -- true
is "an image that is not there is the engine's failure" "$rc" 243
like "and podman's reason is seen" "$err" "no-such-image|engine 'podman' could not run the job"
is "nothing is left of its mount" "$(ls "$XDG_RUNTIME_DIR")" ""
job -- /no/such/command
is "no such command: 127" "$rc" 127

# --- signals and time --------------------------------------------------------------------------------------------------
"$WEIR" run -q -c "$CONF" --image weir-test-image --name weir-test-signal -- sh -c 'trap "echo got > /storage/a/got; exit 43" TERM; touch /storage/a/ready; while :; do sleep 0.1; done' &
pid=$!
start_mount_seen() { [ -e "$(mounts_of "$CONF" | head -n 1)/a/ready" ]; }
if wait_for 60 start_mount_seen; then pass "a job starts"; else fail "a job starts"; fi
kill -TERM $pid
wait $pid
is "SIGTERM is passed on, and the job's answer kept" $? 43
is "with what it wrote" "$(cat "$R/a/got")" got
job --time 3s -- sh -c 'echo before > /storage/a/before; while :; do sleep 0.1; done'
is "a time limit ends a job that ignores TERM" "$rc" 245
is "with its container" "$(timeout 30 $WEIR_PODMAN ps -q)" ""
is "what it wrote until then is sent" "$(cat "$R/a/before")" before

# --- a worker that is replaced under a running job ---------------------------------------------------------------------
start_mount
rm -f "$R/a/ready"
"$WEIR" run -q -c "$CONF" --image weir-test-image -- sh -c 'touch /storage/a/up; while [ ! -e /storage/a/go ]; do sleep 0.1; done; cat /storage/a/go; echo after > /storage/b/after' > "$T/out" &
pid=$!
wait_for 60 test -e "$MNT/a/up"
old=$(worker_pid)
kill -KILL "$old"
new_worker() { local w; w=$(worker_pid 2> /dev/null) && [ -n "$w" ] && [ "$w" != "$old" ]; }
if wait_for 20 new_worker; then pass "a killed worker is replaced"; else fail "a killed worker is replaced"; fi
echo go > "$MNT/a/go"
wait $pid
is "the job in the container goes on" $? 0
is "reads" "$(cat "$T/out")" go
is "and writes" "$(cat "$R/b/after")" after
is "the mount that was there stays" "$(findmnt -n -o FSTYPE "$MNT")" fuse.weir
stop_mount
done_testing
