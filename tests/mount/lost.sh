#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A change arrives at the storage and its answer does not, and before anybody knows, the tree goes on: nothing comes back, nothing becomes a conflict.
# weir-test: timeout=180 asan=yes beside=yes
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/remotes.sh"
[ -e /dev/fuse ] || skip_all "no /dev/fuse"
start_emu s3emu --access-key key --secret-key secret --bucket bucket || skip_all "s3emu was not built"
cat > "$CONF" <<C
[weir]
cache_dir = $T/cache
[remote s]
type = s3
endpoint = $url
region = us-east-1
bucket = bucket
access_key = key
secret_key = secret
C
chmod 600 "$CONF"
emu() { curl -sf -X POST "$url/_emu/set?$1" > /dev/null || bail "the emulator refuses $1"; }
stats() { curl -sf "$url/_emu/stats"; }
lost() { json "$(stats)" "v['faults'].get('lost', 0)"; }
D=$MNT/s

lose() {	# OP COMMAND…: the next change of this kind arrives, its answer does not, and weir's next question waits
	local before
	before=$(lost)
	emu "after_success_stall=1&fault_op=$1&after_success_next=1"
	shift
	"$@"
	lost_one() { [ "$(lost)" != "$before" ]; }
	wait_for 60 lost_one || bail "no answer was lost" "$(stats)"
}
killed() {	# both processes; the next mount finds a server that answers
	local sup wrk
	sup=$(supervisor_pid) wrk=$(worker_pid)
	kill -9 "$sup" "$wrk"
	umount -l "$MNT"
	emu 'stall_all=0&after_success_stall=0&fault_op='
	start_mount
}
go_on() { emu 'stall_all=0&after_success_stall=0&fault_op='; flushed "$1"; }
put() { echo "$2" > "$D/$1"; }
tree() { (shopt -s nullglob; cd "$D" && for f in *; do echo "$f=$(cat "$f")"; done) 2> /dev/null | tr '\n' ' '; }
clean() { rm -f "$D"/*; flushed "$1: all is removed"; is "$1: nothing comes back" "$(tree)" ""; }

warm() { put w w; flushed "$1: a file"; mv "$D/w" "$D/w2"; flushed "$1: renamed"; rm "$D/w2"; flushed "$1: removed"; }	# what the storage can do is asked at the first need

start_mount
for kill in no yes; do
	warm "$kill"
	w="renamed over"
	[ $kill = no ] || w="$w, killed"
	put a first
	put b second
	flushed "$w: two files"
	exec 9> "$D/b"	# changed and not sent while it is open: it is first in the journal
	echo "second, changed" >&9
	sync "$D/b"
	lose CopyObject mv "$D/a" "$D/x"
	mv "$D/b" "$D/x"
	exec 9>&-
	[ $kill = no ] || killed
	go_on "$w: all arrives"
	is "$w: the last one has the name, nothing else is there" "$(tree)" "x=second, changed "
	clean "$w"

	w="renamed and removed"
	[ $kill = no ] || w="$w, killed"
	put a first
	flushed "$w: a file"
	lose CopyObject mv "$D/a" "$D/x"
	rm "$D/x"
	[ $kill = no ] || killed
	go_on "$w: all arrives"
	is "$w: nothing is there" "$(tree)" ""
	put x new
	flushed "$w: the name is free"
	is "$w: and used" "$(tree)" "x=new "
	clean "$w"

	w="put and renamed"
	[ $kill = no ] || w="$w, killed"
	lose PutObject put a first
	mv "$D/a" "$D/x"
	put a other
	[ $kill = no ] || killed
	go_on "$w: all arrives"
	is "$w: both are there under their names" "$(tree)" "a=other x=first "
	clean "$w"
done
# --- a server that does what a client sent which is dead by now ---
late() { json "$(stats)" "v['faults'].get('late', 0)"; }
for what in removed renamed; do
	w="late and $what, killed"
	before=$(late)
	emu "late_ms=2500&fault_op=PutObject&late_next=1"
	put a first
	late_one() { [ "$(late)" != "$before" ]; }
	wait_for 60 late_one || bail "nothing was late" "$(stats)"
	if [ $what = removed ]; then rm "$D/a"; else mv "$D/a" "$D/x"; fi
	killed
	go_on "$w: all arrives"
	arrived() { [ "$(json "$(stats)" "v['in_flight']")" = 0 ]; }
	wait_for 30 arrived || fail "$w: it has landed"
	check "$w: all is looked at again" "$WEIR" refresh "$MNT/s"
	is "$w: it does not come back" "$(tree)" "$([ $what = removed ] || echo "x=first ")"
	clean "$w"
done
# --- renames here, changes there ---
theirs() { curl -sf -o /dev/null -X PUT -H "x-amz-content-sha256: $(printf %s "$2" | sha256sum | cut -d ' ' -f 1)" --aws-sigv4 aws:amz:us-east-1:s3 -u key:secret --data-binary "$2" "$url/bucket/$1" || bail "cannot put $1"; }
put file mine
check "a file and a directory" mkdir "$D/d1"
put d1/f ours
check "are sent" "$WEIR" flush "$MNT"
exec 7< "$D/file"
is "the file is read" "$(dd bs=1 count=2 status=none <&7)" mi
theirs file "them"
mv "$D/file" "$D/moved"
check "it is renamed here while it changes there" "$WEIR" flush "$MNT"
is "the new name has the new version" "$(cat "$D/moved")" them
is "who has the old one open keeps it" "$(cat <&7)" ne
exec 7<&-
is "and then, too" "$(cat "$D/moved") $(ls "$D" | tr '\n' ' ')" "them d1 moved "
theirs d2/f "theirs"
mv "$D/d1" "$D/d2"
check "a directory goes where somebody puts something meanwhile" "$WEIR" flush "$MNT"
"$WEIR" refresh "$MNT/s"
is "theirs keeps its name" "$(cat "$D/d2/f")" theirs
is "ours is beside it" "$(cat "$D/d2/f (conflict"*)" ours
like "and it is told" "$("$WEIR" status "$MNT")" "conflict: .*d2/f"
rm -r "$D/d2" "$D/moved"
# --- scratch objects of a weir that was killed while it asked what the server keeps ---
object() { curl -s -o /dev/null -w '%{http_code}' -H 'x-amz-content-sha256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855' --aws-sigv4 aws:amz:us-east-1:s3 -u key:secret "$url/bucket/$1"; }
old=.weir-check-0123456789abcdef young=.weir-check-fedcba9876543210-2
emu clock_skew=-7200
put $old x
check "an old one" "$WEIR" flush "$MNT"
emu clock_skew=0
put $young x
put .weir-check-mine mine
unmounted "and a young one"
is "are there" "$(object $old) $(object $young)" "200 200"
fresh_cache
start_mount
is "nobody sees them" "$(ls -A "$D" | tr '\n' ' ')" ".weir-check-mine "
put file x
check "the next that asks" "$WEIR" flush "$MNT"
is "removes the old one" "$(object $old) $(object $young) $(object .weir-check-mine)" "404 200 200"
is "no other conflict was made" "$("$WEIR" status --json "$MNT" | grep -c '"conflict"')" 0
unmounted "umount"
done_testing
