#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# pjdfstest, the POSIX test suite of file systems (github.com/pjd/pjdfstest), as root on a mount. It is not packaged in Debian:
# PJDFSTEST names a built checkout, else this is skipped. What weir refuses by design stands in pjdfstest.expected, each line
# "FILE reason": a point that fails in another file is a failure here, a file that stands there and passes whole is told.
# weir-test: timeout=900
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/remotes.sh"
[ -n "${PJDFSTEST:-}" ] || skip_all "PJDFSTEST does not name a built checkout of pjdfstest"
[ -x "$PJDFSTEST/pjdfstest" ] || skip_all "$PJDFSTEST/pjdfstest is not built"
expected=$(dirname "$(realpath "$0")")/pjdfstest.expected

conf_remotes local
start_mount
chmod 755 "$T" "$MNT/local"
mkdir "$MNT/local/pjd" && chmod 755 "$MNT/local/pjd"
cd "$MNT/local/pjd" || bail "no folder on the mount"
good=0 bad=0 by_design=0 unexpected=""
for t in $(cd "$PJDFSTEST/tests" && find . -name '*.t' | sed 's|^\./||' | sort); do
	timeout 120 bash "$PJDFSTEST/tests/$t" > "$T/tap" 2> "$T/tap.err" < /dev/null
	plan=$(sed -n 's/^1\.\.\([0-9]*\).*/\1/p' "$T/tap" | head -n 1)
	ok=$(grep -c '^ok' "$T/tap")
	todo=$(grep -c '^not ok.*# TODO' "$T/tap")
	no=$((${plan:-0} - ok - todo))
	good=$((good + ok))
	[ "$no" -gt 0 ] || continue
	if grep -q "^$t " "$expected"; then
		by_design=$((by_design + no))
	else
		bad=$((bad + no))
		unexpected="$unexpected$t: $no of $plan: $(grep '^not ok' "$T/tap" | head -n 3 | tr '\n' ';')
"
	fi
done
cd /
echo "# pjdfstest: $good points pass, $by_design fail as weir refuses by design, $bad fail otherwise"
if [ $good -gt 1000 ]; then pass "pjdfstest ran: $good points pass"; else fail "pjdfstest ran" "$good points"; fi
if [ $bad -eq 0 ]; then pass "nothing fails but what is refused by design ($by_design points)"; else fail "nothing fails but what is refused by design" "$bad points" "$unexpected"; fi
unmounted "umount"
done_testing
