#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Images from a registry: pulled with progress, and one sentence for each way in which they cannot be had.
# weir-test: timeout=300 slow=yes net=own
. "$(dirname "$0")/../lib.sh"
[ "$(id -u)" = 0 ] || skip_all "not root"
. "$(dirname "$0")/podman.inc"
. "$(dirname "$0")/registry.inc"
registry_need
LIMIT=120
export XDG_STATE_HOME=$T/state

mkdir -p "$T/image/bin" "$T/image/tmp" "$T/image/etc"
podman_store
cp "$busybox" "$T/image/bin/busybox"
for a in sh cat ls echo env true; do ln -s busybox "$T/image/bin/$a"; done
podman_image "$T/image" weir-test-image
podman_settle weir-test-image
head -c 12000000 /dev/urandom > "$T/image/large"
podman_image "$T/image" weir-test-large
rm "$T/image/large"

registry_start open
REG_OPEN=$reg
htpasswd -nbB ann "right horse" > "$T/htpasswd" 2> /dev/null
registry_start auth "$T/htpasswd"
REG_AUTH=$reg
printf '[[registry]]\nlocation = "%s"\ninsecure = true\n[[registry]]\nlocation = "%s"\ninsecure = true\n' "$REG_OPEN" "$REG_AUTH" > "$T/registries.conf"
export CONTAINERS_REGISTRIES_CONF=$T/registries.conf REGISTRY_AUTH_FILE=$T/auth.json
echo "{}" > "$T/auth.json"
# shellcheck disable=SC2086
push() { timeout 60 $WEIR_PODMAN push -q "$@" > "$T/push.log" 2>&1 || bail "podman push" "$(cat "$T/push.log")"; }
push weir-test-image "docker://$REG_OPEN/lab/mod:1"
push weir-test-large "docker://$REG_OPEN/lab/large:1"
push --creds "ann:right horse" weir-test-image "docker://$REG_AUTH/lab/mod:1"
echo "{}" > "$T/auth.json"
# shellcheck disable=SC2086
timeout 60 $WEIR_PODMAN rmi -f weir-test-large > /dev/null 2>&1
job() { run "$WEIR" run --engine podman --image "$@" -- true; }

# --- it is there -------------------------------------------------------------------------------------------------------
job "$REG_OPEN/lab/mod:1"
is "an image that is not here is pulled" "$rc" 0
like "the pull is told" "$err" "^weir: getting image '$REG_OPEN/lab/mod:1'"
like "with the engine's own progress, on standard error" "$err" "[Cc]opying (blob|config)"
is "standard output stays the job's" "$out" ""
job "$REG_OPEN/lab/mod:1"
unlike "the second time it is here" "$err" "getting|[Cc]opying"
# shellcheck disable=SC2086
timeout 30 $WEIR_PODMAN rmi -f "$REG_OPEN/lab/mod:1" > /dev/null 2>&1
run "$WEIR" run -q --engine podman --image "$REG_OPEN/lab/mod:1" -- echo hi
is "-q: without progress" "$rc $out $(grep -c -i copying <<< "$err")" "0 hi 0"
# Newer ones draw nothing when a layer is here quickly: what it does by itself is the measure.
run script -qec "$WEIR_PODMAN pull '$REG_OPEN/lab/large:1'" /dev/null
own=$out
timeout 30 $WEIR_PODMAN rmi -f "$REG_OPEN/lab/large:1" > /dev/null 2>&1
run script -qec "'$WEIR' run --engine podman --image '$REG_OPEN/lab/large:1' -- true" /dev/null
if grep -q $'\033\\[' <<< "$own"; then
	like "on a terminal the engine draws its own" "$out" $'\033\\['
else
	skip "on a terminal the engine draws its own" "this podman draws nothing for so small an image"
fi

# --- it is not ---------------------------------------------------------------------------------------------------------
no() { refuse "$1" 243 "^weir: image '[^']*' cannot be had: $2" "$WEIR" run "${@:3}" --engine podman --image "$IMAGE" -- true; }
IMAGE=$REG_OPEN/lab/mod:2
no "a wrong tag" "the registry has no such repository or tag \(.*manifest unknown"
is "is said once" "$(grep -c '^weir: image' <<< "$err")" 1
no "and quietly the same" "the registry has no such repository or tag" -q
IMAGE=$REG_OPEN/lab/none:1
no "a wrong repository" "the registry has no such repository or tag"
IMAGE=$REG_AUTH/lab/mod:1
no "a login is needed" "the registry wants a login, or another one than it got; 'podman login $REG_AUTH' makes one"
registry_login "$T/auth.json" "$REG_AUTH" ann wrong
no "a wrong password" "the registry wants a login, or another one than it got"
unlike "which is not told" "$err" "wrong|$(printf 'ann:wrong' | base64)"
registry_login "$T/auth.json" "$REG_AUTH" ann "right horse"
job "$REG_AUTH/lab/mod:1"
is "the right password" "$rc" 0
like "and nobody sees it" "$(grep -c 'right horse' <<< "$err")" 0
mkdir "$T/tiny"
mount -t tmpfs -o size=6m tmpfs "$T/tiny"
IMAGE=$REG_OPEN/lab/large:1
saved=$WEIR_PODMAN
WEIR_PODMAN=${WEIR_PODMAN/--root $T\/containers/--root $T\/tiny/c} TMPDIR=$T/tiny no "a full disk" "the disk where podman keeps images is full \(.*no space left"
WEIR_PODMAN=$saved
umount -R "$T/tiny/c" 2> /dev/null
umount "$T/tiny"
registry_stop
IMAGE=$REG_OPEN/lab/other:1
no "a registry that is away" "the registry cannot be reached \(.*refused"
IMAGE=no-such-host.invalid/x:1
no "a registry that is nowhere" "the registry cannot be reached"
is "nothing is left of the jobs" "$(ls "$XDG_STATE_HOME/weir/jobs" 2> /dev/null)" ""
done_testing
