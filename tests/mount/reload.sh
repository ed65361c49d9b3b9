#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# weir reload: another configuration under the living mount. What is open stays open, nobody sees an error, and a bad one changes nothing.
# weir-test: timeout=300 asan=yes beside=yes
. "$(dirname "$0")/../lib.sh"
[ -e /dev/fuse ] || skip_all "no /dev/fuse"
[ "$(id -u)" = 0 ] || skip_all "not root"
kernel=$(uname -r | sed 's/^\([0-9]*\)\.\([0-9]*\).*/\1 \2/')
has_resend=no
{ [ "${kernel% *}" -gt 6 ] || { [ "${kernel% *}" -eq 6 ] && [ "${kernel#* }" -ge 9 ]; }; } && has_resend=yes

conf_local a b c
cp "$CONF" "$T/abc.conf"
head -c 30000000 /dev/urandom > "$T/ref"
cp "$T/ref" "$T/remote/a/big"
now() { install -m 600 "$1" "$CONF.new" && mv "$CONF.new" "$CONF"; }	# an editor's save
without() {	# REMOTE: that section taken out of $CONF
	awk -v s="[remote $1]" '/^\[/ { skip = $0 == s } !skip' "$CONF" > "$T/less.conf" && now "$T/less.conf"
}
put_back() { now "$T/abc.conf"; }
is_new_worker() { [ "$(worker_pid)" != "$1" ]; }

start_mount
sup=$(supervisor_pid) dev=$(awk -v m="$MNT" '$5 == m { print $3 }' /proc/self/mountinfo)

# ---- nothing changed: all that is in use goes on ----
exec 5< "$MNT/a/big" 6>> "$MNT/a/log" 7< "$MNT/b"
head -c 1000 <&5 > "$T/read"
echo one >&6
w=$(worker_pid)
check "reload of what is the same" "$WEIR" reload "$MNT"
like "says so" "$out" "has its configuration from $CONF again"
is "by another worker" "$([ "$(worker_pid)" != "$w" ]; echo $?)" 0
is "of the same supervisor" "$(supervisor_pid)" "$sup"
is "under the same mount" "$(awk -v m="$MNT" '$5 == m { print $3 }' /proc/self/mountinfo)" "$dev"
cat <&5 >> "$T/read"
check "an open file reads on" cmp "$T/read" "$T/ref"
echo two >&6
is "another is written on" "$(cat "$MNT/a/log")" $'one\ntwo'
exec 5<&-

# ---- other remotes, another quota ----
mkdir "$MNT/b/in"
echo held > "$MNT/b/in/held"
check "all is sent" "$WEIR" flush "$MNT"
exec 5< "$MNT/b/in/held"
stat "$MNT/d" > /dev/null 2>&1	# the kernel knows now that it is not there
mkdir "$T/remote/d"
echo there > "$T/remote/d/file"
without b
sed -i 's/^\[weir\]/[weir]\nquota = 100 MB/' "$CONF"
printf '[remote d]\ntype = local\npath = %s\n' "$T/remote/d" >> "$CONF"
check "reload with one remote less and one more" "$WEIR" reload -c "$CONF"
is "the tree shows them" "$(ls "$MNT" | tr '\n' ' ')" "a c d "
is "the new one is there at once, though it was known as missing" "$(cat "$MNT/d/file")" there
refuse "the other one is not" ! "No such file" stat "$MNT/b"
refuse "nor through a directory that is open" ! "Stale file handle" ls -f /proc/self/fd/7/
refuse "nor the file" ! "Stale file handle" bash -c 'echo >> /proc/self/fd/5'
is "the quota is another one" "$(df --output=size -B4096 "$MNT" | tail -n 1 | tr -d ' ')" $((100000000 / 4096))
refuse "and holds" ! "quota exceeded" dd if=/dev/zero of="$MNT/a/much" bs=1M count=200 status=none
rm -f "$MNT/a/much"
exec 5<&- 7<&-
put_back
check "reload of the first one again" "$WEIR" reload -q "$MNT"
is "says nothing with -q" "$out" ""
is "the tree is as it was" "$(ls "$MNT" | tr '\n' ' ')" "a b c "
is "with what it held" "$(cat "$MNT/b/in/held")" held

