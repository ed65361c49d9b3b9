#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# try, train and develop, whole, with a real podman and a small image that follows the platform's conventions (tests/launch/module): its own deep-start and
# deepaas-cli, a model server with DEEPaaS's routes, a model trained on the UCI digits.
# weir-test: timeout=600 slow=yes net=own
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/podman.inc"
[ -e /dev/fuse ] || skip_all "no /dev/fuse"
[ "$(id -u)" = 0 ] || skip_all "not root"
LIMIT=120
conf_local data results
R=$T/remote
export XDG_RUNTIME_DIR=$T/run
mkdir "$XDG_RUNTIME_DIR"
/usr/bin/python3 "$WEIR_SRCDIR/scripts/lib/make_digits.py" "$R/data/digits" 2> "$T/digits.err" || skip_all "no UCI digits (package python3-sklearn): $(tail -n 1 "$T/digits.err")"
podman_store
bash "$WEIR_SRCDIR/tests/launch/module/make.sh" "$T/module" "$R/data/digits" > "$T/make.log" 2>&1 || bail "the test module cannot be made" "$(tail -n 5 "$T/make.log")"
podman_image "$T/module" example.invalid/weir/digits:latest
podman_settle example.invalid/weir/digits:latest
pass "the test module's image is made: $(cat "$T/make.log")"
IMAGE=example.invalid/weir/digits

# A catalogue that names it.
mkdir -p "$T/catalogue/digits"
cat > "$T/catalogue/.gitmodules" << END
[submodule "digits"]
	path = digits
	url = $T/catalogue/digits
END
cat > "$T/catalogue/digits/ai4-metadata.yml" << END
metadata_version: 2.3.0
title: Digits
summary: Handwritten digits
description: A model of the UCI digits.
links:
  source_code: https://github.com/ai4os-hub/digits
  docker_image: $IMAGE
tags: [digits]
tasks: [Computer Vision]
categories: [AI4 trainable, AI4 inference]
libraries: [Other]
data-type: [Image]
resources:
  inference: {cpu: 1, memory_MB: 1500}
END
printf '[catalogue]\nurl = %s\n' "$T/catalogue" >> "$CONF"
state() { json "$("$WEIR" jobs --json)" "[j for j in v if j['name']=='$1'][0]$2" 2> /dev/null; }
field() { state "$1" "['$2']"; }
port() { state "$1" "['ports']" | python3 -c "import json,sys; print([p['outside'] for p in json.load(sys.stdin) if p['name']=='$2'][0])"; }
first=$(ls "$R/data/digits/3" | head -n 1)

# --- try ---------------------------------------------------------------------------------------------------------------
run "$WEIR" try --catalogue "$T/catalogue" --input "$R/data/digits/3/$first" digits
is "try --input: it predicts and ends" "$rc" 0
like "the answer is a table" "$out" "labels +probabilities"
like "and the first row is right" "$(sed -n 3p <<< "$out")" "^3 "
is "nothing of it is left" "$("$WEIR" jobs --json)$($WEIR_PODMAN ps -aq)" "[]"
run "$WEIR" try --catalogue "$T/catalogue" --input "$R/data/digits/3/$first" --input "$R/data/digits/7/$(ls "$R/data/digits/7" | head -n 1)" --output "$T/answers" --arg top=2 digits
is "two inputs, answers kept" "$rc $(ls "$T/answers" | wc -l)" "0 2"
is "as the model's own JSON, with the argument" "$(json "$(cat "$T/answers/${first%.pgm}.json")" 'len(v["predictions"]["labels"])')" 2
run "$WEIR" try --catalogue "$T/catalogue" --input "$R/data/digits/3/$first" --arg no_such=1 digits
is "an argument that the model does not have" "$rc" 247
like "is named" "$err" "has no argument 'no_such'"
echo text > "$T/not-an-image"
run "$WEIR" try --catalogue "$T/catalogue" --input "$T/not-an-image" digits
like "what the model says of a bad file is passed on" "$rc $err" "247.*(not a PGM|the model failed)"
run "$WEIR" try --catalogue "$T/catalogue" --env MODULE_BROKEN=1 --input "$R/data/digits/3/$first" digits
is "the placeholder model is not taken for the module" "$rc" 247
like "and that is said" "$err" "deepaas-test"
run "$WEIR" try --catalogue "$T/catalogue" nosuchmodule
like "a module that is not in the catalogue" "$rc $err" "240.*nosuchmodule"
run "$WEIR" try "$IMAGE:latest" --input "$R/data/digits/3/$first"
is "an image in place of a module" "$rc" 0

