#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The kernel edge alone, on an fs that does strange things (fakefs.c): take-over of the living mount, requests done once, interrupts,
# passthrough, invalidation, unmounting, and that nothing is ever stuck.
# weir-test: timeout=300 asan=yes
. "$(dirname "$0")/../lib.sh"
[ "$(id -u)" = 0 ] || skip_all "needs root"
[ -c /dev/fuse ] || skip_all "no /dev/fuse here"
FAKEFS=$WEIR_BUILDDIR/tests/mount/fakefs
[ -x "$FAKEFS" ] || bail "no $FAKEFS: make it first"
kernel=$(uname -r | sed 's/^\([0-9]*\)\.\([0-9]*\).*/\1 \2/')
has_resend=no
{ [ "${kernel% *}" -gt 6 ] || { [ "${kernel% *}" -eq 6 ] && [ "${kernel#* }" -ge 9 ]; }; } && has_resend=yes
[ $has_resend = yes ] || skip_all "this kernel cannot hand requests over (FUSE_NOTIFY_RESEND: 6.9)"
LIMIT=20
F=$T/contents
SUP=

cleanup() {
	tail -n 30 "$F/log" 2> /dev/null | sed 's/^/# /'
	[ -z "$SUP" ] || kill -9 "$SUP" 2> /dev/null
	umount -l "$MNT" 2> /dev/null
	cat "$F/stderr" 2> /dev/null | tail -n 40 | sed 's/^/# /'
}
log_has() { grep -q -- "$1" "$F/log"; }
log_count() { grep -c -- "$1" "$F/log"; }
ctl() { timeout 5 bash -c "echo '$1' > $MNT/ctl"; }
# Children of the supervisor by what they do; zombies do not count.
children() { ps -o pid=,stat=,comm= --ppid "$SUP" | awk -v c="$1" '$3 == c && $2 !~ /^Z/ { print $1 }'; }
worker() { children weir-worker; }
is_dead() { local s; s=$(ps -o stat= -p "$1") || return 0; [[ $s == Z* ]]; }
answered() { ctl answer; is_dead "$1"; }	# asks again: the request may be on its way to the next worker
has_new_worker() { local w; w=$(worker); [ -n "$w" ] && [ "$w" != "$1" ]; }
kill_worker() {	# and wait for the next one
	local w
	w=$(worker)
	[ -n "$w" ] && kill -9 "$w" && wait_for 10 has_new_worker "$w"
}
mount_fake() {	# [OPTION…]
	mkdir -p "$MNT" "$F"
	rm -f "$F"/*
	SUP=$(timeout 20 "$FAKEFS" "$@" "$MNT" "$F") || { out=$SUP; SUP=; return 1; }
}
holds() {	# PROMISE FUNCTION…: check, for functions of this script
	local what=$1
	shift
	if "$@"; then pass "$what"; else fail "$what" "not so: $*"; fi
}
forget() { dd of="$1" oflag=nocache conv=notrunc,fdatasync count=0 status=none; }	# the kernel drops its pages of this file
nobody_in_d() { ! ps -eo stat=,args= | grep '^D' | grep -q "$T"; }

# ---- an ordinary file system ----
mount_fake -a || bail "cannot mount" "$out"
like "the mount says what it is" "$(findmnt -n -o FSTYPE,SOURCE,OPTIONS "$MNT")" '^fuse.weir +fake,fs +.*nosuid,nodev.*default_permissions'
dev=$(awk -v m="$MNT" '$5 == m { print $3 }' /proc/self/mountinfo)
is "the kernel reads a MiB ahead" "$(cat "/sys/class/bdi/$dev/read_ahead_kb")" 1024
check "a file is read" grep -q hello "$MNT/plain"
head -c 40000000 /dev/urandom > "$T/ref"
check "40 MB are written in pieces of a MiB" dd if="$T/ref" of="$MNT/copy" bs=1M
check "and of 10,000 bytes" dd if="$T/ref" of="$MNT/copy2" bs=10000 count=100
check "and read back right" cmp "$T/ref" "$MNT/copy"
check "also when the kernel has dropped its pages" bash -c "dd of=$MNT/copy oflag=nocache conv=notrunc,fdatasync count=0 status=none; cmp $T/ref $MNT/copy"
check "a shared mapping writes" "$FAKEFS" mmapwrite "$MNT/copy2"
is "into the file" "$(head -c 6 "$F/$(stat -c %i "$MNT/copy2")")" MAPPED
is "10,000 entries are listed" "$(timeout 60 ls "$MNT/big" | sort -u | wc -l)" 10000
is "with their attributes" "$(timeout 60 ls -l "$MNT/big" | grep -c ^drwx)" 10000
check "a folder, a link, a rename" bash -c "cd $MNT && mkdir d && ln -s plain d/l && test \$(readlink d/l) = plain && echo x > d/a && mv d/a d/b && cat d/b && rm d/l d/b && rmdir d"
check "a file is appended to, cut and grown" bash -c "cd $MNT && echo 1 > t && echo 2 >> t && truncate -s 3 t && truncate -s 9 t && test \$(stat -c %s t) = 9"
check "mode, owner and times are set" bash -c "cd $MNT && chmod 4755 t && chown 5:6 t && touch -d 2001-02-03T04:05:06 t && test \"\$(stat -c '%a %u %g %Y' t)\" = '755 5 6 981173106'"
check "writing takes the suid bit off at once" bash -c "cd $MNT && chown 1234 t && chmod 4777 t && setpriv --reuid 1234 --clear-groups bash -c 'echo x >> t' && test \$(stat -c %a t) = 777"
refuse "a hard link is refused" ! "Operation not permitted" ln "$MNT/plain" "$MNT/hard"
refuse "a device is refused" ! "Operation not permitted" mknod "$MNT/dev" b 1 1
refuse "too many open files are named so" ! "Too many open files in system" cat "$MNT/full"
refuse "extended attributes are off" ! "not supported" setfattr -n user.x -v 1 "$MNT/plain"
check "flock is the kernel's" bash -c "exec 9> $MNT/lock; flock -n 9 && ! flock -n $MNT/lock true"
check "df answers" df "$MNT"

# ---- take-over ----
exec 5< "$MNT/copy"
head -c 1000 <&5 > /dev/null
w=$(worker)
holds "a worker that is killed is replaced" kill_worker
is "an open file reads on" "$(timeout 5 head -c 100000 <&5 | wc -c)" 100000
exec 5<&-
check "files are still there" cmp "$T/ref" "$MNT/copy"
timeout 10 cat "$MNT/slow" > "$T/slow" & pid=$!
sleep 0.1
kill -9 "$(worker)"
wait $pid
is "a read in flight is answered by the next worker" "$(cat "$T/slow")" hello
before=$(log_count "resent .* known")
check "mkdir is done once" mkdir "$MNT/die1"
check "O_EXCL is done once" bash -c "set -C; echo > $MNT/die2"
check "symlink is done once" ln -s x "$MNT/die3"
check "rename is done once" mv "$MNT/die2" "$MNT/dead2"
check "unlink is done once" rm "$MNT/die3"
check "rmdir is done once" rmdir "$MNT/die1"
is "each of the six came twice" $(($(log_count "resent .* known") - before)) 6
w=$(worker)
ctl crash
holds "a worker that crashes is replaced" wait_for 10 has_new_worker "$w"

# ---- waiting, and being stopped while waiting ----
run timeout -s INT 1 stat "$MNT/park1"
is "Ctrl-C ends a waiting request" "$rc" 124
holds "by cancelling it" wait_for 5 log_has "cancel 0"
timeout 30 stat "$MNT/park2" > /dev/null 2>&1 & pid=$!
sleep 0.3
kill_worker
pkill -KILL -P $pid; wait $pid 2> /dev/null
holds "kill -9 ends one that was taken over" wait_for 5 bash -c "test \$(grep -c 'cancel 0' $F/log) -ge 2"
timeout -s KILL 1 cat "$MNT/never" > /dev/null 2>&1
holds "a killed reader of a page that never comes is gone" wait_for 5 bash -c "! pgrep -f '^cat $MNT/never'"
holds "nobody is in D state" nobody_in_d
ctl answer

# ---- news ----
check "a file is cached" grep -q hello "$MNT/plain"
ctl "change plain changed text"
holds "a change comes through" wait_for 5 grep -qx "changed text" "$MNT/plain"
ino=$(stat -c %i "$MNT/plain")
ctl "replace plain other text"
holds "another file under the same name comes through" wait_for 5 grep -qx "other text" "$MNT/plain"
is "as another node" "$([ "$ino" != "$(stat -c %i "$MNT/plain")" ]; echo $?)" 0
ctl "delete plain"
holds "a deletion comes through" wait_for 5 bash -c "! stat $MNT/plain"
forget "$MNT/never"
timeout 20 cat "$MNT/never" > "$T/never" & pid=$!
sleep 0.3
ctl "change never news"
sleep 0.3
w=$(worker)
is "news wait for a read in flight" "$(log_count "told c never")" 0
kill -9 "$w"
holds "a worker that waits with news can be killed" wait_for 3 is_dead "$w"
wait_for 5 has_new_worker "$w"
wait_for 10 answered $pid
wait $pid
is "and its reader gets what is there" "$(cat "$T/never")" news

# ---- passthrough ----
if grep -q "first 1 pass 1" "$F/log"; then
	cp "$T/ref" "$MNT/passbig"
	check "a file is passed through" cmp "$T/ref" "$MNT/passbig"
	exec 6< "$MNT/passbig"
	check "a writer may come while a reader has it" bash -c "printf CHANGED | dd of=$MNT/passbig conv=notrunc status=none"
	is "the reader sees it at once" "$(head -c 7 <&6)" CHANGED
	kill_worker
	is "a reader reads on after a take-over" "$(head -c 100000 <&6 | wc -c)" 100000
	check "and another one joins" bash -c "head -c 7 $MNT/passbig | grep -q CHANGED"
	exec 6<&-
	is "no read came to weir" "$(log_count "read of a passthrough file: 1")" 0
	check "afterwards it can be opened cached" bash -c "exec 7>> $MNT/passbig; head -c 7 $MNT/passbig | grep -q CHANGED"
else
	skip "passthrough" "not on this kernel"
fi

# ---- killed again and again ----
kills=20
[ -z "${WEIR_TEST_QUICK:-}" ] || kills=6
: > "$T/errors"
reader() {
	while [ ! -e "$T/stop" ]; do
		cmp "$T/ref" "$MNT/copy" >> "$T/errors" 2>&1 || echo "reader failed" >> "$T/errors"
		forget "$MNT/copy"
	done
}
writer() {
	local n=0
	cd "$MNT" || return
	while [ ! -e "$T/stop" ]; do
		n=$((n + 1))
		{ mkdir k$n && dd if="$T/ref" of=k$n/f bs=64k count=30 status=none && cmp -n 1966080 "$T/ref" k$n/f && mv k$n/f k$n/g && rm k$n/g &&
		    rmdir k$n; } 2>> "$T/errors" || echo "writer failed at $n" >> "$T/errors"
	done
	echo $n > "$T/rounds"
}
timeout 60 "$FAKEFS" worst "$MNT" 1000 > "$T/calm"
for _ in 1 2 3; do
	timeout 60 "$FAKEFS" worst "$MNT" 1000 > "$T/once" & m=$!
	sleep 0.3
	kill_worker
	wait $m
	sleep 5		# a worker that dies young comes back later
	echo "# longest wait of a request over one take-over: $(cat "$T/once") ms; without one $(cat "$T/calm") ms"
done
reader & r=$!
writer & wr=$!
( while [ ! -e "$T/stop" ]; do "$FAKEFS" worst "$MNT" 500 >> "$T/worst"; done ) & m=$!
done_kills=0
for _ in $(seq $kills); do
	sleep 0.2
	kill_worker && done_kills=$((done_kills + 1))
done
touch "$T/stop"
wait $r $wr $m
is "$kills workers were killed under load" $done_kills $kills
is "no call failed, no byte was wrong" "$(cat "$T/errors")" ""
like "work went on" "$(cat "$T/rounds")" '^[1-9]'
echo "# longest wait of a request: $(sort -n "$T/worst" | tail -n 1) ms over $kills take-overs under load"
echo "# $("$FAKEFS" bench "$MNT" 5000 1)"
holds "nobody is in D state" nobody_in_d

# ---- a worker that does not answer ----
w=$(worker)
ctl hang &	# its own close hangs, too
poke() { timeout 60 stat "$MNT/none-$RANDOM" > /dev/null 2>&1 & has_new_worker "$w"; }	# one more thread hangs
holds "a worker that hangs is replaced within 35 s" wait_for 35 poke
check "and the mount answers again" timeout 5 stat "$MNT/copy"

# ---- ends ----
exec 8< "$MNT/copy"
kill "$SUP"
holds "SIGTERM takes a busy mount off" wait_for 5 bash -c "! findmnt -n $MNT"
is "whoever has a file open reads on" "$(timeout 5 head -c 200000 <&8 | wc -c)" 200000
exec 8<&-
holds "and it ends when the last one closes" wait_for 5 log_has "supervisor ended 0"
mount_fake || bail "cannot mount again" "$out"
check "umount(8) ends it" umount "$MNT"
holds "with status 0" wait_for 5 log_has "supervisor ended 0"
mount_fake || bail "cannot mount again" "$out"
timeout 20 cat "$MNT/never" > /dev/null 2>&1 & pid=$!
sleep 0.3
ctl "change never news"
sleep 0.2
kill -9 "$SUP"
holds "a supervisor that is killed with news under way leaves nobody waiting" wait_for 5 is_dead $pid
wait $pid 2> /dev/null
refuse "its mount is dead" ! "not connected" timeout 5 ls "$MNT"
SUP=
mount_fake || bail "cannot mount over a dead mount" "$out"
check "the next mount takes its place" grep -q hello "$MNT/plain"
is "and is the only one" "$(grep "$MNT " /proc/self/mountinfo | wc -l)$(grep "$MNT " /proc/self/mountinfo | sed 1d)" 1
umount "$MNT"
wait_for 5 log_has "supervisor ended 0"
mount_fake -r "remote 'x': bucket 'y': no such bucket"
is "a worker that refuses is quoted" "$out" "refused: remote 'x': bucket 'y': no such bucket"
nothing_mounted() { ! findmnt -n "$MNT"; }
holds "and nothing stays mounted" wait_for 5 nothing_mounted
mount_fake -r ""
like "a worker that dies at once is told" "$out" 'refused: the worker was ended by signal 6.*while it started'
MNT=$T/none.such F=$T/contents
out=$(timeout 10 "$FAKEFS" "$T/no/such/folder" "$F")
like "a mount point that is not there is told" "$out" "refused: mount on '.*/no/such/folder': No such file or directory"
MNT=$T/mnt

# ---- without root ----
if command -v fusermount3 > /dev/null && [ -u "$(command -v fusermount3)" ] && id nobody > /dev/null 2>&1; then
	rm -rf "$F"
	mkdir -p "$F"
	chmod 755 "$T"
	chown nobody "$F" "$MNT"
	FAKEFS=$(for_all "$FAKEFS")
	# Every installed system lets everybody open it; a bare container may not. Our namespace gets one that does.
	[ "$(stat -c %a /dev/fuse)" = 666 ] || { mknod -m 666 "$T/fuse" c 10 229 && mount --bind "$T/fuse" /dev/fuse; }
	out=$(timeout 20 setpriv --reuid nobody --clear-groups "$FAKEFS" "$MNT" "$F")
	if [[ $out =~ ^[0-9]+$ ]]; then
		SUP=$out
		is "others mount with fusermount3" "$(timeout 5 setpriv --reuid nobody --clear-groups cat "$MNT/plain")" hello
		like "with the source as it is written" "$(grep " $MNT " /proc/self/mountinfo)" 'fuse.weir fake,fs'
		kill_worker
		is "their worker is replaced, too" "$(timeout 5 setpriv --reuid nobody --clear-groups cat "$MNT/plain")" hello
		kill "$SUP"
		holds "and they unmount" wait_for 5 log_has "supervisor ended 0"
		is "leaving nothing" "$(findmnt -n "$MNT")" ""
		SUP=
	else
		fail "others mount with fusermount3" "$out"
	fi
else
	skip "mounting without root" "no setuid fusermount3 here"
fi
done_testing
