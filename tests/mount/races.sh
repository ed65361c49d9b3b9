#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A thousand edit races on each storage (WEIR_TEST_RACES; --quick 60, else 200, --full 1000): files and folders changed, renamed, removed on both sides
# at once. WEIR_TEST_SEED repeats a run, WEIR_TEST_KINDS chooses storages.
# weir-test: timeout=900
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/remotes.sh"
export T OWN WEIR PYTHONDONTWRITEBYTECODE=1
here=$(dirname "$0")
count=200
[ -z "${WEIR_TEST_QUICK:-}" ] || count=60
[ -z "${WEIR_TEST_FULL:-}" ] || count=1000
count=${WEIR_TEST_RACES:-$count}
seed=${WEIR_TEST_SEED:-$(($(date +%s) % 100000))}

for r in ${WEIR_TEST_KINDS:-local rgw s3emu dav ncemu drive dropbox rclone-local rclone-sftp}; do
	if ! have_remote $r; then
		skip "$r" "$(why_not $r)"
		continue
	fi
	fresh_cache
	conf_remotes $r
	case $r in
	drive | dropbox) PYTHONPATH=$here python3 -c "from far import far; far('$r').mkdir('')" || bail "no folder on $r" ;;
	esac
	start_mount
	PYTHONPATH=$here timeout 840 python3 "$here/races.py" $r "$MNT/$r" $count $seed > "$T/races.$r" 2>&1 || echo "FAIL $r: the races came to their end" >> "$T/races.$r"
	while IFS= read -r line; do
		case $line in
		PASS\ *) pass "${line#PASS }" ;;
		FAIL\ *) fail "${line#FAIL }" ;;
		*) echo "# ${line#\# }" ;;
		esac
	done < "$T/races.$r"
	unmounted "$r: and it ends"
done
done_testing
