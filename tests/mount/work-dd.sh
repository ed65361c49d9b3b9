#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# One big file: written through the mount with dd, on the far side with the same checksum (multipart on S3, chunks on Nextcloud), and
# read back through a mount that knows nothing. 100 MB with --quick, 300 MB by default, 6 GiB with --full.
# weir-test: timeout=400
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/remotes.sh"
mib=286
[ -z "${WEIR_TEST_QUICK:-}" ] || mib=96
[ -z "${WEIR_TEST_FULL:-}" ] || mib=6144
LIMIT=$((60 + mib / 10))
FLUSH_LIMIT=$LIMIT FAR_LIMIT=$LIMIT

# A stream that is the same each time and repeats nowhere: a cipher over zeros.
source_bytes() { head -c $((mib << 20)) /dev/zero | openssl enc -aes-128-ctr -K 00112233445566778899aabbccddeeff -iv 00 2> /dev/null; }
want=$(source_bytes | sha256sum | cut -d ' ' -f 1)

for r in rgw dav ncemu; do
	if ! have_remote $r; then
		skip "$r: dd of $mib MiB" "$(why_not $r)"
		continue
	fi
	conf_remotes $r
	fresh_cache
	start_mount
	check "$r: dd of $mib MiB" bash -c "$(declare -f source_bytes); mib=$mib; set -o pipefail; source_bytes | dd of='$MNT/$r/big' bs=1M iflag=fullblock conv=fsync status=none"
	is "$r: its size" "$(timeout 20 stat -c %s "$MNT/$r/big" 2>&1)" $((mib << 20))
	flushed "$r: flush"
	is "$r: SHA-256 on the far side" "$(far_sum $r big)" "$want"
	unmounted "$r: umount"
	fresh_cache
	start_mount
	is "$r: SHA-256 through a fresh mount" "$(timeout $LIMIT sha256sum < "$MNT/$r/big" | cut -d ' ' -f 1)" "$want"
	if [ $mib -gt 1024 ]; then	# two versions of it are more than the test servers hold
		unmounted "$r: umount at the end"
		rc_far purge "$(far $r)" > /dev/null 2>&1
		continue
	fi
	# 64 kB in the middle of what is now a remote object: the rest must survive.
	check "$r: a write in the middle" dd if=/dev/zero of="$MNT/$r/big" bs=64k count=1 seek=100 conv=notrunc status=none
	flushed "$r: flush of it"
	patched=$(source_bytes | { head -c $((100 * 65536)); head -c 65536 > /dev/null; head -c 65536 /dev/zero; cat; } | sha256sum | cut -d ' ' -f 1)
	is "$r: the far side has exactly that change" "$(far_sum $r big)" "$patched"
	unmounted "$r: umount at the end"
	rc_far purge "$(far $r)" > /dev/null 2>&1
done
done_testing