# ---- other places ----
printf '[namespace]\n/data/one = a:\n/data/sub/two = b:in\n/c = c:\n' >> "$CONF"
check "reload with a namespace" "$WEIR" reload "$MNT"
is "shows it" "$(cd "$MNT" && ls -d c data/one/big data/sub/two/held | tr '\n' ' ')" "c data/one/big data/sub/two/held "
is "and no more" "$(ls "$MNT" "$MNT/data" | tr '\n' ' ')" "$MNT: c data  $MNT/data: one sub "
echo three >&6
is "a file that was open before is the one at its new place" "$(tail -n 1 "$MNT/data/one/log")" three
put_back
check "and back" "$WEIR" reload "$MNT"
is "nothing of it is left" "$(ls "$MNT" | tr '\n' ' ')" "a b c "
refuse "by no name" ! "No such file" stat "$MNT/data"
exec 6>&-

# ---- what changes nothing ----
w=$(worker_pid)
echo 'quotta = 5' >> "$CONF"
refuse "an unknown key" 3 "$CONF:[0-9]+: .*quotta" "$WEIR" reload "$MNT"
sed "s|^cache_dir.*|cache_dir = $T/other|" "$T/abc.conf" > "$CONF"
refuse "another cache" 3 "another 'cache_dir' needs a new mount" "$WEIR" reload "$MNT"
{ cat "$T/abc.conf"; printf '[namespace]\n/ = a:\n/b = b:\n/c = c:\n'; } > "$CONF"
refuse "another root" 3 "what is at '/' is another one: that needs a new mount" "$WEIR" reload "$MNT"
sed '/^\[remote/,$d' "$T/abc.conf" > "$CONF"
refuse "no remote at all" 3 "there is nothing to mount" "$WEIR" reload "$MNT"
{ cat "$T/abc.conf"; printf '[remote gone]\ntype = local\npath = %s/nowhere\n' "$T"; } > "$CONF"
refuse "a new remote that mount would refuse" 3 "remote 'gone': .*nowhere" "$WEIR" reload "$MNT"
rm "$CONF"
refuse "no file" ! "$CONF" "$WEIR" reload "$MNT"
put_back
is "all that while the mount had the same worker" "$(worker_pid)" "$w"
# What only the successor finds out.
{ cat "$T/abc.conf"; printf '[namespace]\n/x = a:big/deeper\n/b = b:\n/c = c:\n'; } > "$CONF"
ls "$MNT/a" > /dev/null
refuse "a place that is a file" 3 "is not a directory; the mount keeps the configuration it had" "$WEIR" reload "$MNT"
is "so it does" "$(ls "$MNT" | tr '\n' ' ')" "a b c "
put_back
refuse "another file than the mount's" ! "has its configuration from $CONF, not from $T/abc.conf" "$WEIR" reload -c "$T/abc.conf"
# a folder that a place led to is a folder like any other when the place is gone
put_back
check "as it was" "$WEIR" reload "$MNT"
mkdir "$MNT/b/named"
{ cat "$T/abc.conf"; printf '[namespace]\n/a = a:\n/a/down/y = b:named\n/c = c:\n'; } > "$CONF"
mkdir -p "$T/remote/a/down"
echo theirs > "$T/remote/a/down/theirs"
check "a place in a folder that a storage has too" "$WEIR" reload "$MNT"
is "is there" "$(ls "$MNT/a/down")" y
put_back
check "that place goes" "$WEIR" reload "$MNT"
check "and it is renamed" mv "$MNT/b/named" "$MNT/b/other"
down() { [ "$(cat "$MNT/a/down/theirs" 2>&1)" = theirs ]; }
"$WEIR" refresh "$MNT/a"
wait_for 40 down
is "the storage's own folder of that name is there" "$(ls "$MNT/a/down" 2>&1)" theirs
sed "s|^cache_dir.*|cache_dir = $T/other|" "$T/abc.conf" > "$T/other.conf"
refuse "where nothing is mounted" 4 "." "$WEIR" reload -c "$T/other.conf"

# ---- unsent data of a remote that goes ----
start_emu ncemu --user alice --password secret || bail "no ncemu"
printf '[remote cloud]\ntype = nextcloud\nurl = %s\nuser = alice\npassword = secret\n' "$url" >> "$CONF"
chmod 600 "$CONF"
check "reload with a cloud" "$WEIR" reload "$MNT"
ls "$MNT/cloud" > /dev/null
kill -STOP "${_emus[0]}"
echo unsent > "$MNT/cloud/unsent"
without cloud
check "which goes with something unsent" "$WEIR" reload "$MNT"
like "as the warning says" "$err" "warning: remote 'cloud' goes with 1 file that it does not have yet: kept in .*cache"
check "status" "$WEIR" status "$MNT"
like "does not say that all is sent" "$out" "to these remotes everything is sent"
like "and names it" "$out" "aside: remote 'cloud': 1 unsent change is kept in '.*cache' until it is in the configuration again"
check "a flush of what is there" "$WEIR" flush "$MNT"
like "names it too" "$err" "remote 'cloud': 1 unsent change is kept"
refuse "it is gone" ! "No such file" stat "$MNT/cloud"
kill -CONT "${_emus[0]}"
printf '[remote cloud]\ntype = nextcloud\nurl = %s\nuser = alice\npassword = secret\n' "$url" >> "$CONF"
check "when it is back" "$WEIR" reload "$MNT"
check "that is sent" "$WEIR" flush "$MNT"
is "byte for byte" "$(curl -sSf -u alice:secret "$url/remote.php/dav/files/alice/unsent")" unsent

