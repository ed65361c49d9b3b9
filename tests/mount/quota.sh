#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Quotas: EDQUOT at the write that would pass them, df and status exact, nothing accepted is lost, also right after a kill.
# weir-test: timeout=120 asan=yes
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/remotes.sh"

conf() {	# QUOTA-OF-ALL QUOTA-OF-SMALL
	mkdir -p "$T/remote/small" "$T/remote/wide"
	cat > "$CONF" <<-C
	[weir]
	cache_dir = $T/cache
	quota = $1
	[remote small]
	type = local
	path = $T/remote/small
	quota = $2
	[remote wide]
	type = local
	path = $T/remote/wide
	C
	chmod 600 "$CONF"
}

# write_until_error FILE BYTES CHUNK: "written errno" as Python sees them, close included
write_until_error() {
	timeout 60 python3 - "$@" <<'P'
import errno, os, sys
path, size, chunk = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
done, err = 0, "none"
try:
    while done < size:
        done += os.write(fd, b"x" * min(chunk, size - done))
except OSError as e:
    err = errno.errorcode[e.errno]
try:
    os.close(fd)
except OSError as e:
    err += " close:" + errno.errorcode[e.errno]
print(done, err)
P
}

df_of() { df -B1 --output=size,used "$1" | tail -n 1 | awk '{print $1, $2}'; }

conf 10MB 1MB
start_mount
is "df shows the quota of the remote" "$(df_of "$MNT/small")" "1000000 0"
is "a file up to the quota fits" "$(write_until_error "$MNT/small/a" 900000 50000)" "900000 none"
is "df counts it at once" "$(df_of "$MNT/small")" "1000000 900000"
is "the write past the quota fails with EDQUOT, and close does not" "$(write_until_error "$MNT/small/b" 200000 50000)" "100000 EDQUOT"
is "what was accepted is there" "$(stat -c %s "$MNT/small/b")" 100000
refuse "truncate past the quota" 1 "quota exceeded|Disk quota exceeded" truncate -s 2000000 "$MNT/small/a"
refuse "fallocate past the quota" 1 "quota exceeded|Disk quota exceeded" fallocate -l 2000000 "$MNT/small/a"
check "an overwrite that does not grow works at the limit" dd if=/dev/zero of="$MNT/small/a" bs=1000 count=900 conv=notrunc status=none
is "the other remote has its own room" "$(write_until_error "$MNT/wide/c" 3000000 100000)" "3000000 none"
flushed "flush"
is "the remote has what was accepted" "$(stat -c %s "$T/remote/small/a" "$T/remote/small/b" | tr '\n' ' ')" "900000 100000 "
check "a delete works at the limit" rm "$MNT/small/b"
is "and makes room" "$(write_until_error "$MNT/small/d" 60000 10000)" "60000 none"
check "truncate makes room" truncate -s 100000 "$MNT/small/a"
is "df again" "$(df_of "$MNT/small")" "1000000 160000"

# Right after a kill: the same figures, and the same refusal.
is "an unsent file before the kill" "$(write_until_error "$MNT/small/unsent" 500000 50000)" "500000 none"
sup=$(supervisor_pid) wrk=$(worker_pid)
kill -9 "$sup" "$wrk"
wait_for 10 bash -c "! kill -0 $sup && ! kill -0 $wrk"
umount -l "$MNT" 2> /dev/null
start_mount
is "df after a kill" "$(df_of "$MNT/small")" "1000000 660000"
is "the quota holds after a kill" "$(write_until_error "$MNT/small/e" 900000 10000)" "340000 EDQUOT"
run "$WEIR" status "$MNT"
like "status names the quota" "$out" "small"
unmounted "umount"

# The quota of the whole namespace.
rm -rf "$T/remote" "$T/cache"
conf 2MB 0
start_mount
is "first remote within the quota of all" "$(write_until_error "$MNT/small/a" 1500000 100000)" "1500000 none"
is "the second one meets it" "$(write_until_error "$MNT/wide/b" 900000 100000)" "500000 EDQUOT"
unmounted "umount of the second"
done_testing
