#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What jobs must not be able to do to the one who started them, and what must not happen when something of theirs is half gone.
# weir-test: timeout=240 asan=yes beside=yes
. "$(dirname "$0")/../lib.sh"
[ -e /dev/fuse ] || skip_all "no /dev/fuse"
[ "$(id -u)" = 0 ] || skip_all "not root"
unset WEIR_PODMAN WEIR_PODMAN_ARGS
conf_local a b
R=$T/remote
export XDG_RUNTIME_DIR=$T/run
mkdir "$XDG_RUNTIME_DIR"
field() { json "$("$WEIR" jobs --json)" "[j for j in v if j['name'] == '$1'][0].get('$2')"; }
job() { run timeout 50 "$WEIR" run -c "$CONF" --engine none "$@"; }

# --- a staged job whose folder is half gone ----------------------------------------------------------------------------
mkdir "$R/a/data"
for i in 1 2 3; do echo $i > "$R/a/data/$i"; done
job --name half --storage-mode stage --stage /a/data --detach -- sh -c 'echo new > /storage/a/data/new; while :; do sleep 1; done'
staged=$T/cache/stage/half
wait_for 20 test -s "$staged/storage/a/data/new" || fail "it writes" "$out$err"
kill -9 "$(field half launcher)"
pkill -9 -f 'storage/a/data/new'
mv "$staged/storage" "$T/storage"
refuse "its copies are gone: gc sends nothing" 1 "is not there any more, so what the job changed is not known" "$WEIR" gc
is "and removes nothing from the storage" "$(cat "$R"/a/data/* | tr '\n' ' ')" "1 2 3 "
refuse "rm --all leaves what is not sent" 1 "what job 'half' changed was not sent.*weir gc" "$WEIR" rm --all
refuse "a new job of its name does not make it forgotten" 241 "what an earlier job 'half' changed was not sent.*weir gc" "$WEIR" run -c "$CONF" --engine none --name half -- true
mv "$T/storage" "$staged/storage"
check "they are back: gc sends" "$WEIR" gc
is "what was new" "$(cat "$R"/a/data/* | tr '\n' ' ')" "1 2 3 new "
check "and it can be removed" "$WEIR" rm half
mkdir -p "$T/tree/x/y/z"
touch "$T/tree/x/y/z/f"

# --- links of a job's ---------------------------------------------------------------------------------------------------
echo mine > "$T/outside"
mkdir "$T/elsewhere"
job -- sh -c "ln -s $T/elsewhere /storage/a/ai4os-storage; mkdir /storage/b/in; ln -s in /storage/b/inside"
start_mount
refuse "weir cp follows no link out of the mount" ! "." "$WEIR" cp -c "$CONF" "$T/outside" a:ai4os-storage/x
is "so nothing is written there" "$(ls "$T/elsewhere")" ""
run "$WEIR" cp -c "$CONF" "$T/outside" b:inside/x
is "one that stays inside leads where it leads" "$(cat "$MNT/b/in/x")" mine
stop_mount || fail "it ends" "$out" "$err"

# --- GPUs that nothing computes on yet ----------------------------------------------------------------------------------
g=$T/gpus
mkdir -p "$g/proc/driver/nvidia/gpus" "$g/dev"
for i in 0 1; do
	mkdir -p "$g/proc/driver/nvidia/gpus/0000:0$i:00.0"
	printf 'Model: \t\t Tesla T4\nIRQ:   \t\t 5\nGPU UUID: \t GPU-0000000%s-0000-0000-0000-000000000000\nDevice Minor: \t %s\n' $i $i > "$g/proc/driver/nvidia/gpus/0000:0$i:00.0/information"
	: > "$g/dev/nvidia$i"
done
for n in g1 g2; do WEIR_GPU_ROOT=$g job --no-storage --gpus 1 --name $n --detach -- sh -c "echo \$CUDA_VISIBLE_DEVICES > $T/$n; exec sleep 1000"; done
got() { [ -s "$T/g1" ] && [ -s "$T/g2" ]; }
if wait_for 20 got; then
	if [ "$(cat "$T/g1")" != "$(cat "$T/g2")" ]; then pass "two jobs get two GPUs"; else fail "two jobs get two GPUs" "$(cat "$T/g1" "$T/g2")"; fi
else
	fail "two jobs get two GPUs" "$out$err"
fi
WEIR_GPU_ROOT=$g refuse "a third gets none" 246 "used|in use|busy|free" "$WEIR" run --no-storage --engine none --gpus 1 -- true
"$WEIR" stop g1 g2 > /dev/null 2>&1
"$WEIR" stop g2 > /dev/null 2>&1

is "nothing is left" "$(ls "$XDG_RUNTIME_DIR"; mounts_of "$CONF")" ""
done_testing
