#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What rclone and s3fs wrote into a bucket of a Ceph RGW weir reads, names, times, modes and directories, and the other way round.
# usage: s3-others.sh [BUILDDIR]; the server is named by WEIR_TEST_RGW…; TAP.
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../emulators/judge-lib.sh"
build=$(cd "${1:-${BUILDDIR:-.}}" && pwd) || exit 99
call=$build/tests/contract/call
[ -x "$call" ] || judge_skip "$call is not built"
[ -n "${WEIR_TEST_RGW:-}" ] || judge_skip "no Ceph RGW here (WEIR_TEST_RGW)"
judge_need rclone python3
umask 022
w=$judge_dir bucket=weir-others-$$-$RANDOM
cd "$w" || exit 99
export RCLONE_CONFIG=$w/rclone.conf CALL=$call
cat > rclone.conf <<-END
	[c]
	type = s3
	provider = Ceph
	access_key_id = $WEIR_TEST_RGW_KEY
	secret_access_key = $WEIR_TEST_RGW_SECRET
	endpoint = $WEIR_TEST_RGW
END
(umask 077; printf '[remote r]\ntype = s3\nendpoint = %s\nbucket = %s\naccess_key = %s\nsecret_key = %s\npart_size = 5MiB\n' \
    "$WEIR_TEST_RGW" "$bucket" "$WEIR_TEST_RGW_KEY" "$WEIR_TEST_RGW_SECRET" > weir.conf)
r() { local verb=$1; shift; timeout 60 "$call" weir.conf r "$verb" "$@"; }
finish() {
	[ -z "${mounted:-}" ] || umount -l "$w/far" 2> /dev/null
	timeout 60 rclone purge "c:$bucket" > /dev/null 2>&1
	timeout 60 rclone purge "c:$bucket-open" > /dev/null 2>&1
	judge_end
}
trap finish EXIT

is() {	# NAME GOT WANTED
	judge_n=$((judge_n + 1))
	if [ "$2" = "$3" ]; then
		echo "ok $judge_n - $1"
	else
		echo "not ok $judge_n - $1"
		printf '# got: %s\n# not: %s\n' "$2" "$3"
		judge_failed=$((judge_failed + 1))
	fi
}
skip() { judge_n=$((judge_n + 1)); echo "ok $judge_n - $1 # SKIP $2"; }

check "a bucket" rclone mkdir "c:$bucket"

# Every file holds its own name. (A lone U+201B is left out: rclone cannot read such a file from its own disk.)
mkdir odd back
cat > odd.py <<'END'
import os, subprocess, sys
names = [b'plain', b'a b', b' x', b'+%41&=', b'caf\xc3\xa9', b'e\xcc\x81', b'inv\xff\xfe', b'\xef\xbc\x8ffw', b'\xef\xbc\x8e', b'\xe2\x80\x9b\xe2\x80\x9bFF',
         b'tab\there', b'...', b'\xe2\x90\x80nul', b'q"\'<>', b'a*b(c)!', b'star\\', b'\xf0\x9f\x98\x80']
call = [os.environ['CALL'], 'weir.conf', 'r']
def out(*a): return subprocess.run(call + list(a), stdout=subprocess.PIPE, check=True).stdout
if sys.argv[1] == 'make':
    for n in names: open(b'odd/' + n, 'wb').write(n)
elif sys.argv[1] == 'read':      # what rclone wrote
    seen = sorted(x.split(b' ', 2)[2] for x in out('ls', 'theirs').split(b'\0') if x)
    bad = [n for n in set(seen) ^ set(names)] + [n for n in seen if out('get', b'theirs/' + n) != n]
    sys.exit(repr(bad) if bad else 0)
elif sys.argv[1] == 'write':
    for n in names: subprocess.run(call + ['put', b'ours/' + n], input=n, check=True)
else:                            # what rclone fetched of ours
    seen = os.listdir(b'back')
    bad = [n for n in set(seen) ^ set(names)] + [n for n in seen if open(b'back/' + n, 'rb').read() != n]
    sys.exit(repr(bad) if bad else 0)
END
python3 odd.py make
check "rclone copies odd names to the bucket" rclone copy odd "c:$bucket/theirs"
check "weir shows and reads them by the same names" python3 odd.py read
check "weir writes odd names" python3 odd.py write
check "rclone copies them back" rclone copy "c:$bucket/ours" back
check "by the same names" python3 odd.py back

