#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Ways to the storage beside the mount, in a real container: the job's rclone remote rshare:, paths staged in and out, data sets, data in the order of a list.
# weir-test: timeout=300 slow=yes net=own
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/podman.inc"
[ -e /dev/fuse ] || skip_all "no /dev/fuse"
[ "$(id -u)" = 0 ] || skip_all "not root"
command -v rclone > /dev/null || skip_all "rclone is not installed"
conf_local data results ai4os-storage
R=$T/remote
export XDG_RUNTIME_DIR=$T/run
mkdir "$XDG_RUNTIME_DIR"
podman_store
mkdir -p "$T"/image/{bin,tmp,root}
cp "$busybox" "$T/image/bin/busybox"
for a in sh true sleep env ls cat; do ln -s busybox "$T/image/bin/$a"; done
cp -L "$(command -v rclone)" "$T/image/bin/rclone"
for l in $(ldd "$(command -v rclone)" 2> /dev/null | grep -o '/[^ ]*'); do mkdir -p "$T/image${l%/*}"; cp -L "$l" "$T/image$l"; done
I=example.invalid/weir/storage:1
podman_image "$T/image" $I
podman_settle $I
mkdir -p "$R/data/d"
for i in 1 2 3; do echo "$i" > "$R/data/d/$i"; done
train() { run "$WEIR" train -c "$CONF" "$@"; }
plain() { run "$WEIR" run -c "$CONF" --image $I "$@"; }
left() { ls "$T/cache/stage" 2> /dev/null; ls "$XDG_RUNTIME_DIR"; mounts_of "$CONF"; }

# --- rshare: -----------------------------------------------------------------------------------------------------------
echo $((RANDOM)) > "$R/data/secret-of-the-far-side"
train --name r1 $I -- sh -c 'rclone -q lsf rshare:; rclone -q copy rshare:data/d /root/d; cat /root/d/2; echo new > /root/n; rclone -q copy /root/n rshare:results/; cat /storage/results/n'
is "rclone lsf and copy rshare: in a job" "$rc $(tr '\n' ' ' <<< "$out")" "0 ai4os-storage/ data/ results/ 2 new "
is "what it copied there has arrived" "$(cat "$R/results/n")" new
train --storage /data:ro $I -- sh -c 'rclone -q lsf rshare:; rclone -q touch rshare:new 2> /dev/null || echo refused'
like "the job's part only, read-only if that is" "$(tr '\n' ' ' <<< "$out")" "^d/ secret-of-the-far-side refused"
is "and nothing was made there" "$(ls "$R/data" | tr '\n' ' ')" "d secret-of-the-far-side "
plain --rshare yes --detach --name r2 -- sh -c 'while :; do sleep 1; done'
is "weir run --rshare yes" "$rc" 0
env=$("$WEIR" exec r2 env | grep '^RCLONE_CONFIG_RSHARE_' | sort)
is "is in its environment" "$(sed 's/=.*//' <<< "$env" | tr '\n' ' ')" \
    "RCLONE_CONFIG_RSHARE_PASS RCLONE_CONFIG_RSHARE_TYPE RCLONE_CONFIG_RSHARE_URL RCLONE_CONFIG_RSHARE_USER RCLONE_CONFIG_RSHARE_VENDOR "
pass=$(sed -n 's/^RCLONE_CONFIG_RSHARE_PASS=//p' <<< "$env")
unlike "its token is on no command line" "$(cat /proc/[0-9]*/cmdline 2> /dev/null | tr '\0' ' ')" "$pass"
unlike "nor in the job's state" "$(cat "$XDG_STATE_HOME"/weir/jobs/r2/*)" "$pass"
mount=$(mounts_of "$CONF")
is "it is one of the mount's shares" "$("$WEIR" share --list "$mount" | wc -l)" 1
export $env
check "it opens that part" rclone -q lsf rshare:data
check "weir stop" "$WEIR" stop r2
run rclone -q --retries 1 --low-level-retries 1 --contimeout 2s lsf rshare:data
isnt() { if [ "$2" != "$3" ]; then pass "$1"; else fail "$1" "is $2"; fi; }
isnt "and nothing after the job" "$rc" 0
unset ${!RCLONE_CONFIG@}
plain -- env
unlike "weir run has none by itself" "$out" RSHARE
train --rshare no $I -- env
unlike "--rshare no" "$out" RSHARE
train --env RCLONE_CONFIG_RSHARE_TYPE=local $I -- env
like "one's own is left alone" "$out" "RSHARE_TYPE=local"
unlike "and not mixed" "$out" "RSHARE_URL"
train --rshare maybe $I -- true
like "a bad value" "$rc $err" "240.*wants yes or no"
is "nothing is left" "$(left)" ""

