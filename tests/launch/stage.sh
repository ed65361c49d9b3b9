#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Storage without a mount: what is copied in, what goes out again, and what somebody else changed meanwhile; on a folder, an S3 and a Nextcloud.
# weir-test: timeout=240 asan=yes beside=yes
. "$(dirname "$0")/../lib.sh"
start_emu s3emu --access-key key --secret-key secret --bucket bucket || skip_all "s3emu was not built"
s3=$url
start_emu ncemu --user alice --password pw || skip_all "ncemu was not built"
nc=$url
mkdir -p "$T/remote/a"
conf_for() {
	printf '[weir]\ncache_dir = %s\ncache_size = 500MB\n' "$1"
	printf '[remote a]\ntype = local\npath = %s\n' "$T/remote/a"
	printf '[remote s]\ntype = s3\nendpoint = %s\nregion = us-east-1\nbucket = bucket\naccess_key = key\nsecret_key = secret\n' "$s3"
	printf '[remote n]\ntype = nextcloud\nurl = %s\nuser = alice\npassword = pw\n' "$nc"
}
conf_for "$T/cache" > "$CONF"
conf_for "$T/cache2" > "$T/other.conf"
chmod 600 "$CONF" "$T/other.conf"
mkdir "$T/bin"
printf '#!/bin/sh\nv=$1; shift\nexec "%s" $v -c "%s" "$@"\n' "$WEIR" "$CONF" > "$T/bin/here"
printf '#!/bin/sh\nv=$1; shift\nexec "%s" $v -c "%s" "$@"\n' "$WEIR" "$T/other.conf" > "$T/bin/other"
chmod +x "$T/bin/"*
PATH=$T/bin:$PATH
names() { other ls -R "$1" | grep -v '^$'; }
text() { other cat "$1"; }

mkdir -p "$T/src/data/sub" "$T/src/ref"
for i in 1 2 3 4 5 6; do echo "one $i" > "$T/src/data/f$i"; done
echo deep > "$T/src/data/sub/deep"; ln -s f1 "$T/src/data/link"
head -c 3000000 /dev/urandom > "$T/src/data/big"
echo ref > "$T/src/ref/r"

refuse "a path that is not there" 1 "'.*/a/none': no such file" here stage in --to "$T/w0" /a/none
refuse "one path inside another" 1 "one lies in the other" here stage in --to "$T/w0" /a /a/x:out
refuse "out of a folder that holds nothing" 1 "nothing was staged" here stage out --to "$T/w0"

for r in a s n; do
	J=$T/job-$r S=$T/job-$r/storage
	check "$r: data is there" here cp -r "$T/src/." "$r:"
	check "$r: three paths are copied in" here stage in --to "$J" "/$r/data" "/$r/ref:ro" "/$r/results:out"
	like "$r: so many" "$out" "staged 9 files"
	check "$r: with their bytes" diff -r "$T/src/data" "$S/$r/data"
	is "$r: nobody else sees them" "$(stat -c %a "$J")" 700

	# the job
	echo changed > "$S/$r/data/f1"
	rm "$S/$r/data/f2"
	mv "$S/$r/data/f3" "$S/$r/data/renamed"
	echo "job 4" > "$S/$r/data/f4"
	rm "$S/$r/data/f5"
	cp -p "$S/$r/data/f6" "$S/$r/data/x" && mv "$S/$r/data/x" "$S/$r/data/f6"	# another inode, the same bytes
	printf X | dd of="$S/$r/data/big" conv=notrunc bs=1 seek=2000000 status=none
	rm -r "$S/$r/data/sub"; mkdir -p "$S/$r/data/new/er"; echo n > "$S/$r/data/new/er/file"
	ln -sfn f6 "$S/$r/data/link"
	echo no > "$S/$r/ref/r"
	mkdir -p "$S/$r/results/run"; echo 0.99 > "$S/$r/results/run/score"
	# somebody else meanwhile
	echo theirs > "$T/theirs"
	check "$r: somebody else changes two files" other cp -q "$T/theirs" "$r:data/f4"
	other cp -q "$T/theirs" "$r:data/f5"

	check "$r: out" here stage out --to "$J"
	like "$r: the conflict is told" "$err" "f4' was changed by somebody else while the job ran: .*'f4 \(conflict .*\)'"
	like "$r: so is the removal that is not made" "$err" "f5' was removed by the job and changed by somebody else: it stays"
	like "$r: and what was read-only" "$err" "ref/r' was changed by the job, and was given to it read-only"
	is "$r: a changed file arrived" "$(text "$r:data/f1")" changed
	is "$r: a renamed one" "$(text "$r:data/renamed")" "one 3"
	is "$r: theirs stands" "$(text "$r:data/f4")" theirs
	is "$r: ours beside it" "$(other cat "$r:data/$(other ls "$r:data" | grep conflict)")" "job 4"
	is "$r: names" "$(names "$r:data" | grep -v ':$' | grep -v conflict | tr '\n' ' ')" "big f1 f4 f5 f6 link new/ renamed er/ file "
	is "$r: a new folder" "$(text "$r:data/new/er/file")" n
	is "$r: an output" "$(text "$r:results/run/score")" 0.99
	is "$r: the read-only one is as it was" "$(text "$r:ref/r")" ref
	other cp -q "$r:data/big" "$T/big-$r"
	check "$r: one byte of a large file" cmp "$T/big-$r" "$S/$r/data/big"
	check "$r: out once more" here stage out --to "$J"
	like "$r: changes nothing" "$out" "sent 0 files, 0 B, removed 0, "
done

# the same through a mount
if [ -e /dev/fuse ] && [ "$(id -u)" = 0 ]; then
	start_mount
	check "mounted: in" here stage in --to "$T/jm" /s/data
	check "mounted: the same" diff -r "$MNT/s/data" "$T/jm/storage/s/data"
	echo m > "$T/jm/storage/s/data/f1"; rm "$T/jm/storage/s/data/f6"
	check "mounted: out" here stage out --to "$T/jm"
	is "mounted: changed" "$(cat "$MNT/s/data/f1")" m
	check "mounted: removed" test ! -e "$MNT/s/data/f6"
	stop_mount || fail umount
else
	skip "mounted" "no /dev/fuse or not root"
fi

# killed while it sends: the second run ends the work
check "in again" here stage in --to "$T/jk" /s/data
head -c 8000000 /dev/urandom > "$T/jk/storage/s/data/big"
echo k > "$T/jk/storage/s/data/f1"
curl -sSf -X POST "$s3/_emu/set?bandwidth=500000"
here stage out --to "$T/jk" > /dev/null 2>&1 & pid=$!
wait_for 30 python3 -c 'import sqlite3,sys; sys.exit(0 if sqlite3.connect(sys.argv[1]).execute("select count(*) from nodes n, journal j where j.node=n.id and n.name=?", ("big",)).fetchone()[0] else 1)' "$T/cache/meta.db" || fail "nothing was journalled"
kill -9 $pid; wait $pid 2> /dev/null
curl -sSf -X POST "$s3/_emu/reset"
check "after kill -9, out again" here stage out --to "$T/jk"
like "without conflicts" "$out" " 0 conflicts"
other cp -q s:data/big "$T/big-k"
check "everything is there" cmp "$T/big-k" "$T/jk/storage/s/data/big"
is "and this" "$(text s:data/f1)" k
is "and no parts" "$(names s:data | grep -c weir-part)" 0
done_testing
