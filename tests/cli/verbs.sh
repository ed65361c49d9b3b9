#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# mount, status, flush, du, refresh, verify and umount on a mount of two local folders.
# weir-test: timeout=180 asan=yes
. "$(dirname "$0")/../lib.sh"
[ -e /dev/fuse ] || skip_all "no /dev/fuse"
[ "$(id -u)" = 0 ] || skip_all "not root"
conf_local a b
R=$T/remote

# --- what refuses a mount point ----------------------------------------------------------------------------------------
refuse "a mount point that is not there" 1 "^weir: mount point '$T/no/point': No such file" "$WEIR" mount -c "$CONF" "$T/no/point"
touch "$T/file"
refuse "a mount point that is a file" 1 "^weir: mount point '$T/file' is not a directory" "$WEIR" mount -c "$CONF" "$T/file"
mkdir -p "$MNT"
refuse "an unknown mount option" 2 "^weir: unknown mount option 'frob'" "$WEIR" mount -c "$CONF" -o ro,frob "$MNT"
refuse "a uid that is none" 2 "^weir: mount option 'uid=me': not a number" "$WEIR" mount -c "$CONF" -o uid=me "$MNT"
refuse "a umask that is none" 2 "^weir: mount option 'umask=999': not an octal mask" "$WEIR" mount -c "$CONF" -o umask=999 "$MNT"

# --- mount, status, flush ----------------------------------------------------------------------------------------------
start_mount
is "the kernel shows the configuration as source" "$(findmnt -n -o SOURCE,FSTYPE "$MNT" | tr -s ' ')" "rshare:$CONF fuse.weir"
check "a file" bash -c "head -c 3000000 /dev/urandom > $MNT/a/f"
check "flush of everything" "$WEIR" flush
check "the storage has it" cmp "$R/a/f" "$MNT/a/f"
check "a folder and a file in it" bash -c "mkdir $MNT/b/d && echo x > $MNT/b/d/x"
check "flush of a path" "$WEIR" flush "$MNT/b/d"
is "the storage has that" "$(cat "$R/b/d/x")" x
refuse "flush of what is not there" 5 "no such file" "$WEIR" flush "$MNT/b/nothing"
check "a namespace path with -c" "$WEIR" flush -c "$CONF" /b/d
ln -s "$MNT/b" "$T/link"
check "a path through a symbolic link" "$WEIR" flush "$T/link/d"
check "a relative path" bash -c "cd $MNT/b && $WEIR flush d"

check "status" "$WEIR" status
like "names mount and configuration" "$out" "^$MNT from $CONF"
like "and the remotes" "$out" "^  a \(local\): up"
check "status --json" "$WEIR" status --json "$MNT/a"
st=$out
is "json: remotes" "$(json "$st" '[r["name"] for r in v["remotes"]]')" '["a", "b"]'
is "json: paths" "$(json "$st" '[v["config"],v["mountpoint"],v["cache_dir"]]')" "[\"$CONF\", \"$MNT\", \"$T/cache\"]"
is "json: nothing unsent" "$(json "$st" '[v["unsent_files"],v["unsent_bytes"],v["failing_files"]]')" "[0, 0, 0]"
is "json: the quota" "$(json "$st" 'v["quota_bytes"]')" 2000000000000
is "json: nothing of the wire" "$(json "$st" '[k for k in ("done","code","error") if k in v]')" "[]"
like "json: keys that the manual names" "$(sed -n '/^.Sh STATUS KEYS/,/^.Sh ENV/p' "$WEIR_SRCDIR/man/weir.1")" remotes
undocumented=$(python3 - "$st" "$WEIR_SRCDIR/man/weir.1" << 'P'
import json, re, sys
v, page = json.loads(sys.argv[1]), open(sys.argv[2]).read()
keys = set(v) | {k for r in v["remotes"] for k in r}
print(" ".join(sorted(k for k in keys if not re.search(r"\b%s\b" % k, page))))
P
)
is "json: every key is in the manual" "$undocumented" ""

check "du" "$WEIR" du "$MNT/b"
like "du for people" "$out" "1 file and .* below /b"
check "du --json" "$WEIR" du --json "$MNT/a"
is "du counts what files show" "$(json "$out" '[v["path"],v["bytes"],v["files"]]')" '["/a", 3000000, 1]'
check "verify" "$WEIR" verify "$MNT"
like "verify read something, nothing is bad" "$out" "^[1-9][0-9]* pages read below /, 0 bad"
check "verify --json" "$WEIR" verify --json
is "verify in figures" "$(json "$out" 'v["bad"]')" 0

ls "$MNT/a" > /dev/null
echo new > "$R/a/new"
check "refresh" "$WEIR" refresh "$MNT/a"
wait_for 10 test -e "$MNT/a/new"
is "what another put on the storage is seen" "$(cat "$MNT/a/new" 2>&1)" new

