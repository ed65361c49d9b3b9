#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# kill -9 of the worker alone, again and again, under a reader and a writing shell: the mount lives on, no call fails, no request is
# done twice, every byte is right. 20 kills; 6 with --quick.
# weir-test: timeout=300 asan=yes
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/remotes.sh"
kills=20
[ -z "${WEIR_TEST_QUICK:-}" ] || kills=6
kernel=$(uname -r | sed 's/^\([0-9]*\)\.\([0-9]*\).*/\1 \2/')
set -- $kernel
[ "$1" -gt 6 ] || { [ "$1" -eq 6 ] && [ "$2" -ge 9 ]; } || skip_all "this kernel cannot hand requests over (FUSE_NOTIFY_RESEND: 6.9)"
r=local
! have_remote rgw || r=rgw
conf_remotes $r
fresh_cache
for i in 1 2 3; do head -c $((i * 3000000)) /dev/urandom > "$T/ref$i"; far_put $r "read/ref$i" "$T/ref$i"; done
start_mount
D=$MNT/$r

reader() {
	while [ ! -e "$T/stop" ]; do
		for i in 1 2 3; do
			cmp "$T/ref$i" "$D/read/ref$i" >> "$T/reader.err" 2>&1 || echo "cmp of ref$i failed" >> "$T/reader.err"
		done
		ls "$D/read" > /dev/null 2>> "$T/reader.err"
		echo x >> "$T/reads"
	done
}

# Every call here fails if it is done twice, or if what it made before is not there.
writer() {
	python3 - "$D/write" "$T/stop" "$T/writes" > "$T/writer.err" 2>&1 <<'P'
import os, sys
top, stop, count = sys.argv[1:]
os.mkdir(top)
n = 0
keep = []
while not os.path.exists(stop):
    d = f"{top}/d{n}"
    os.mkdir(d)
    fd = os.open(f"{d}/new", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    data = os.urandom(70000)
    os.write(fd, data[:30000])
    os.write(fd, data[30000:])
    os.close(fd)
    os.symlink("new", f"{d}/link")
    os.rename(f"{d}/new", f"{d}/moved")
    with open(f"{d}/moved", "rb") as f:
        assert f.read() == data, "wrong bytes"
    os.unlink(f"{d}/link")
    if n % 2:
        os.unlink(f"{d}/moved")
        os.rmdir(d)
    else:
        keep.append((f"{d}/moved", data))
    n += 1
for path, data in keep:
    with open(path, "rb") as f:
        assert f.read() == data, f"wrong bytes at the end: {path}"
open(count, "w").write(str(n))
P
	echo $? > "$T/writer.rc"
}

# One file is open from before the first kill until the end.
exec 9< "$D/read/ref2"
head -c 1000 <&9 | cmp -s - <(head -c 1000 "$T/ref2") || fail "the open file reads before"
: > "$T/reader.err"
reader &
R=$!
writer &
W=$!
sup=$(supervisor_pid)
taken=0
for i in $(seq $kills); do
	old=$(worker_pid)
	sleep "$(awk -v s="$RANDOM" 'BEGIN {printf "%.3f", 0.05 + s / 32768 * 0.6}')"
	kill -9 "$old" || break
	replaced() { local w; w=$(worker_pid) && [ -n "$w" ] && [ "$w" != "$old" ] && kill -0 "$w"; }
	wait_for 20 replaced || { fail "kill $i: a new worker took over" "$("$WEIR" status "$MNT" 2>&1)"; break; }
	taken=$((taken + 1))
done
is "a new worker took over every time" "$taken" "$kills"
is "the supervisor is the same" "$(supervisor_pid)" "$sup"
touch "$T/stop"
ended() { ! kill -0 $R && ! kill -0 $W; }
wait_for 60 ended || { fail "reader and writer end" "$(ps -o pid,stat,wchan:30,args)"; kill -9 $R $W; }
is "the reader saw no error and no wrong byte" "$(head -n 5 "$T/reader.err")" ""
is "the writer saw none either" "$(cat "$T/writer.rc" 2>&1) $(tail -n 5 "$T/writer.err")" "0 "
if [ "$(wc -l < "$T/reads")" -gt 3 ] && [ "$(cat "$T/writes" 2> /dev/null || echo 0)" -gt 10 ]; then
	pass "there was work all the time ($(wc -l < "$T/reads") rounds of reading, $(cat "$T/writes") of writing)"
else
	fail "there was work all the time" "$(wc -l < "$T/reads") and $(cat "$T/writes" 2>&1)"
fi
if cmp -s <(tail -c +1001 "$T/ref2") - <&9; then pass "the file that was open all along reads on"; else fail "the file that was open all along reads on"; fi
exec 9<&-
no_stuck "nobody in D state"
flushed "flush"
unmounted "umount"
done_testing
