#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A pool of two folders, and of a folder and a server, through a mount: where files go, full and dead members, renames, removals, the same file by
# two paths, a crash, figures that count once.
# weir-test: timeout=240 asan=yes
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/remotes.sh"
K=1024
A=$T/remote/a B=$T/remote/b
mkdir -p "$A" "$B" "$B/old"
echo of-b > "$B/old/f"

conf() {	# NAMESPACE-LINES
	cat > "$CONF" <<-C
	[weir]
	cache_dir = $T/cache
	quota = 100MiB
	[remote a]
	type = local
	path = $A
	quota = 1000KiB
	[remote b]
	type = local
	path = $B
	quota = 2000KiB
	[namespace]
	$1
	C
	chmod 600 "$CONF"
}
conf '/a = a
/b = b
/all = pool(a, b; reserve=500KiB)'
df_of() { df -B1 --output=size,used "$1" | tail -n 1 | awk '{print $1, $2}'; }
kib() { head -c $(($1 * K)) /dev/urandom; }

run "$WEIR" check -c "$CONF"
like "check tells of the pool" "$out" "/all: pool of a:, b:; new files go to the first member with room"
start_mount
P=$MNT/all
is "what a member has is there" "$(cat "$P/old/f")" of-b
is "df of the pool is the sum of its members" "$(df_of "$P")" "$((3000 * K)) 4096"
kib 510 > "$T/one"
check "a tree is copied into it" bash -c "mkdir -p '$P/x/y' && cp '$T/one' '$P/x/y/one' && cp '$T/one' '$P/x/y/two'"
check "and read back" cmp "$T/one" "$P/x/y/one"
flushed "flush"
is "both on the first member, until it is full" "$(cd "$T/remote" && find . -name one -o -name two | sort | tr '\n' ' ')" "./a/x/y/one ./b/x/y/two "

# One file by two paths.
is "the same node by either path" "$(stat -c %i "$P/x/y/one")" "$(stat -c %i "$MNT/a/x/y/one")"
ls "$P/x/y" "$MNT/a/x/y" > /dev/null
echo through-a > "$MNT/a/x/y/new"
is "made there, seen here" "$(cat "$P/x/y/new")" through-a
echo through-all >> "$P/x/y/new"
is "written here, read there" "$(tr '\n' ' ' < "$MNT/a/x/y/new")" "through-a through-all "
mv "$MNT/a/x/y/new" "$MNT/a/x/y/newer"
is "renamed there, listed here" "$(ls "$P/x/y" | tr '\n' ' ')" "newer one two "
rm "$P/x/y/newer"
is "removed here, gone there" "$(ls "$MNT/a/x/y" | tr '\n' ' ')" "one "
check "a hundred times, without a stale name" bash -c "for i in \$(seq 100); do echo \$i > '$MNT/a/t' && [ \$(cat '$P/t') = \$i ] && rm '$P/t' && [ ! -e '$MNT/a/t' ] && mkdir '$P/t' && rmdir '$MNT'/[ab]/t && [ ! -e '$P/t' ] || exit 1; done"

# Full members.
check "what does not fit on the first goes to the next" cp "$T/one" "$P/three"
refuse "a file that outgrows its member is refused at the write" ! "[Qq]uota exceeded|No space" dd if=/dev/zero of="$P/grow" bs=100K count=30 status=none
rm -f "$P/grow"
kib 300 > "$P/fill"
is "the reserve is kept while another has more" "$(ls "$MNT/b/fill")" "$MNT/b/fill"
for i in 1 2 3 4; do dd if=/dev/zero of="$P/rest$i" bs=1K count=1500 status=none 2> /dev/null; done
refuse "nobody has room" ! "[Qq]uota exceeded|No space" dd if=/dev/zero of="$P/none" bs=1K count=1
check "a directory still can be made" mkdir "$P/dir"
rm -f "$P"/fill "$P"/rest* "$P/none" "$P/three"

# Renames stay on the member.
check "rename over a file of the other member" bash -c "echo small > '$MNT/a/r1'; mv -T '$P/r1' '$P/old/f' && [ \$(cat '$P/old/f') = small ] && [ ! -e '$MNT/b/old/f' ]"
check "a directory that both have" mv "$P/x" "$P/dir/z"
is "moved on both" "$(ls "$MNT/a/dir/z/y" "$MNT/b/dir/z/y" | tr '\n' ' ')" "$MNT/a/dir/z/y: one  $MNT/b/dir/z/y: two "
check "out of the pool is a copy" bash -c "mv '$P/dir/z/y/one' '$MNT/b/out' && cmp '$T/one' '$MNT/b/out' && rm '$MNT/b/out'"
refuse "rmdir of what one member still fills" 1 "not empty" rmdir "$P/dir/z/y"
check "rm -r" rm -r "$P/dir"
is "gone on both" "$(ls "$MNT/a" "$MNT/b" | tr '\n' ' ')" "$MNT/a: old  $MNT/b: old "
flushed "flush after renames"
is "the members hold exactly that" "$(cd "$T/remote" && find . -type f | sort | tr '\n' ' ')" "./a/old/f "