check "try --detach" "$WEIR" try --catalogue "$T/catalogue" --detach --name t1 --time 5min digits
like "tells the address" "$err" "answers at http://127.0.0.1:$(port t1 api)/ui"
is "its status" "$(field t1 status)" running
check "weir predict" "$WEIR" predict t1 "$R/data/digits/0/$(ls "$R/data/digits/0" | head -n 1)"
like "answers" "$(sed -n 3p <<< "$out")" "^0 "
is "a CPU job sees no GPU" "$("$WEIR" exec t1 sh -c 'echo $NVIDIA_VISIBLE_DEVICES')" none
is "memory as the metadata says" "$($WEIR_PODMAN inspect t1 --format '{{.HostConfig.Memory}} {{.HostConfig.ShmSize}} {{.HostConfig.NanoCpus}}')" "1500000000 750000000 1000000000"
for i in 2 3; do run "$WEIR" try --catalogue "$T/catalogue" --detach --name t$i digits; done
run "$WEIR" try --catalogue "$T/catalogue" --detach --name t4 digits
is "a fourth try at once is refused" "$rc" 239
check "weir stop" "$WEIR" stop t1 t2 t3
is "and all three are gone" "$(state t1 "['status']")$(state t3 "['status']") $($WEIR_PODMAN ps -aq)" "stoppedstopped "
"$WEIR" rm --all
for i in 1 2 3 4 5 6; do
	timeout 110 "$WEIR" try --catalogue "$T/catalogue" --detach --name "c$i" digits > /dev/null 2> "$T/c$i.err" &
	tries[i]=$!
done
begun=0
for i in 1 2 3 4 5 6; do wait "${tries[i]}" && begun=$((begun + 1)); done
is "of six tries at once three begin" "$begun $(cat "$T"/c?.err | grep -c 'tries at once')" "3 3"
"$WEIR" stop $("$WEIR" jobs | awk '$1 ~ /^c[1-6]$/ {print $1}') > /dev/null 2>&1
run "$WEIR" try --catalogue "$T/catalogue" --time 4s digits
is "its time is how a try ends" "$rc" 0
"$WEIR" rm --all

