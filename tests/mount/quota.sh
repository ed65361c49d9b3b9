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

# Sizes in pages of 4 KiB, so that df (which counts blocks) can be exact.
K=1024
conf 10MB 1000KiB
start_mount
is "df shows the quota of the remote" "$(df_of "$MNT/small")" "$((1000 * K)) 0"
is "a file up to the quota fits" "$(write_until_error "$MNT/small/a" $((900 * K)) $((60 * K)))" "$((900 * K)) none"
is "df counts it at once" "$(df_of "$MNT/small")" "$((1000 * K)) $((900 * K))"
is "the write past the quota fails with EDQUOT, and close does not" \
    "$(write_until_error "$MNT/small/b" $((200 * K)) $((20 * K)))" "$((100 * K)) EDQUOT"
is "what was accepted is there" "$(stat -c %s "$MNT/small/b")" $((100 * K))
refuse "truncate past the quota" 1 "[Qq]uota exceeded" truncate -s 2000000 "$MNT/small/a"
refuse "fallocate past the quota" 1 "[Qq]uota exceeded" fallocate -l 2000000 "$MNT/small/a"
check "an overwrite that does not grow works at the limit" dd if=/dev/zero of="$MNT/small/a" bs=1K count=900 conv=notrunc status=none
is "the other remote has its own room" "$(write_until_error "$MNT/wide/c" 3000000 100000)" "3000000 none"
flushed "flush"
is "the remote has what was accepted" "$(stat -c %s "$T/remote/small/a" "$T/remote/small/b" | tr '\n' ' ')" "$((900 * K)) $((100 * K)) "
check "a delete works at the limit" rm "$MNT/small/b"
is "and makes room" "$(write_until_error "$MNT/small/d" $((60 * K)) $((10 * K)))" "$((60 * K)) none"
check "truncate makes room" truncate -s $((100 * K)) "$MNT/small/a"
is "df again" "$(df_of "$MNT/small")" "$((1000 * K)) $((160 * K))"

# Right after a kill: the same figures, and the same refusal.
is "an unsent file before the kill" "$(write_until_error "$MNT/small/unsent" $((500 * K)) $((50 * K)))" "$((500 * K)) none"
sup=$(supervisor_pid) wrk=$(worker_pid)
kill -9 "$sup" "$wrk"
gone() { ! kill -0 "$sup" && ! kill -0 "$wrk"; }
wait_for 10 gone
umount -l "$MNT" 2> /dev/null
start_mount
is "df after a kill" "$(df_of "$MNT/small")" "$((1000 * K)) $((660 * K))"
is "the quota holds after a kill" "$(write_until_error "$MNT/small/e" $((900 * K)) $((10 * K)))" "$((340 * K)) EDQUOT"
run "$WEIR" status "$MNT"
like "status names the remote" "$out" "small"
unmounted "umount"

# The quota of the whole namespace.
rm -rf "$T/remote" "$T/cache"
conf 2MB 0
start_mount
is "first remote within the quota of all" "$(write_until_error "$MNT/small/a" 1500000 100000)" "1500000 none"
is "the second one meets it" "$(write_until_error "$MNT/wide/b" 900000 100000)" "500000 EDQUOT"
unmounted "umount of the second"
done_testing
