#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The S3 emulator judged by clients nobody here wrote: rclone, s3cmd, curl, and (when there is one) botocore.
# usage: judge-s3.sh [BUILDDIR]
here=$(cd "$(dirname "$0")" && pwd)
. "$here/judge-lib.sh"
build=${1:-${BUILDDIR:-.}}
judge_need rclone s3cmd curl
s3emu=$build/tests/emulators/s3emu
[ -x "$s3emu" ] || judge_skip "$s3emu is not built"
w=$judge_dir

key=AKIAJUDGE secret='se+cret/key=with%signs'
emu_start "$s3emu" --dir "$w/data" --access-key $key --secret-key "$secret" --bucket judge
export RCLONE_CONFIG=$w/rclone.conf RCLONE_CONFIG_E_TYPE=s3 RCLONE_CONFIG_E_PROVIDER=Other RCLONE_CONFIG_E_ACCESS_KEY_ID=$key \
	RCLONE_CONFIG_E_SECRET_ACCESS_KEY=$secret RCLONE_CONFIG_E_ENDPOINT=$emu_url RCLONE_CONFIG_E_REGION=us-east-1 \
	RCLONE_RETRIES=1 RCLONE_LOW_LEVEL_RETRIES=2
: >"$w/rclone.conf"
cat >"$w/s3cfg" <<END
[default]
access_key = $key
secret_key = $secret
host_base = ${emu_url#http://}
host_bucket = ${emu_url#http://}
use_https = False
signature_v2 = False
bucket_location = us-east-1
END
s3() { s3cmd -c "$w/s3cfg" --no-progress "$@"; }
raw() { curl -sS -f "$emu_url/_emu/raw/$1"; }
stat_of() { curl -sS "$emu_url/_emu/stats" | tr -d ' \n' | grep -q "$1"; }
code() { [ "$(curl -sS -o "$w/body" -w '%{http_code}' "${@:2}")" = "$1" ] || { cat "$w/body"; false; }; }
export w emu_url
judge_functions=(s3 raw stat_of code)

mkdir -p "$w/tree/a b/c" "$w/tree/ünï+code" "$w/back"
head -c 100000 /dev/urandom >"$w/tree/a b/one.bin"
echo "two & <three>" >"$w/tree/a b/c/t'wo (2)~!*.txt"
: >"$w/tree/empty"
printf plus >"$w/tree/ünï+code/p+l%us=#?&.txt"
for i in $(seq 30); do echo "$i" >"$w/tree/a b/c/n$i"; done
head -c 26000001 /dev/urandom >"$w/large.bin"

# rclone
check "rclone mkdir" rclone mkdir e:fresh
check "rclone copy a tree" rclone copy "$w/tree" e:judge/tree
check "rclone check it" rclone check "$w/tree" e:judge/tree
check "rclone check it by download" rclone check --download "$w/tree" e:judge/tree
in_shell "rclone lsf -R names every file" 'diff <(cd "$w/tree" && find . -type f | cut -c3- | sort) <(rclone lsf -R --files-only e:judge/tree | sort)'
in_shell "paging: the same names a hundred at a time" \
	'curl -sSf -X POST "$emu_url/_emu/set?short_pages=7" && diff <(cd "$w/tree" && find . -type f | cut -c3- | sort) <(rclone lsf -R --fast-list --files-only e:judge/tree | sort) && curl -sSf -X POST "$emu_url/_emu/reset"'
check "rclone multipart upload" rclone copy --s3-upload-cutoff 5Mi --s3-chunk-size 5Mi "$w/large.bin" e:judge/big
in_shell "it was a multipart upload of 5 parts" 'stat_of "\"UploadPart\":5"'
in_shell "its bytes are right" 'raw judge/big/large.bin | cmp - "$w/large.bin"'
check "rclone check the large object" rclone check --download --include large.bin "$w" e:judge/big
check "rclone multi-threaded download" rclone copy --multi-thread-cutoff 1Mi --multi-thread-streams 4 e:judge/big "$w/back"
check "its bytes came back" cmp "$w/large.bin" "$w/back/large.bin"
check "rclone copy by the server, in parts" rclone copyto --s3-copy-cutoff 6Mi --s3-chunk-size 6Mi e:judge/big/large.bin e:judge/big/copy.bin
in_shell "the copy is the same" 'raw judge/big/copy.bin | cmp - "$w/large.bin"'
check "rclone moveto" rclone moveto e:judge/big/copy.bin "e:judge/moved to/x.bin"
in_shell "the move left nothing" '! rclone lsf e:judge/big | grep -q copy.bin && rclone lsf "e:judge/moved to" | grep -qx x.bin'
check "rclone deletefile" rclone deletefile "e:judge/moved to/x.bin"
check "rclone sync" rclone sync "$w/tree" e:fresh/s
in_shell "rclone sync keeps modification times" '[ -z "$(rclone copy -v "$w/tree" e:fresh/s 2>&1 | grep Copied)" ]'
check "rclone touch (copy to itself with REPLACE)" rclone touch -t 2001-02-03T04:05:06 e:fresh/s/empty
in_shell "the new time is there" 'rclone lsl e:fresh/s/empty | grep -q "2001-02-03 04:05:06"'
in_shell "rclone link gives a presigned URL that works" 'code 200 "$(rclone link e:fresh/s/empty)"'
in_shell "rclone rcat (unknown length)" 'head -c 12000000 "$w/large.bin" | rclone rcat --streaming-upload-cutoff 1Mi e:fresh/rcat && raw fresh/rcat | cmp - <(head -c 12000000 "$w/large.bin")'
check "rclone purge" rclone purge e:fresh

# s3cmd
check "s3cmd mb" timeout 60 s3cmd -c "$w/s3cfg" mb s3://s3cmd-bucket
in_shell "s3cmd put and ls" 's3 put "$w/tree/a b/one.bin" "s3://s3cmd-bucket/p q/one+1.bin" && s3 ls "s3://s3cmd-bucket/p q/" | grep -q "one+1.bin"'
in_shell "s3cmd get" 's3 get "s3://s3cmd-bucket/p q/one+1.bin" "$w/back/one.bin" && cmp "$w/back/one.bin" "$w/tree/a b/one.bin"'
in_shell "s3cmd info" 's3 info "s3://s3cmd-bucket/p q/one+1.bin" && s3 info s3://s3cmd-bucket'
in_shell "s3cmd multipart put" 's3 put --multipart-chunk-size-mb=5 "$w/large.bin" s3://s3cmd-bucket/large.bin && raw s3cmd-bucket/large.bin | cmp - "$w/large.bin"'
in_shell "s3cmd sync up and down" 's3 sync "$w/tree/" s3://s3cmd-bucket/tree/ && s3 sync s3://s3cmd-bucket/tree/ "$w/back/tree/" && diff -r "$w/tree" "$w/back/tree"'
in_shell "s3cmd cp and mv" 's3 cp s3://s3cmd-bucket/large.bin s3://s3cmd-bucket/l2 && s3 mv s3://s3cmd-bucket/l2 s3://s3cmd-bucket/l3 && s3 ls s3://s3cmd-bucket/l3 | grep -q l3'
in_shell "s3cmd del (many at once)" 's3 del -r -f s3://s3cmd-bucket/tree/ && [ -z "$(s3 ls -r s3://s3cmd-bucket/tree/)" ]'
in_shell "s3cmd rb" 's3 rb -r -f s3://s3cmd-bucket && ! s3 ls | grep -q s3cmd-bucket'
in_shell "s3cmd with a wrong secret is refused" '! s3 --secret_key=wrong ls s3://judge 2>"$w/said2" && grep -q SignatureDoesNotMatch "$w/said2"'

# By hand
in_shell "without a signature: 403 AccessDenied" 'code 403 "$emu_url/judge/tree/empty" && grep -q AccessDenied "$w/body"'
in_shell "with a bad signature: 403 SignatureDoesNotMatch" 'u=$(rclone link e:judge/tree/empty) && code 403 "${u%??}00" && grep -q SignatureDoesNotMatch "$w/body"'
in_shell "with an unknown key: 403 InvalidAccessKeyId" 'u=$(rclone link e:judge/tree/empty) && code 403 "${u/AKIAJUDGE/AKIAOTHER}" && grep -q InvalidAccessKeyId "$w/body"'
in_shell "expired links are refused" 'u=$(rclone link --expire 1s e:judge/tree/empty) && curl -sS -X POST "$emu_url/_emu/set?clock_skew=5" && code 403 "$u" && grep -q expired "$w/body"; r=$?; curl -sS -X POST "$emu_url/_emu/reset"; exit $r'
in_shell "a clock off by an hour: 403 RequestTimeTooSkewed" 'curl -sS -X POST "$emu_url/_emu/set?clock_skew=3600" && ! rclone lsf e:judge 2>"$w/said2" && grep -q RequestTimeTooSkewed "$w/said2"; r=$?; curl -sS -X POST "$emu_url/_emu/reset"; exit $r'
in_shell "a wrong region is named" '! RCLONE_CONFIG_E_REGION=eu-west-1 rclone lsf e:judge 2>"$w/said2" && grep -q AuthorizationHeaderMalformed "$w/said2"'
in_shell "a missing bucket is 404 NoSuchBucket" '! rclone lsf e:nowhere 2>"$w/said2" && grep -q "directory not found\|NoSuchBucket" "$w/said2"'
in_shell "rclone rides out injected 503s" 'curl -sS -X POST "$emu_url/_emu/set?error_next=3" && RCLONE_LOW_LEVEL_RETRIES=10 rclone cat e:judge/tree/empty && stat_of "\"error\":3"'

# python3-botocore sends what the other two do not: conditions, checksums in trailers, signed chunks.
if python3 -c 'import botocore' 2>/dev/null; then
	check "botocore: conditions, checksums, copies, listings" python3 "$here/judge-s3.py" "$emu_url" "$key" "$secret"
else
	judge_n=$((judge_n + 1))
	echo "ok $judge_n - botocore # SKIP python3-botocore is not installed"
fi

# What was stored survives the emulator.
emu_port=${emu_url##*:}
emu_stop
emu_start "$s3emu" --dir "$w/data" --access-key $key --secret-key "$secret" --bucket judge
check "after a restart the tree is still right" rclone check --download "$w/tree" e:judge/tree
in_shell "and the multipart object" 'raw judge/big/large.bin | cmp - "$w/large.bin"'
judge_done