# --- train -------------------------------------------------------------------------------------------------------------
job() { run "$WEIR" train -c "$CONF" "$@"; }
job digits -- sh -c 'date > /storage/results/x'
is "date > /storage/x in a job" "$rc" 0
check "is on the remote when weir train returns" test -s "$R/results/x"
job --data /data/digits --output /results/run1 --arg data={data} --arg model={output}/model.json --arg epochs=2 --name train1 digits
is "the module's own training" "$rc" 0
like "its words are shown" "$out" "epoch 2 of 2"
like "the model is on the remote" "$(head -c 20 "$R/results/run1/model.json")" '"labels"'
like "so are the metrics" "$(cat "$R/results/run1/train1.json")" '"accuracy": 0\.9'
like "and the log" "$(cat "$R/results/run1/train1.log")" "training on 1797 images"
is "weir logs has it too" "$("$WEIR" logs train1)" "$(cat "$R/results/run1/train1.log")"
is "the job is complete" "$(field train1 status)" complete
job --data /data/digits digits -- sh -c 'exit 7'
is "exit status of a command is kept" "$rc" 7
job --data /data/digits --output /results/o digits -- sh -c 'ls {data} | wc -l > {output}/n; ls {data}/0 | head -n 1'
is "{data} and {output}" "$(cat "$R/results/o/n")" 10
job --data /data/nothing digits
like "data that is not there" "$rc $err" "241.*/data/nothing"
job digits -- echo {data}
like "{data} without --data" "$rc $err" "240.*no --data"
run env -u HOME "$WEIR" train -c "$T/none.conf" digits
is "train without a configuration" "$rc" 240
run "$WEIR" train -c "$CONF" --env-file /dev/null digits -- env
unlike "the environment of the job holds no secret but the token of its own rshare:" "$(grep -v '^RCLONE_CONFIG_RSHARE_PASS=' <<< "$out")" "PASS|SECRET|TOKEN"
check "train --detach" "$WEIR" train -c "$CONF" --detach --name bg --data /data/digits digits -- sh -c 'echo begun; while [ ! -e /storage/results/go ]; do sleep 0.1; done; echo done > /storage/results/bg'
is "goes on" "$(field bg status)" running
run "$WEIR" again bg
like "its name is taken while it runs" "$rc $err" "240.*running already"
"$WEIR" attach bg > "$T/attach.out" 2>&1 &
attach=$!
touch "$R/results/go"
wait $attach
is "attach ends as the job does" $? 0
is "what it wrote is there" "$(cat "$R/results/bg")" "done"
like "its log" "$("$WEIR" logs bg)" "begun"
run "$WEIR" train -c "$CONF" --detach --name bg --image example.invalid/weir/none:1 digits
is "an image that cannot be had is said at once, detached too" "$rc" 243

# What a job may not do to the host: its links lead nowhere from here.
echo mine > "$T/outside"
mkdir "$T/elsewhere"
job --output /results/linked --name linked digits -- sh -c "ln -s $T/outside \$WEIR_OUTPUT/\$WEIR_JOB.log; echo overwritten"
is "the log goes through no link" "$rc: $(cat "$T/outside")" "0: mine"
like "which is said" "$err" "the job's log could not be copied"
job digits -- sh -c "ln -s $T/elsewhere /storage/results/away"
job --output /results/away/deep digits -- true
like "the output folder is made in the storage or not at all" "$rc $(ls "$T/elsewhere")$err" "^241 .*--output"
run sh -c "'$WEIR' train -c '$CONF' --time 3s --name yes digits -- sh -c 'while :; do echo y; done' > /dev/null"
like "a job that never stops printing ends by its time limit" "$rc $err" "time limit of 3s"
mkfifo "$T/stuck"
sleep 100 < "$T/stuck" & reader=$!
timeout 100 "$WEIR" train -q -c "$CONF" --name stuck digits -- sh -c 'while :; do echo y; done' > "$T/stuck" 2> /dev/null & p=$!
stuck() { [ "$(field stuck status)" = running ]; }
wait_for 30 stuck || fail "it runs"
check "weir stop ends it though nobody reads" "$WEIR" stop stuck
wait $p
kill $reader
for i in yes stuck; do "$WEIR" rm $i || fail "weir rm $i"; done

# --- develop -----------------------------------------------------------------------------------------------------------
check "develop" "$WEIR" develop -c "$CONF" --name dev digits
password=$(sed -n 's/.*password: //p' <<< "$err")
like "prints a password of its own" "$password" "^[0-9a-f]{16}$"
url=http://127.0.0.1:$(port dev ide)
is "the IDE wants it" "$(curl -s -o /dev/null -w '%{http_code}' "$url/") $(curl -s -u "user:$password" -o /dev/null -w '%{http_code}' "$url/")" "401 200"
echo "written in the IDE" > "$T/from-ide"
is "a file is put there" "$(curl -sS -u "user:$password" -T "$T/from-ide" -o /dev/null -w '%{http_code}' "$url/results/from-ide" 2>&1)" 201
# In a chroot podman runs without pivot_root, and its exec lands outside the container's root, whoever calls it.
if [ "$($WEIR_PODMAN exec dev sh -c 'test -d /storage/results || echo outside' 2> /dev/null)" = outside ]; then
	skip "the tree is there, and writable" "podman exec does not enter the container's root here"
