#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# How editors save: a new file beside the old one, fsync, rename over it. That is one upload, under the right name. The Apache that
# is asked here is this test's own: its access log is the witness.
# weir-test: timeout=180 asan=yes
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/remotes.sh"
server=$T/apache
chmod 755 "$T"
APACHE_DAV_LOG=1 timeout 30 "$WEIR_SRCDIR/tests/servers/apache-dav.sh" start "$server" > "$T/apache.out" 2>&1 || skip_all "Apache does not start: $(tail -n 1 "$T/apache.out")"
cleanup_more() { "$WEIR_SRCDIR/tests/servers/apache-dav.sh" stop "$server"; }
value() { sed -n "s/^$1=//p" "$server/env"; }
WEIR_TEST_DAV=$(value url) WEIR_TEST_DAV_USER=$(value user) WEIR_TEST_DAV_PASSWORD=$(value password)
have_remote dav || skip_all "rclone is missing"
conf_remotes dav
start_mount
D=$MNT/dav

puts() { sed 's/^\[[^]]*\] //' "$server/access.log" | awk '$2 == "PUT" && $1 < 300 && $3 !~ "[.]weir-check" {print $3}' | sed 's|.*/||' | sort | uniq -c | awk '{print $1, $2}'; }
requests() { sed 's/^\[[^]]*\] //' "$server/access.log" | awk '$2 != "PROPFIND" && $2 != "OPTIONS" {print $1, $2, $3}'; }
forget() { : > "$server/access.log"; }

python3 -c 'print("first\n" * 1000, end="")' > "$D/report.txt"
flushed "a first version is sent"
is "one PUT" "$(puts)" "1 report.txt"

save() {	# TEXT: as most editors do
	python3 - "$D/report.txt" "$1" <<'P'
import os, sys
to, text = sys.argv[1:]
tmp = to + ".tmp-save"
with open(tmp, "w") as f:
    f.write(text + "\n")
    f.flush()
    os.fsync(f.fileno())
os.rename(tmp, to)
P
}

forget
save "second version"
flushed "flush after a save"
is "temp and rename: one PUT, of the right name" "$(puts)" "1 report.txt"
[ "$(puts)" = "1 report.txt" ] || requests | diag
is "the server has the new text" "$(rc_far cat "$(far dav report.txt)")" "second version"
is "and nothing else" "$(far_names dav)" report.txt

forget
for i in 1 2 3 4 5; do save "quick $i"; done
flushed "flush after five saves in a row"
is "the last one is on the server" "$(rc_far cat "$(far dav report.txt)")" "quick 5"
n=$(puts | awk '{n += $1} END {print n + 0}')
if [ "$n" -ge 1 ] && [ "$n" -le 5 ] && [ "$(puts | wc -l)" = 1 ]; then pass "only report.txt was ever sent, at most once a save"; else fail "only report.txt was ever sent, at most once a save" "$(puts)"; fi

# vim: the old file becomes a backup, the new one is written in its place, the backup goes.
forget
mv "$D/report.txt" "$D/report.txt~" && echo "by vim" > "$D/report.txt" && sync "$D/report.txt" && rm "$D/report.txt~"
flushed "flush after a save by way of a backup"
is "backup way: the server has the text" "$(rc_far cat "$(far dav report.txt)")" "by vim"
is "backup way: and nothing else" "$(far_names dav)" report.txt
unmounted "umount"
done_testing
