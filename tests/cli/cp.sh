#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# weir ls, cat and cp without a mount and beside one: on folders, an S3 and a Nextcloud that lag and break, through kill -9, with a storage that is away.
# weir-test: timeout=300 asan=yes beside=yes
. "$(dirname "$0")/../lib.sh"

start_emu s3emu --access-key key --secret-key secret --bucket bucket --die-with-parent || skip_all "s3emu was not built"
s3=$url
start_emu ncemu --user alice --password pw || skip_all "ncemu was not built"
nc=$url
mkdir -p "$T/remote/a"
conf_for() {	# CACHE: the same remotes seen from another host
	printf '[weir]\ncache_dir = %s\ncache_size = 500MB\n' "$1"
	printf '[remote a]\ntype = local\npath = %s\n' "$T/remote/a"
	printf '[remote s]\ntype = s3\nendpoint = %s\nregion = us-east-1\nbucket = bucket\naccess_key = key\nsecret_key = secret\ntimeout = 4\n' "$s3"
	printf '[remote n]\ntype = nextcloud\nurl = %s\nuser = alice\npassword = pw\n' "$nc"
}
conf_for "$T/cache" > "$CONF"
conf_for "$T/cache2" > "$T/other.conf"
chmod 600 "$CONF" "$T/other.conf"
faults() { curl -sSf -o /dev/null -X POST "$1/_emu/$2" || bail "emulator: $2"; }
s3_get() { curl -sS -m 60 "$s3/_emu/raw/bucket/$1"; }
nc_get() { curl -sS -m 60 -u alice:pw "$nc/remote.php/dav/files/alice/$1"; }
mkdir "$T/bin"
printf '#!/bin/sh\nv=$1; shift\nexec "%s" $v -c "%s" "$@"\n' "$WEIR" "$CONF" > "$T/bin/here"
printf '#!/bin/sh\nv=$1; shift\nexec "%s" $v -c "%s" "$@"\n' "$WEIR" "$T/other.conf" > "$T/bin/other"
chmod +x "$T/bin/here" "$T/bin/other"
PATH=$T/bin:$PATH
# what a tree looks like: modes, times, targets of links, sums
shape() { (cd "$1" && find . -mindepth 1 \( -type f -printf '%P %m %T@ ' -exec sh -c 'sha256sum < "$1"' _ {} \; \) -o -type l -printf '%P -> %l\n' -o -type d -printf '%P %m/\n' | sed 's/\.[0-9]* / /' | sort); }

# --- what refuses --------------------------------------------------------------------------------------------------------
refuse "cp of nothing" 2 "something is missing" here cp
refuse "cp of files of this host alone" 2 "none of these names a storage.*cp\(1\)" here cp "$CONF" "$T/x"
refuse "a remote that is not there" 1 "no \[remote no\]; a file of that name here is './no:x'" here cp no:x "$T/x"
refuse "a file that is not there" 1 "'a:none': no such file" here cp a:none "$T/x"
refuse "ls of what is not there" 1 "'s:none': no such file" here ls s:none
refuse "cat of a folder" 1 "'a:': is a directory" here cat a:
refuse "ls of a path of this host" 2 "names no storage" here ls "$T"
refuse "namespace and remote together" 2 "cannot be named together" here cp :/a/x s:y