else
	is "the tree is there, and writable" "$("$WEIR" exec dev cat /storage/results/from-ide)" "written in the IDE"
fi
unlike "its password is in no log" "$("$WEIR" logs dev)$(cat "$XDG_STATE_HOME/weir/jobs/dev/job.json")" "$password"
unlike "nor on a command line" "$(cat /proc/[0-9]*/cmdline 2> /dev/null | tr '\0' ' ')" "$password"
check "stop" "$WEIR" stop dev
is "what was written is sent" "$(cat "$R/results/from-ide")" "written in the IDE"
run "$WEIR" develop -c "$CONF" --name idle --idle 3s digits
is "develop --idle" "$rc" 0
idle_over() { [ "$(field idle status)" = complete ]; }
if wait_for 60 idle_over; then pass "ends when nobody uses it"; else fail "ends when nobody uses it"; fi
run "$WEIR" develop -c "$CONF" --ide shell digits -- sh -c 'ls /storage'
is "--ide shell" "$out" "data
results"
run "$WEIR" develop --ide emacs digits
like "an IDE that there is not" "$rc $err" "240.*jupyter, vscode and shell"

# --- what killed launchers leave --------------------------------------------------------------------------------------
check "a job" "$WEIR" train -c "$CONF" --detach --name k1 digits -- sh -c 'echo kept > /storage/results/kept; while :; do sleep 1; done'
wait_for 20 test -e "$R/results/kept" || fail "it writes"
kill -9 "$(field k1 launcher)"
lost() { [ "$(field k1 status)" = lost ]; }
if wait_for 20 lost; then pass "kill -9 of its launcher: the job is lost"; else fail "kill -9 of its launcher: the job is lost"; fi
check "weir gc" "$WEIR" gc
is "ends the container" "$($WEIR_PODMAN ps -aq)" ""
is "and the mount" "$(ls "$XDG_RUNTIME_DIR"; mounts_of "$CONF")" ""
is "the job has failed" "$(field k1 status)" failed
is "and its data is there" "$(cat "$R/results/kept")" kept
check "a second gc finds nothing" "$WEIR" gc
is "and says so" "$out" "nothing was left behind"
check "a job" "$WEIR" train -c "$CONF" --detach --name k2 digits -- sh -c 'while :; do sleep 1; done'
mount=$(mounts_of "$CONF" | head -n 1)
kill -9 "$(supervisor_pid "$mount")" "$(worker_pid "$mount")"
check "kill -9 of its mount: stop still ends it" "$WEIR" stop --grace 2s k2
"$WEIR" gc > "$T/gc.out" 2>&1
is "nothing is left after gc" "$($WEIR_PODMAN ps -aq; ls "$XDG_RUNTIME_DIR"; mounts_of "$CONF")" ""
check "a job" "$WEIR" train -c "$CONF" --detach --name k3 digits -- sh -c 'while :; do sleep 1; done'
$WEIR_PODMAN kill --signal KILL k3 > /dev/null 2>&1
over() { [ "$(field k3 status)" = failed ]; }
if wait_for 30 over; then pass "kill -9 of the container: the job has failed"; else fail "kill -9 of the container: the job has failed"; fi
is "and nothing is left" "$($WEIR_PODMAN ps -aq; ls "$XDG_RUNTIME_DIR"; mounts_of "$CONF")" ""
check "rm" "$WEIR" rm --all
is "forgets them" "$("$WEIR" jobs)" ""
done_testing