mkdir one
echo mine > one/f
touch -d @1600000000.123456789 one/f
chmod 751 one/f
check "rclone writes time and mode" rclone copy -M one "c:$bucket/one"
is "weir reads them" "$(r stat one/f | cut -d' ' -f1-4)" "file 5 1600000000123456789 751"
echo ours | r put two/f 1234567890123456789 640
check "rclone reads weir's" rclone copy -M "c:$bucket/two" two
is "time and mode" "$(stat -c '%.9Y %a' two/f)" "1234567890.123456789 640"
check "a directory" "$call" weir.conf r mkdir "two/empty dir"
is "rclone sees it" "$(rclone lsf "c:$bucket/two" | tr '\n' ' ')" "empty dir/ f "
check "an upload in parts" "$call" weir.conf r big two/big 12345678
is "rclone reads it whole" "$(rclone cat "c:$bucket/two/big" | md5sum)" "$(r get two/big | md5sum)"

# Other ways in: host style, an AWS profile, no keys at all.
mkdir aws
(umask 077
	printf '[default]\naws_access_key_id = WRONG\naws_secret_access_key = wrong\n[lab]\naws_access_key_id = %s\naws_secret_access_key = %s\n' \
	    "$WEIR_TEST_RGW_KEY" "$WEIR_TEST_RGW_SECRET" > aws/credentials
	printf '[remote host]\ntype = s3\nendpoint = http://localhost:%s\npath_style = off\nbucket = %s\naccess_key = %s\nsecret_key = %s\n' \
	    "${WEIR_TEST_RGW##*:}" "$bucket" "$WEIR_TEST_RGW_KEY" "$WEIR_TEST_RGW_SECRET"
	printf '[remote %s]\ntype = s3\nendpoint = %s\nbucket = %s\n%s\n' \
	    lab "$WEIR_TEST_RGW" "$bucket" "$(printf 'credentials_file = %s/aws/credentials\nprofile = lab' "$w")" \
	    wrong "$WEIR_TEST_RGW" "$bucket" "credentials_file = $w/aws/credentials" \
	    none "$WEIR_TEST_RGW" "$bucket" "anonymous = yes" open "$WEIR_TEST_RGW" "$bucket-open" "anonymous = yes") > ways.conf
chmod 600 ways.conf
way() { timeout 60 "$call" ways.conf "$@" 2>&1; }
is "virtual-host style" "$(way host get two/f)" ours
is "keys of an AWS profile" "$(way lab get two/f)" ours
is "the default profile, whose keys are wrong" "$(way wrong get two/f)" "AUTH: read 'two/f': InvalidAccessKeyId"
is "without keys a private bucket is closed" "$(way none get two/f)" "ACCES: read 'two/f': AccessDenied"
check "a bucket open to all" curl -sS -f -m 30 -o /dev/null -X PUT --aws-sigv4 aws:amz:us-east-1:s3 -u "$WEIR_TEST_RGW_KEY:$WEIR_TEST_RGW_SECRET" \
    -H 'x-amz-content-sha256: UNSIGNED-PAYLOAD' -H 'x-amz-acl: public-read' "$WEIR_TEST_RGW/$bucket-open"
check "with a file" rclone copy one "c:$bucket-open/one"
is "is listed without keys" "$(way open ls one | tr '\0' ' ')" "file 5 f "

mkdir far
printf '%s:%s' "$WEIR_TEST_RGW_KEY" "$WEIR_TEST_RGW_SECRET" > pw
chmod 600 pw
if command -v s3fs > /dev/null && [ -w /dev/fuse ] &&
    timeout 30 s3fs "$bucket" far -o "url=$WEIR_TEST_RGW,use_path_request_style,passwd_file=$w/pw" 2> /dev/null; then
	mounted=1
	for _ in $(seq 50); do mountpoint -q far && break; sleep 0.1; done
	r touch two/ 1400000000000000000 750
	is "s3fs sees weir's directory with time and mode" "$(timeout 20 stat -c '%F %Y %a' far/two)" "directory 1400000000 750"
	is "and reads weir's file" "$(timeout 20 cat far/two/f)" ours
	timeout 20 mkdir -p far/three/sub far/three/empty
	echo fs > far/three/sub/x
	timeout 20 chmod 751 far/three/sub/x
	timeout 20 touch -d @1500000000.5 far/three/sub/x
	timeout 20 chmod 711 far/three/empty
	is "weir lists what s3fs made" "$(r lsr three | tr '\0' '\n')" "$(printf 'dir 0 empty\ndir 0 sub\nfile 3 sub/x')"
	is "file, time and mode" "$(r stat three/sub/x | cut -d' ' -f1-4)" "file 3 1500000000500000000 751"
	is "directory and mode" "$(r stat three/empty | cut -d' ' -f1,4)" "dir 711"
	check "an empty directory of s3fs can be removed" "$call" weir.conf r rmdir three/empty
	timeout 20 umount far && mounted=
else
	skip "s3fs and weir read each other" "s3fs or /dev/fuse is missing"
fi
judge_done