# --- stage -------------------------------------------------------------------------------------------------------------
rm "$R/data/secret-of-the-far-side"
train --storage-mode stage --data /data/d --output /results/o --name s1 $I -- sh -c 'ls -d /storage/*; cat {data}/2 > {output}/copy; echo x >> {data}/2; echo y > /storage/data/d/new'
is "staged: the named paths and nothing else" "$rc $(tr '\n' ' ' <<< "$out")" "0 /storage/data /storage/results "
is "staged: the output is sent" "$(cat "$R/results/o/copy")" 2
like "staged: and the log" "$(cat "$R/results/o/s1.log")" "/storage/data"
is "staged: the data is read-only, so changes of it are not" "$(cat "$R"/data/d/*)" "1
2
3"
plain --stage /data --stage /results:out -- sh -c 'echo new > /storage/data/new; rm /storage/data/d/1; ls -A /storage/results; echo out > /storage/results/out'
is "staged: changes and removals are sent" "$rc $out $(ls "$R/data" "$R/data/d" | tr '\n' ' ') $(cat "$R/results/out")" "0  $R/data: d new  $R/data/d: 2 3  out"
run "$WEIR" run -c "$CONF" --stage /data -- sh -c 'cat /storage/data/new'
is "staged: engine none too" "$rc $out" "0 new"
plain --stage data -- true
like "staged: a bad path" "$rc $err" "240.*--stage 'data'"
plain --storage-mode stage -- true
like "staged: no path" "$rc $err" "240.*which paths"
plain --storage-mode stage --storage /data -- true
like "staged: --storage" "$rc $err" "240.*--stage"
plain --stage /none -- true
like "staged: a path that is not there" "$rc $err" "241.*/none"
is "staged: nothing is left" "$(left)" ""
plain --stage /data --name s2 --detach -- sh -c 'echo kept > /storage/data/kept; while :; do sleep 1; done'
kept() { [ -s "$T/cache/stage/s2/storage/data/kept" ]; }
wait_for 20 kept || fail "staged: it writes"
kill -9 "$(json "$("$WEIR" jobs --json)" "[j for j in v if j['name']=='s2'][0]['launcher']")"
lost() { "$WEIR" jobs | grep -q '^s2 .* lost '; }
wait_for 20 lost || fail "staged: its launcher is dead" "$("$WEIR" jobs)"
run "$WEIR" rm s2
like "staged: rm leaves what is not sent" "$rc $err" "1.*weir gc"
check "staged: weir gc" "$WEIR" gc
is "staged: sends it" "$(cat "$R/data/kept") $($WEIR_PODMAN ps -aq)$(left)" "kept "
check "staged: and then rm" "$WEIR" rm s2

# --- data sets ---------------------------------------------------------------------------------------------------------
mkdir "$T/www"
echo set > "$T/www/set.csv"
sum=$(md5sum < "$T/www/set.csv" | cut -d ' ' -f 1)
(cd "$T/www" && exec python3 -c 'import http.server as h; s = h.ThreadingHTTPServer(("127.0.0.1", 0), h.SimpleHTTPRequestHandler); print(s.server_port, flush=True); s.serve_forever()') > "$T/www.out" 2> /dev/null &
web=$!
wait_for 20 grep -q . "$T/www.out" || bail "no web server"
set="http://127.0.0.1:$(cat "$T/www.out")/set.csv"
train --dataset "$set#md5=$sum" $I -- sh -c 'cat {data}/set.csv; echo {data}'
is "--dataset: it is there, and the data" "$rc $out" "0 set
/storage/ai4os-storage/datasets/$(tr / - <<< "${set#http://}")"
kill $web
train --dataset "$set#md5=$sum" $I -- sh -c 'cat {data}/set.csv'
is "--dataset: a second run asks nobody" "$rc $out" "0 set"
train --storage-mode stage --dataset "$set#md5=$sum" $I -- sh -c 'cat {data}/set.csv'
is "--dataset: staged" "$rc $out" "0 set"
train --dataset nonsense $I -- true
like "--dataset: nonsense" "$rc $err" "240.*neither a DOI nor an address"
train --dataset "$set" --storage /data:ro $I -- true
like "--dataset: where nothing can be written" "$rc $err" "240.*--dataset"
plain --force -- true
like "--force alone" "$rc $err" "240.*--dataset"

# --- order -------------------------------------------------------------------------------------------------------------
printf '3\n2\n' > "$T/order"
train --data /data/d --order "$T/order" $I -- sh -c 'sleep 1; cat {data}/2'
is "--order: the job runs" "$rc $out" "0 2"
like "--order: and the files were fetched beside it" "$err" "2 files"
train --order "$T/order" $I -- true
like "--order: of what" "$rc $err" "240.*--data"
is "nothing is left" "$(left)" ""
done_testing
