#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# weir run --dry-run tells what would be done, and does nothing.
# weir-test: timeout=60 asan=yes
. "$(dirname "$0")/../lib.sh"
unset WEIR_PODMAN WEIR_PODMAN_ARGS
conf_local a b
mkdir "$T/bin"
printf '#!/bin/sh\ntouch %s/was-run\n' "$T" > "$T/bin/podman"
chmod +x "$T/bin/podman"
PATH=$T/bin:$PATH

check "engine none" "$WEIR" run -c "$CONF" --dry-run -- touch "$T/was-run"
is "its steps" "$out" "1. check that every remote of $CONF answers and lets us in: a (local), b (local)
2. mount it for this job alone, as MOUNT, with its cache in $T/cache; look at '/' afresh
3. run with '/' at /storage: unshare --mount sh -c 'mount --rbind \"\$0\" /storage && exec \"\$@\"' MOUNT touch $T/was-run
4. send all that was written below '/', and wait until the storages have it
5. unmount, unless another job uses the mount"

check "engine podman" "$WEIR" run -c "$CONF" -n --image img:1 --name job1 --storage /a/data/:ro --workdir /w --env A=1 --env 'B=x y' --cpus 1.5 \
    --memory 1GiB --time 2h -- python3 -c 'print("it'"'"'s")'
is "its steps" "$out" "1. check that every remote of $CONF answers and lets us in: a (local), b (local)
2. mount it for this job alone, as MOUNT, with its cache in $T/cache; look at '/a/data' afresh
3. run with '/a/data' at /storage (read-only), for 2h at most: podman run --rm -i --name job1 --label weir.job=job1 --volume MOUNT:/storage:ro,rslave --env WEIR_JOB --env A --env B --env NVIDIA_VISIBLE_DEVICES=none --workdir /w --cpus 1.5 --memory 1073741824b --shm-size 536870912b --pull never img:1 python3 -c 'print(\"it'\\''s\")'
4. send all that was written below '/a/data', and wait until the storages have it
5. unmount, unless another job uses the mount"

check "a folder as root" "$WEIR" run -c "$CONF" -n --rootfs /:O --name j -- id
like "it stands before the command" "$out" ' --env NVIDIA_VISIBLE_DEVICES=none --rootfs /:O id$'
WEIR_PODMAN="podman --runtime runc" WEIR_PODMAN_ARGS="--userns=host --network none" \
    run "$WEIR" run -c "$CONF" -n --image i --name j -- id
like "WEIR_PODMAN and WEIR_PODMAN_ARGS" "$out" 'podman --runtime runc run --rm -i --name j .* --userns=host --network none --pull never i id$'

printf 'SECRET=hush\n' > "$T/env"
check "an env file" "$WEIR" run -c "$CONF" -n --image i --env-file "$T/env" -- id
like "is handed on by name" "$out" "--env SECRET .* i id"
unlike "its values are not shown" "$out" hush

check "--json" "$WEIR" run -c "$CONF" -n --json --name j -- id
is "json: engine" "$(json "$out" 'v["engine"]')" none
is "json: five steps" "$(json "$out" 'len(v["steps"])')" 5
check "without a configuration there is one step" "$WEIR" run -n -- echo hi
is "and it says so" "$out" "1. run without storage: echo hi"

if [ -e "$T/was-run" ]; then fail "nothing was run"; else pass "nothing was run"; fi
if [ -e "$T/cache" ] || is_mounted "$MNT"; then fail "nothing was mounted"; else pass "nothing was mounted"; fi

# --- what cannot be ----------------------------------------------------------------------------------------------------
no() { refuse "$1" 240 "$2" "$WEIR" run -c "$CONF" -n "${@:3}" -- true; }
no "an unknown engine" "unknown engine 'lxc'; there are: podman, docker, apptainer, charliecloud, none" --engine lxc
no "podman without an image" "needs --image NAME or --rootfs FOLDER" --engine podman
no "an image and a rootfs" "exclude each other" --image i --rootfs /
no "none with an image" "it has no --image" --engine none --image i
no "none with a memory limit" "it has no --memory" --memory 1GB
no "none with a processor limit" "it has no --cpus" --cpus 2
no "a time that is none" "--time 'soon'" --time soon
no "a memory that is none" "--memory 'much'" --engine podman --image i --memory much
no "processors that are none" "--cpus 'all'" --engine podman --image i --cpus all
no "a relative --storage" "--storage 'data'" --storage data
no "a --storage that climbs" "--storage '/a/../b'" --storage /a/../b
no "a --storage with another suffix" "after ':' stands ro or rw" --storage /a:rx
no "a name with a blank" "--name 'a b'" --name 'a b'
no "an env that is none" "--env: '=x' is not NAME=VALUE" --env =x
no "an env file that is not there" "--env-file '$T/none': No such file" --env-file "$T/none"
refuse "storage without a configuration" 240 "there is none" "$WEIR" run -n --storage /a -- true
refuse "no command" 240 "engine 'none' needs a command" "$WEIR" run -c "$CONF" -n --
WEIR_PODMAN=$T/bin/none refuse "podman that is not there" 243 "'$T/bin/none' is not installed here" "$WEIR" run -c "$CONF" --engine podman --image i -- true
done_testing