# --- one cache, one weir -----------------------------------------------------------------------------------------------
mkdir "$T/second"
refuse "a second mount of the same cache" 1 "^weir: cache '$T/cache' is in use by another weir, mounted at '$MNT'" "$WEIR" mount -c "$CONF" "$T/second"
refuse "a second mount at the same place" 1 "^weir: '$MNT' is a weir mount already, from $CONF" "$WEIR" mount -c "$CONF" "$MNT"

# --- umount ------------------------------------------------------------------------------------------------------------
refuse "umount of a folder in it" 4 "is not a weir mount, but a folder in the one at '$MNT'" "$WEIR" umount "$MNT/a"
(cd "$MNT" && exec sleep 1000) &
busy=$!
wait_for 5 test "$(readlink /proc/$busy/cwd)" = "$MNT"
refuse "a busy mount, with who is in it" 1 "^weir: '$MNT' is in use by sleep \($busy\)" "$WEIR" umount "$MNT"
kill $busy
wait $busy 2> /dev/null
echo last > "$MNT/a/last"
daemon=$(supervisor_pid)
check "umount" "$WEIR" umount "$MNT"
is "it has sent everything" "$(cat "$R/a/last")" last
if kill -0 "$daemon" 2> /dev/null; then fail "it came back after the daemon had ended"; else pass "it came back after the daemon had ended"; fi
if is_mounted "$MNT"; then fail "it is gone"; else pass "it is gone"; fi
start_mount
pass "the next mount follows at once"

# --- a remote that takes nothing more ----------------------------------------------------------------------------------
check "umount" "$WEIR" umount "$MNT"
mkdir "$T/small"
if mount -t tmpfs -o size=256k none "$T/small"; then
	printf '[remote small]\ntype = local\npath = %s\n' "$T/small" >> "$CONF"
	start_mount
	check "a file that is larger than its storage" bash -c "head -c 600000 /dev/urandom > $MNT/small/large"
	refuse "flush fails, with the reason" 5 "No space left|no space left" "$WEIR" flush "$MNT/small"
	check "what goes elsewhere is sent" "$WEIR" flush "$MNT/a"
	refuse "umount fails too, and the tree stays" 5 "^weir: '$MNT' stays mounted; 'weir umount --now' keeps" "$WEIR" umount "$MNT"
	if is_mounted "$MNT"; then pass "it is still mounted"; else fail "it is still mounted"; fi
	check "umount --now" "$WEIR" umount --now "$MNT"
	like "tells what is left, and where" "$err" "^weir: 1 file, 600.00 kB not sent yet, kept in '$T/cache' for the next mount"
	mount -o remount,size=10M "$T/small"
	start_mount
	check "the next mount sends it" "$WEIR" flush "$MNT"
	check "byte for byte" cmp "$T/small/large" "$MNT/small/large"
else
	skip "a storage that is full" "no tmpfs here"
	start_mount
fi

# --- a daemon that was killed ------------------------------------------------------------------------------------------
echo unsent > "$MNT/b/unsent"
s=$(supervisor_pid) w=$(worker_pid)
kill -KILL "$s" "$w" 2> /dev/null	# the worker may be faster: it dies with its supervisor
dead() { ! stat "$MNT" 2>&1 | grep -q 'File:' && ! kill -0 "$s" 2> /dev/null; }
wait_for 10 dead
run "$WEIR" mount -c "$CONF" "$MNT"
is "a dead mount is replaced" "$rc" 0
like "and that is said" "$err" "removed a dead mount from '$MNT'"
is "nothing is lost" "$(cat "$MNT/b/unsent" 2>&1)" unsent
check "and it is sent" "$WEIR" flush "$MNT"
is "to the storage" "$(cat "$R/b/unsent" 2>&1)" unsent
s=$(supervisor_pid) w=$(worker_pid)
kill -KILL "$s" "$w" 2> /dev/null	# the worker may be faster: it dies with its supervisor
wait_for 10 dead
refuse "umount of a dead mount takes it off, but cannot promise that all is sent" 5 "did not answer; unmounted, what was unsent is kept" "$WEIR" umount "$MNT"
if is_mounted "$MNT"; then fail "it is off"; else pass "it is off"; fi

# --- options -----------------------------------------------------------------------------------------------------------
sed -i "s|^cache_dir = .*|cache_dir = $T/cache2|" "$CONF"	# owners are kept from when a thing was first seen
start_mount "$MNT" "$CONF" -o ro,uid=1234,gid=2345 -o umask=027,_netdev,noauto,user,x-systemd.automount,nofail,noatime,defaults
is "uid and gid of what has none" "$(stat -c %u:%g "$MNT/a")" 1234:2345
if touch "$MNT/a/no" 2> /dev/null; then fail "-o ro"; else pass "-o ro"; fi
like "the kernel has it too" "$(findmnt -n -o OPTIONS "$MNT")" '(^|,)ro(,|$)'
check "umount" "$WEIR" umount "$MNT"

