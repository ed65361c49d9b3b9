#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# weir run with engine charliecloud: a folder as image, and an image from a registry.
# weir-test: timeout=240 slow=yes net=own
. "$(dirname "$0")/../lib.sh"
[ -e /dev/fuse ] || skip_all "no /dev/fuse"
[ "$(id -u)" = 0 ] || skip_all "not root"
command -v ch-run > /dev/null || skip_all "charliecloud is not installed"
. "$(dirname "$0")/podman.inc"
. "$(dirname "$0")/registry.inc"
unset WEIR_CH_RUN WEIR_CH_IMAGE WEIR_CH_CONVERT WEIR_CH_RUN_ARGS USER
LIMIT=120
conf_local a b
R=$T/remote
export XDG_RUNTIME_DIR=$T/run XDG_CACHE_HOME=$T/xdg-cache
mkdir "$XDG_RUNTIME_DIR"

# --- a folder ----------------------------------------------------------------------------------------------------------
I=$T/image
mkdir -p "$I"/{bin,dev,etc,home,mnt,proc,root,srv,sys,tmp,usr/bin,var,storage,work,ch}
touch "$I"/etc/{passwd,group,hosts,resolv.conf}
podman_store
cp "$busybox" "$I/bin/busybox"
for a in sh cat ls echo sleep id env touch md5sum dd pwd mkdir true; do ln -s busybox "$I/bin/$a"; done
printf 'PATH=/bin\nFROM_IMAGE=image\nBOTH=image\n' > "$I/ch/environment"
run ch-run --help
USER=x timeout 20 ch-run "$I" -- /bin/true 2> "$T/ch.log" || skip_all "charliecloud cannot run a container here: $(tail -n 1 "$T/ch.log")"
job() { run "$WEIR" run -q -c "$CONF" --engine charliecloud --rootfs "$I" "$@"; }
nothing_left() { is "$1" "$(ls "$XDG_RUNTIME_DIR"; mounts_of "$CONF")" ""; }
echo seed > "$R/a/seed"
job -- cat /storage/a/seed
is "the job reads from /storage" "$out" seed
is "its status is 0" "$rc" 0
job -- sh -c 'dd if=/dev/urandom of=/storage/b/model bs=100k count=20 2> /dev/null; md5sum < /storage/b/model; mkdir /storage/b/d; echo x > /storage/b/d/x; exit 9'
is "its exit status is kept" "$rc" 9
is "what it wrote is on the storage when it has ended" "$(md5sum < "$R/b/model") $(cat "$R/b/d/x")" "$out x"
nothing_left "and nothing is left of its mount"
AWS_SECRET_ACCESS_KEY=hush HOST_ONLY=host job --env BOTH=option --env 'LINES=one
two' --env LD_PRELOAD=/none -- sh -c 'echo "$FROM_IMAGE $BOTH $HOME $LD_PRELOAD $WEIR_JOB $NVIDIA_VISIBLE_DEVICES [${CUDA_VISIBLE_DEVICES-unset}] ${HOST_ONLY-unset} $LINES $PATH"; env' --name chjob
like "variables: the image's, the job's, none of this host's" "$out" "^image option /root /none weir-[0-9a-f]+ none \[\] unset one"
like "a newline survives" "$out" "^two /bin$"
unlike "no secret" "$out" hush
printf 'PATH=/bin:/nowhere\n' > "$T/env"
job --env-file "$T/env" -- sh -c 'echo $PATH'
is "PATH is the job's to choose" "$out" /bin:/nowhere
job --storage /a:ro -- sh -c 'cat /storage/seed; touch /storage/new'
like "--storage PATH:ro, which ch-run has not" "$out $err" "seed.*[Rr]ead-only"
if [ -e "$R/a/new" ]; then fail "indeed"; else pass "indeed"; fi
mkdir "$T/code"
echo code > "$T/code/file"
run bash -c "cd '$T' && '$WEIR' run -q --engine charliecloud --rootfs '$I' --workdir code -- cat file"
is "--workdir of this host" "$out" code
job --workdir /storage/a -- pwd
is "--workdir in the job" "$out" /storage/a
job --cpus 1 --memory 1GB -- true
like "what it cannot do is said" "$err" "^weir: warning: engine 'charliecloud' cannot hold the job to its limits here: processors, memory"
is "once, and the job runs" "$rc $(grep -c warning <<< "$err")" "0 1"
"$WEIR" run -q -c "$CONF" --engine charliecloud --rootfs "$I" --name ch-signal -- sh -c 'trap "echo got > /storage/a/got; exit 43" TERM; touch /storage/a/ready; while :; do sleep 0.1; done' &
pid=$!
wait_for 30 grep -qs . "$XDG_RUNTIME_DIR"/*/storage/a/ready || wait_for 30 test -e "$R/a/ready"
run "$WEIR" exec ch-signal sh -c 'cat /storage/a/seed; ls /work; echo $WEIR_JOB'
is "weir exec is inside" "$rc $out" "0 seed
ch-signal"
kill -TERM $pid
wait $pid
is "SIGTERM is passed on, and the job's answer kept" $? 43
is "with what it wrote" "$(cat "$R/a/got")" got
job --time 1s -- sh -c 'trap "" TERM; while :; do sleep 0.2; done'
is "a time limit ends a job that ignores TERM" "$rc" 245
job -- /no/such/command
if [ "$rc" -ne 0 ]; then pass "no such command fails"; else fail "no such command fails"; fi
rmdir "$I/storage"
refuse "no place for the storage: the remedy is named" 240 "mkdir -p $I/storage' makes it" "$WEIR" run -c "$CONF" --engine charliecloud --rootfs "$I" -- true
mkdir "$I/storage"

# --- from a registry ---------------------------------------------------------------------------------------------------
if ! command -v docker-registry > /dev/null || ! command -v ch-image > /dev/null; then
	skip "an image from a registry" "docker-registry or ch-image is not installed"
	done_testing
fi
export PATH=/usr/bin:/bin:$PATH	# ch-image is Python's, and wants the one that its libraries are for
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1 -keyout "$T/registry.key" -out "$T/registry.crt" 2> /dev/null
REG_TLS=yes registry_start open
podman_image "$I" weir-test-image
# shellcheck disable=SC2086
printf 'FROM weir-test-image\nENV PATH=/bin FROM_IMAGE=pulled\nWORKDIR /srv\nCMD ["echo", "the command of the image"]\n' > "$T/Containerfile"
# shellcheck disable=SC2086
timeout 60 $WEIR_PODMAN build -q --isolation chroot -t weir-test-ch -f "$T/Containerfile" "$T/code" > "$T/build.log" 2>&1 ||
    { skip "an image from a registry" "podman build: $(tail -n 1 "$T/build.log")"; done_testing; }
# shellcheck disable=SC2086
timeout 60 $WEIR_PODMAN push -q --tls-verify=false weir-test-ch "docker://$reg/lab/ch:1" > "$T/push.log" 2>&1 || bail "podman push" "$(cat "$T/push.log")"
export REQUESTS_CA_BUNDLE=$T/registry.crt CH_IMAGE_STORAGE=$T/ch-image
run "$WEIR" run -c "$CONF" --engine charliecloud --image "$reg/lab/ch:1" -- sh -c 'echo $FROM_IMAGE; pwd; cat /storage/a/seed'
is "it is pulled, unpacked and run" "$rc $out" "0 pulled
/srv
seed"
[ "$rc" -eq 0 ] || diag <<< "$err"
like "with progress" "$err" "getting image"
run "$WEIR" run --engine charliecloud --image "$reg/lab/ch:1"
is "without a command: the image's own" "$out" "the command of the image"
unlike "and it is not pulled again" "$err" "getting image"
refuse "a wrong tag" 243 "^weir: image '$reg/lab/ch:2' cannot be had: the registry (has no such|wants a login)" "$WEIR" run --engine charliecloud --image "$reg/lab/ch:2" -- true
registry_stop
refuse "a registry that is away" 243 "cannot be had: the registry cannot be reached" "$WEIR" run --engine charliecloud --image "$reg/lab/ch:3" -- true
done_testing