# --- there and back ------------------------------------------------------------------------------------------------------
mkdir -p "$T/src/d/empty" "$T/src/d/e"
for i in $(seq 40); do echo "file $i" > "$T/src/d/f$i"; done
head -c 9000000 /dev/urandom > "$T/src/big"
: > "$T/src/nothing"
printf 'name\n' > "$T/src/d/e/with blank, ü and #%"
chmod 640 "$T/src/d/f1"; chmod 755 "$T/src/d/f2"; chmod 750 "$T/src/d/e"
touch -d '2021-03-04 05:06:07' "$T/src/d/f3" "$T/src/big"
ln -s d/f1 "$T/src/link"
for r in a s n; do
	check "$r: a tree goes there" here cp -r "$T/src" "$r:tree"
	is "$r: nothing is left in the journal" "$(python3 -c 'import sqlite3,sys; print(sqlite3.connect(sys.argv[1]).execute("select count(*) from journal").fetchone()[0])' "$T/cache/meta.db")" 0
	check "$r: and comes back, to another host" other cp -r "$r:tree" "$T/back-$r"
	is "$r: with names and bytes" "$(shape "$T/back-$r" | sed -E 's/ [0-7]+ [0-9]+ / /; s/ [0-7]+\/$/\//')" "$(shape "$T/src" | sed -E 's/ [0-7]+ [0-9]+ / /; s/ [0-7]+\/$/\//')"
	is "$r: and times" "$(stat -c %Y "$T/back-$r/d/f3" "$T/back-$r/big")" "$(stat -c %Y "$T/src/d/f3" "$T/src/big")"
	check "$r: a second time changes nothing" here cp -r "$T/src" "$r:"
	run here ls "$r:"
	is "$r: into a folder that is there goes by its name" "$out" "$(printf 'src/\ntree/')"
	run other cat "$r:tree/d/f7"
	is "$r: cat" "$out" "file 7"
	run other cat "$r:tree/link"
	is "$r: cat follows a link" "$out" "file 1"
done
is "modes are kept where the storage can" "$(stat -c %a "$T/back-a/d/f1" "$T/back-a/d/f2" "$T/back-s/d/f1" | tr '\n' ' ')" "640 755 640 "
is "the bucket has the file itself" "$(s3_get tree/d/f9)" "file 9"
is "so has the Nextcloud" "$(nc_get tree/d/f9)" "file 9"
is "the folder shows no part of a copy" "$(find "$T/remote/a" -name '.weir-part*')" ""

check "a folder again without -r" bash -c "! $WEIR cp -c $CONF $T/src a:x 2> $T/err && grep -q 'give -r' $T/err"
check "one file to a name" here cp "$T/src/d/f5" s:five
is "is that file" "$(s3_get five)" "file 5"
check "from one storage to the other" here cp s:five n:five
is "arrives" "$(nc_get five)" "file 5"
check "through the namespace" here cp :/s/five "$T/five"
is "is the same" "$(cat "$T/five")" "file 5"
refuse "several into what is no folder" 1 "is not a folder" here cp "$T/src/d/f1" "$T/src/d/f2" s:five
refuse "into itself" 1 "into itself" here cp -r a:tree a:tree/d/again

# --- ls ------------------------------------------------------------------------------------------------------------------
run here ls -l s:tree
like "ls -l: size, time and name" "$out" "^-rw-r--r-- +9000000 2021-03-04 05:06:07 big$"
run here ls --json s:tree
is "ls --json" "$(json "$out" '[(e["name"], e["type"], e["bytes"]) for e in v if e["name"] != "d"]')" '[["big", "file", 9000000], ["link", "link", 4], ["nothing", "file", 0]]'
run here ls -R n:tree
like "ls -R" "$out" "with blank, ü and #%"
run here ls
is "ls of nothing: the namespace" "$out" "$(printf 'a/\nn/\ns/')"

# --- what others changed -------------------------------------------------------------------------------------------------
curl -sS -m 30 -X PUT --data-binary theirs "$s3/_emu/raw/bucket/five"
run here cat s:five
is "cat shows what others wrote" "$out" theirs
check "an overwrite of it" here cp "$T/src/d/f6" s:five
is "stands" "$(s3_get five)" "file 6"

# --- storages that lag and break -----------------------------------------------------------------------------------------
faults "$s3" "set?latency_ms=20&reset_rate=0.05"
check "upload through lag and resets" here cp -r "$T/src" s:rough
check "download through them" other cp -r s:rough "$T/back-rough"
faults "$s3" reset
is "every byte is right" "$(cd "$T/back-rough" && find . -type f -exec sha256sum {} + | sort)" "$(cd "$T/src" && find . -type f -exec sha256sum {} + | sort)"