# --- in the foreground -------------------------------------------------------------------------------------------------
"$WEIR" mount -f -c "$CONF" "$MNT" 2> "$T/log" &
front=$!
if wait_for 20 is_mounted "$MNT"; then pass "mount -f"; else fail "mount -f" "$(cat "$T/log")"; fi
echo fg > "$MNT/a/fg"
kill -TERM $front
wait $front
is "SIGTERM unmounts, status 0" $? 0
if is_mounted "$MNT"; then fail "it is gone"; else pass "it is gone"; fi

# --- mount(8) ----------------------------------------------------------------------------------------------------------
mkdir "$T/sbin"
ln -s "$WEIR" "$T/sbin/mount.weir"
refuse "mount.weir without a mount point" 1 "mount -t weir FILE MOUNTPOINT" "$T/sbin/mount.weir" "$CONF"
refuse "mount.weir with an unknown option" 1 "unknown mount option 'frob'" "$T/sbin/mount.weir" "$CONF" "$MNT" -o frob
refuse "mount.weir that fails" 32 "No such file" "$T/sbin/mount.weir" "$T/none.conf" "$MNT"
check "mount.weir -f mounts nothing" "$T/sbin/mount.weir" "$CONF" "$MNT" -f -o rw
if is_mounted "$MNT"; then fail "indeed"; else pass "indeed"; fi
check "mount.weir -s ignores what it does not know" "$T/sbin/mount.weir" "$CONF" "$MNT" -s -n -v -t fuse.weir -o rw,frob
is "and has mounted" "$(findmnt -n -o FSTYPE "$MNT")" fuse.weir
check "umount" "$WEIR" umount "$MNT"
sbin=$(readlink -f /sbin)
mkdir "$T/upper" "$T/work"
if mount -t tmpfs none "$T/work" 2> /dev/null && mkdir "$T/work/u" "$T/work/w" && ln -s "$(readlink -f "$WEIR")" "$T/work/u/mount.weir" &&
    mount -t overlay none -o "lowerdir=$sbin,upperdir=$T/work/u,workdir=$T/work/w" "$sbin" 2> /dev/null; then
	check "mount -t weir" mount -t weir "$CONF" "$MNT" -o _netdev,nofail
	is "is a weir mount" "$(findmnt -n -o FSTYPE "$MNT")" fuse.weir
	check "a plain umount(8)" umount "$MNT"
	umount "$sbin"
else
	skip "mount -t weir" "cannot lay /sbin over with a helper here"
fi

# --- a mount point in the configuration ---------------------------------------------------------------------------------
sed 's|^\[weir\]$|[weir]\nmountpoint = '"$T"'/made/here|' "$CONF" > "$T/there.conf"
chmod 600 "$T/there.conf"
refuse "mount without a mount point" 2 "^weir: no mount point: name one, or set 'mountpoint' in \[weir\] of $CONF" "$WEIR" mount -c "$CONF"
check "one that the configuration names" "$WEIR" mount -c "$T/there.conf"
check "is made" test -d "$T/made/here/a"
refuse "and is used once" ! "is a weir mount already" "$WEIR" mount -c "$T/there.conf"
check "umount knows it by the configuration" "$WEIR" umount -c "$T/there.conf"
sed -i 's|^mountpoint = .*|mountpoint = made/here|' "$T/there.conf"
refuse "one that is not absolute" 3 "there.conf:2: mountpoint: 'made/here' is not absolute" "$WEIR" mount -c "$T/there.conf"

# --- not root ----------------------------------------------------------------------------------------------------------
u="setpriv --reuid=65534 --regid=65534 --clear-groups env HOME=$T/nobody"
mkdir "$T/nobody" "$T/nobody/mnt" "$T/nobody/r"
printf '[remote r]\ntype = local\npath = %s/nobody/r\n[namespace]\n/ = r\n' "$T" > "$T/nobody/w.conf"
chmod 755 "$T" "$HOME"
chown -R 65534:65534 "$T/nobody"
WEIR=$(for_all "$WEIR")
# A device that is for all, as distributions have it, where this host's is not.
if [ "$(stat -c %a /dev/fuse)" != 666 ] && mknod -m 666 "$T/fuse" c 10 229 2> /dev/null; then mount --bind "$T/fuse" /dev/fuse; fi
if ! $u true 2> /dev/null || [ ! -u "$(command -v fusermount3)" ] || [ "$(stat -c %a /dev/fuse)" != 666 ] || ! $u test -x "$WEIR"; then
	skip "a mount by somebody who is not root" "no setuid fusermount3, or /dev/fuse and the program are not for all"
else
	check "a mount by somebody who is not root" $u "$WEIR" mount -c "$T/nobody/w.conf" "$T/nobody/mnt"
	check "writes" $u bash -c "echo x > $T/nobody/mnt/x"
	check "asks for its status" $u "$WEIR" status "$T/nobody/mnt"
	check "umount sends and unmounts" $u "$WEIR" umount "$T/nobody/mnt"
	is "the storage has it" "$(cat "$T/nobody/r/x")" x
fi
done_testing