# A crash, at once after a burst of changes.
for i in $(seq 40); do mkdir -p "$P/c/$((i % 4))" && echo "$i" > "$P/c/$((i % 4))/$i"; done
mv "$P/c/1" "$P/c/one"
rm -r "$P/c/2"
want=$(cd "$P" && find c | sort | xargs stat -c '%i %n')
sup=$(supervisor_pid) wrk=$(worker_pid)
kill -9 "$sup" "$wrk"
gone() { ! kill -0 "$sup" && ! kill -0 "$wrk"; }
wait_for 10 gone
umount -l "$MNT" 2> /dev/null
start_mount
is "the same tree, with the same numbers, after kill -9" "$(cd "$P" && find c | sort | xargs stat -c '%i %n')" "$want"
is "and the same contents" "$(cat "$P"/c/*/* | sort -n | tr '\n' ' ')" "$(for i in $(seq 40); do [ $((i % 4)) = 2 ] || echo $i; done | tr '\n' ' ')"
run "$WEIR" du "$P/c"
like "du of the pool" "$out" "^[^0-9]*[0-9]+"
wrk=$(worker_pid)
kill -9 "$wrk"
is "a worker's end is not seen" "$(ls "$P/c" | tr '\n' ' ')" "0 3 one "
run "$WEIR" flush "$P/c"
is "flush of a path in the pool" "$rc" 0
run "$WEIR" status "$MNT"
like "status knows the members" "$out" "a \(local\)"
unmounted "umount"

# A dead member.
proxy=$WEIR_BUILDDIR/tests/servers/delayproxy
far=
for r in s3emu rgw; do [ -n "$far" ] || ! have_remote $r || far=$r; done
if [ -z "$far" ] || [ ! -x "$proxy" ]; then
	skip "a member that does not answer" "$(why_not s3emu)"
	done_testing
fi
[ $far = rgw ] && url=$WEIR_TEST_RGW || url=$WEIR_TEST_S3EMU
"$proxy" 0 "${url##*:}" 0 > "$T/proxy.out" 2>&1 &
PROXY=$!
cleanup_more() { kill $PROXY 2> /dev/null; }
wait_for 10 grep -q '[0-9]' "$T/proxy.out" || bail "delayproxy says nothing"
port=$(grep -oE '[0-9]+$' "$T/proxy.out" | head -n 1)
rm -rf "$T/cache"
conf_remotes $far local
sed -i '/^\[namespace\]/,$d' "$CONF"
sed -i "s|^\[remote $far\]|[remote $far]\ntimeout = 5|; s|^endpoint = http://127.0.0.1:[0-9]*|endpoint = http://127.0.0.1:$port|" "$CONF"
printf '[namespace]\n/all = pool(%s:p, local:p)\n' $far >> "$CONF"
start_mount
check "files on the server" bash -c "mkdir '$P/d' && cp '$T/one' '$P/d/far' && cp '$T/one' '$P/d/far2'"
mkdir -p "$T/remote/local/p/d" && echo near > "$T/remote/local/p/d/near"
flushed "flush to the server"
run "$WEIR" refresh "$P"
is "near and far in one directory" "$(ls "$P/d" | tr '\n' ' ')" "far far2 near "
kill -USR1 $PROXY	# not a byte more, in either direction
run "$WEIR" refresh "$P"
LIMIT=40
run ls "$P/d"
is "with the member dead the listing still answers" "$(tr '\n' ' ' <<< "$out")" "far far2 near "
is "the other's files are read" "$(timeout 30 cat "$P/d/near")" near
check "what is cached of the dead one too" timeout 30 cmp "$T/one" "$P/d/far"
down() { "$WEIR" status "$MNT" | grep -q "$far (s3): down"; }
if wait_for 40 down; then pass "status says that it is down"; else fail "status says that it is down" "$("$WEIR" status "$MNT")"; fi
check "new files go to the other" bash -c "echo n > '$P/d/new' && mkdir '$P/e' && echo e > '$P/e/f'"
run timeout 30 "$WEIR" flush "$P/e"
is "and arrive" "$rc $(cat "$T/remote/local/p/e/f" "$T/remote/local/p/d/new" 2>&1 | tr '\n' ' ')" "0 e n "
kill -USR2 $PROXY	# the wire again
up() { "$WEIR" status "$MNT" | grep -q "$far (s3): up"; }
if wait_for 90 up; then pass "it comes back"; else fail "it comes back" "$("$WEIR" status "$MNT")"; fi
check "and takes part" bash -c "rm '$P/d/far2' && echo back > '$P/back' && cmp '$T/one' '$P/d/far'"
flushed "flush at the end"
unmounted "umount at the end"
done_testing