# ---- requests that wait, and load ----
if [ $has_resend = yes ]; then
	curl -sSf -u alice:secret -T "$T/ref" "$url/remote.php/dav/files/alice/far" || bail "emulator"
	"$WEIR" refresh "$MNT/cloud"
	ls "$MNT/cloud" > /dev/null
	kill -STOP "${_emus[0]}"
	timeout 60 cat "$MNT/cloud/far" > "$T/far" 2> "$T/far.err" & reader=$!
	echo later > "$MNT/cloud/later"
	timeout 60 "$WEIR" flush -q "$MNT" > "$T/flush" 2>&1 & flush=$!
	sleep 0.5
	check "reload while somebody waits for a server" "$WEIR" reload "$MNT"
	kill -CONT "${_emus[0]}"
	wait $reader
	is "who does not hear of it" "$?$(cat "$T/far.err")" 0
	check "and reads it right" cmp "$T/ref" "$T/far"
	wait $flush
	is "nor does who waits for a flush" "$?$(cat "$T/flush")" 0
	is "which brought what it was for" "$(curl -sSf -u alice:secret "$url/remote.php/dav/files/alice/later")" later
else
	skip "requests that wait" "this kernel cannot hand requests over (6.9)"
fi
: > "$T/errors"
reading() {
	while [ ! -e "$T/stop" ]; do
		cmp "$T/ref" "$MNT/a/big" >> "$T/errors" 2>&1 || echo "a reader failed" >> "$T/errors"
		dd of="$MNT/a/big" oflag=nocache conv=notrunc,fdatasync count=0 status=none
	done
}
writing() {
	local n=0
	while [ ! -e "$T/stop" ]; do
		n=$((n + 1))
		{ mkdir "$MNT/a/k$n" && head -c 300000 "$T/ref" > "$MNT/a/k$n/f" && mv "$MNT/a/k$n/f" "$MNT/a/k$n/g" && cmp -n 300000 "$T/ref" "$MNT/a/k$n/g" &&
		    rm "$MNT/a/k$n/g" && rmdir "$MNT/a/k$n"; } 2>> "$T/errors" || echo "a writer failed at $n" >> "$T/errors"
	done
	echo $n > "$T/rounds"
}
reading & r=$!
writing & wr=$!
good=0
for _ in 1 2 3 4 5 6 7 8; do
	"$WEIR" reload -q "$MNT" >> "$T/errors" 2>&1 && good=$((good + 1))
done
touch "$T/stop"
wait $r $wr
is "eight reloads under load" $good 8
is "no call failed, no byte was wrong" "$(cat "$T/errors")" ""
like "work went on" "$(cat "$T/rounds")" '^[1-9]'

# ---- many at once, and deaths in between ----
pids=
for i in 1 2 3; do { "$WEIR" reload -q "$MNT" > "$T/at-once.$i" 2>&1; echo $? >> "$T/at-once.$i"; } & pids="$pids $!"; done
wait $pids
is "several at once: each does it, or says that another one is under way" "$(grep -hv -e '^0$' -e '^1$' -e '^weir: another reload is under way$' "$T"/at-once.*)" ""
like "one of them did it" "$(cat "$T"/at-once.*)" '^0$'
for _ in 1 2 3 4; do
	"$WEIR" reload -q "$MNT" > /dev/null 2>&1 & p=$!
	sleep 0.0$((RANDOM % 9))
	kill -9 "$(pgrep -P "$sup" -x weir-worker)" 2> /dev/null
	wait $p
done
wait_for 10 timeout 5 ls "$MNT/a" > /dev/null
check "workers that die meanwhile do not stop it" "$WEIR" reload "$MNT"
check "what is there is right" cmp "$T/ref" "$MNT/a/big"
is "nothing is left to tell" "$("$WEIR" status --json "$MNT" | python3 -c 'import json,sys; v = json.load(sys.stdin); print(v["conflicts"], v["quarantined"], v["failing_files"])')" "0 0 0"
stop_mount
is "and it ends" $? 0
done_testing