# A download that dies leaves the old file.
echo old > "$T/target"
faults "$s3" "set?bandwidth=1000000"
"$WEIR" cp -c "$T/other.conf" s:src/big "$T/target" & pid=$!
wait_for 20 bash -c "ls $T/.weir-part.* > /dev/null 2>&1" || fail "no part appeared"
kill -9 $pid; wait $pid 2> /dev/null
is "a killed download leaves the old file as it was" "$(cat "$T/target")" old
faults "$s3" reset
check "the next one brings it" other cp s:src/big "$T/target"
check "whole" cmp "$T/target" "$T/src/big"
is "and removes what the killed one left" "$(ls -A "$T" | grep weir-part)" ""

# A program that is killed in the middle of sending loses nothing that it had copied.
faults "$s3" "set?bandwidth=200000"
"$WEIR" cp -q -c "$CONF" "$T/src/big" s:kept & pid=$!
journalled() { python3 -c 'import sqlite3,sys; sys.exit(0 if sqlite3.connect(sys.argv[1]).execute("select count(*) from nodes n, journal j where j.node=n.id and n.name=?", ("kept",)).fetchone()[0] else 1)' "$T/cache/meta.db"; }
wait_for 30 journalled || fail "it never came into the journal"
kill -9 $pid; wait $pid 2> /dev/null
faults "$s3" reset
rm -f "$T/gone"
check "after kill -9 the next use of the configuration sends it" here cp "$T/src/nothing" s:other
check "with a flush of its own" bash -c "for i in 1 2 3 4 5 6 7 8 9 10; do $WEIR cp -q -c $CONF $T/src/d/f1 s:poke && curl -sSf -o $T/gone $s3/_emu/raw/bucket/kept && exit 0; done; exit 1"
check "every byte" cmp "$T/gone" "$T/src/big"

# --- a storage that is away ----------------------------------------------------------------------------------------------
faults "$s3" "set?stall_all=1"
refuse "cp to a storage that is away" 5 "kept in the cache" env timeout 100 "$WEIR" cp -c "$CONF" "$T/src/d/f8" s:later
check "other storages do not mind" here cp "$T/src/d/f8" a:later
faults "$s3" reset
check "a later cp to it succeeds" here cp "$T/src/d/f9" s:later2
arrived() { [ "$(s3_get later)" = "file 8" ] || here cp -q "$T/src/d/f9" s:later2; [ "$(s3_get later)" = "file 8" ]; }
wait_for 20 arrived
is "and what was kept has arrived" "$(s3_get later)" "file 8"

# --- beside a mount ------------------------------------------------------------------------------------------------------
if [ -e /dev/fuse ] && [ "$(id -u)" = 0 ]; then
	start_mount
	check "mounted: cp goes through the mount" here cp "$T/src/d/f10" s:m10
	is "arrives" "$(s3_get m10)" "file 10"
	is "and is there at once" "$(cat "$MNT/s/m10")" "file 10"
	run here ls -l s:tree
	like "mounted: ls" "$out" "9000000 2021-03-04 05:06:07 big$"
	run here cat n:five
	is "mounted: cat" "$out" "file 5"
	check "mounted: a tree" here cp -r "$T/src" n:m
	check "comes back" other cp -r n:m "$T/back-m"
	check "the same" diff -r "$T/src" "$T/back-m"
	stop_mount || fail "umount"
else
	skip "beside a mount" "no /dev/fuse or not root"
fi

# Two at once wait for each other.
faults "$s3" "set?latency_ms=300"
"$WEIR" cp -q -c "$CONF" -r "$T/src/d" s:first & one=$!
run "$WEIR" cp -q -c "$CONF" "$T/src/d/f2" s:second
is "a second cp waits for the first one's cache" "$rc" 0
wait $one
is "both succeed" "$?" 0
faults "$s3" reset
is "first" "$(s3_get first/f2)" "file 2"
is "second" "$(s3_get second)" "file 2"
done_testing
