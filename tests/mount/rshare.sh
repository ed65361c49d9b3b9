#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# weir share: a folder of the mount as rclone's rshare:, judged by litmus, rclone (by variables alone, as in a job's container) and curl.
# weir-test: timeout=400 asan=yes
. "$(dirname "$0")/../lib.sh"

for c in litmus rclone curl; do command -v $c > /dev/null || skip_all "$c is not installed"; done
export RCLONE_CONFIG=$T/rclone.conf
: > "$RCLONE_CONFIG"

share() {	# OPTION… PATH: $id, $token, $dav and the variables of rshare:
	run "$WEIR" share --json "$@"
	[ $rc -eq 0 ] || bail "weir share $*" "$err"
	eval "$(json "$out" '"\n".join(["export %s=%s" % e for e in v["env"].items()] + ["%s=%s" % (n, v[k]) for n, k in (("id", "id"), ("token", "token"), ("dav", "url"), ("address", "address"))])')"
}
me() { curl -sS -u "weir:$token" "$@"; }
code() { me -o "$T/body" -w '%{http_code}' "$@"; }	# curl's arguments -> HTTP status

conf_local a b
kinds=local
if start_emu s3emu --access-key k --secret-key s --bucket bucket; then
	kinds="local s3"
	printf s > "$T/secret"
	chmod 600 "$T/secret"
	printf '[remote s3]\ntype = s3\nendpoint = %s\nregion = us-east-1\nbucket = bucket\naccess_key = k\nsecret_key_file = %s\npath_style = yes\n' "$url" "$T/secret" >> "$CONF"
fi
printf '[remote small]\ntype = local\npath = %s\nquota = 1MB\n' "$T/remote/small" >> "$CONF"
mkdir -p "$T/remote/small"
start_mount

# --- litmus: a server with locks --------------------------------------------------------------------------------------------

for kind in $kinds; do
	place=a
	[ $kind = local ] || place=s3
	mkdir -p "$MNT/$place/litmus"
	share "$MNT/$place"
	for suite in basic copymove props locks http; do
		(cd "$T" && TESTS=$suite timeout 150 litmus -k "$dav/" weir "$token" 2>&1 | tr '\r' '\n') > "$T/l.out"
		if grep -q "^<- summary for .$suite.: of .* 0 failed" "$T/l.out"; then pass "litmus $suite on $kind"; else fail "litmus $suite on $kind" "$(cat "$T/l.out")"; fi
	done
	"$WEIR" unshare "$id"
done

# --- rclone, by variables alone ------------------------------------------------------------------------------------------------

mkdir -p "$MNT/b/view/sub" "$T/up/d1/ünï"
echo outside > "$MNT/b/secret"
share "$MNT/b/view"
head -c 30000000 /dev/urandom > "$T/up/d1/large"
echo y > "$T/up/d1/ünï/100%+#?;& .txt"
: > "$T/up/empty"
touch -d '2020-02-03 04:05:06Z' "$T/up/d1/large"
check "rclone copy to rshare:" rclone copy --metadata=false "$T/up" rshare:models
check "it is the same, byte for byte" rclone check --download "$T/up" rshare:models
check "and in the mount" diff -r "$T/up" "$MNT/b/view/models"
is "times travel" "$(stat -c %Y "$MNT/b/view/models/d1/large")" "$(stat -c %Y "$T/up/d1/large")"
is "rclone lsf sees the folder, nothing above it" "$(rclone lsf rshare: | sort | tr '\n' ' ')" "models/ sub/ "
rm "$T/up/empty"
echo changed > "$T/up/d1/large"
check "rclone sync up" rclone sync "$T/up" rshare:models
check "changes and removals arrive" diff -r "$T/up" "$MNT/b/view/models"
echo from-here > "$MNT/b/view/models/made"
check "rclone sync down" rclone sync rshare:models "$T/down"
check "it is the same" diff -r "$MNT/b/view/models" "$T/down"
check "moveto" rclone moveto rshare:models/made rshare:sub/moved
check "and the tree has moved it" test -f "$MNT/b/view/sub/moved" -a ! -e "$MNT/b/view/models/made"
ls "$MNT/b/view/models" "$MNT/b/view/models/d1" > /dev/null
stat "$MNT/b/view/none" 2> /dev/null
cat "$MNT/b/view/models/d1/large" > /dev/null
check "what the kernel had looked up as missing" rclone copyto "$T/up/d1/large" rshare:none
check "is there at once" cmp "$T/up/d1/large" "$MNT/b/view/none"
echo replaced > "$T/new"
check "what it had read is replaced" rclone copyto --ignore-times "$T/new" rshare:models/d1/large
is "and reads as the new one at once" "$(cat "$MNT/b/view/models/d1/large")" replaced
check "what it had listed is removed" rclone deletefile rshare:none
is "and is not listed any more" "$(ls "$MNT/b/view" | tr '\n' ' ')" "models sub "
check "purge" rclone purge rshare:models
is "is gone" "$(ls "$MNT/b/view")" sub
check "rclone about" rclone about rshare:

# --- chunks, as rclone (from 1.63) and Nextcloud's clients send them ------------------------------------------------------------

up=${dav/files/uploads}/rclone-chunked-upload-1
head -c 25000000 /dev/urandom > "$T/whole"
is "an upload begins" "$(code -X MKCOL "$up")" 201
split -b 10000000 -d -a 1 "$T/whole" "$T/part."
for i in 2 0 1; do
	is "part $i" "$(code -T "$T/part.$i" "$up/$(printf '%015d-%015d' $((i * 10000000)) $((i * 10000000 + 9999999)))")" 201
done
is "none of it is in the tree" "$(find "$MNT/b/view" -type f | wc -l)" 1
is "wrong total length" "$(code -X MOVE -H "Destination: $dav/whole" -H 'OC-Total-Length: 7' "$up/.file")" 400
is "it is put together" "$(code -X MOVE -H "Destination: $dav/whole" -H 'OC-Total-Length: 25000000' -H 'X-OC-Mtime: 1500000000' "$up/.file")" 201
check "it is what was sent" cmp "$T/whole" "$MNT/b/view/whole"
is "with its time" "$(stat -c %Y "$MNT/b/view/whole")" 1500000000
is "the upload is gone" "$(code -X DELETE "$up")" 404

# --- ranges, checksums, conditions -----------------------------------------------------------------------------------------------

truncate -s 1G "$MNT/b/view/sparse"
printf end | dd of="$MNT/b/view/sparse" bs=1 seek=$((1 << 30)) status=none
is "the last bytes of a sparse gigabyte" "$(me -r -3 "$dav/sparse")" end
is "a range in the middle" "$(me -r 1000-1999 "$dav/whole" | sha256sum)" "$(dd if="$T/whole" bs=1 skip=1000 count=1000 status=none | sha256sum)"
is "a range behind the end" "$(code -r 99999999- "$dav/whole")" 416
rss=$(sed -n 's/^VmRSS:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$(worker_pid)/status")
me "$dav/sparse" | head -c 200000000 > /dev/null
now=$(sed -n 's/^VmRSS:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$(worker_pid)/status")
if [ $((now - rss)) -lt 65536 ]; then pass "a large file is not read into memory"; else fail "a large file is not read into memory" "$rss kB, then $now kB"; fi
is "a wrong checksum is refused" "$(code -T "$T/up/d1/large" -H 'OC-Checksum: SHA1:0000000000000000000000000000000000000000' "$dav/sum")" 400
check "and leaves nothing" test ! -e "$MNT/b/view/sum"
is "a right one is taken" "$(code -T "$T/up/d1/large" -H "OC-Checksum: SHA1:$(sha1sum < "$T/up/d1/large" | cut -d ' ' -f 1)" "$dav/sum")" 201
etag=$(me -I "$dav/sum" | tr -d '\r' | sed -n 's/^ETag: //p')
is "If-None-Match" "$(code -H "If-None-Match: $etag" "$dav/sum")" 304
is "If-None-Match: * keeps what is there" "$(code -T "$T/whole" -H 'If-None-Match: *' "$dav/sum")" 412
is "If-Match of an old version" "$(code -T "$T/whole" -H 'If-Match: "1-2-3-4"' "$dav/sum")" 412

# --- hostile ---------------------------------------------------------------------------------------------------------------------

for p in /%2e%2e/secret /sub/%2e%2e/%2e%2e/secret '/a%00b' '/sub%2f..%2f..%2fsecret' '/%zz' '/..'; do
	is "path $p" "$(code --path-as-is "$dav$p")" 400
done
ln -s ../secret "$MNT/b/view/out"
ln -s "$MNT/b/secret" "$MNT/b/view/out2"
ln -s sub/moved "$MNT/b/view/in"
is "a link out of the share leads nowhere" "$(code "$dav/out")$(code "$dav/out2")" 404404
is "one inside is followed" "$(me "$dav/in")" from-here
is "links out are not listed" "$(rclone lsf rshare: | grep -c out)" 0
is "another host in Destination" "$(code -X MOVE -H 'Destination: http://192.0.2.1/x' "$dav/sum")" 502
is "a Destination outside" "$(code -X MOVE -H "Destination: http://$address/etc/passwd" "$dav/sum")" 502
is "a document type" "$(code -X PROPFIND -H 'Depth: 0' --data '<!DOCTYPE x [<!ENTITY a "b">]><propfind xmlns="DAV:"><prop><x>&a;</x></prop></propfind>' "$dav/")" 400
is "Depth: infinity" "$(code -X PROPFIND "$dav/")" 403
is "an endless body" "$(head -c 3000000 /dev/zero | code -X PROPFIND -H 'Depth: 0' --data-binary @- "$dav/")" 413
is "no token" "$(curl -s -o /dev/null -w '%{http_code}' "$dav/")" 401
is "a wrong one" "$(curl -s -o /dev/null -w '%{http_code}' -u "weir:${token/?/x}" "$dav/")" 401
is "another place of the server" "$(code "http://$address/")" 404
like "weir share --list keeps tokens to itself" "$("$WEIR" share --list --json "$MNT" | grep -c "$token")" '^0$'

# --- concurrency, a worker that dies, clients that vanish ---------------------------------------------------------------------------

for i in $(seq 12); do
	(for k in $(seq 10); do me -s -T "$T/up/d1/large" "$dav/sub/c$i-$k"; done) > /dev/null &
	pids[i]=$!
done
wait "${pids[@]}"
is "120 files by 12 clients at once" "$(find "$MNT/b/view/sub" -name 'c*' | wc -l)" 120
me -T "$T/whole" "$dav/same" -o /dev/null
(while :; do me -T "$T/whole" "$dav/same" -o /dev/null; done) & writer=$!
bad=
for k in $(seq 80); do
	code=$(me -o "$T/got" "$dav/same" -w '%{http_code}' 2> /dev/null)
	[ "$code" = 200 ] && cmp -s "$T/got" "$T/whole" || bad="$bad $code"
done
kill $writer 2> /dev/null
wait $writer 2> /dev/null
is "a reader sees what is being put again all the time whole, and always" "$bad" ""
(head -c 10000000 /dev/urandom; sleep 60) | me -T - "$dav/half" > /dev/null 2>&1 & half=$!
wait_for 10 sh -c "ls -A '$MNT/b/view' | grep -q weir-put" || fail "a put under way is a hidden file"
kill -9 "$(worker_pid)"
is "after the worker's death the share is there" "$(me --retry 5 --retry-all-errors "$dav/in")" from-here
is "what it could not finish is gone" "$(wait_for 10 sh -c "! ls -A '$MNT/b/view' | grep -q weir-put" && echo yes)" yes
check "and never had a name" test ! -e "$MNT/b/view/half"
kill $half 2> /dev/null

# --- read-only, quota, the end ---------------------------------------------------------------------------------------------------

is "a share is revoked" "$("$WEIR" unshare "$id" && curl -s -o /dev/null -w '%{http_code}' -m 5 -u "weir:$token" "$dav/")" 000
share --readonly "$MNT/b/view"
is "read-only: a file is read" "$(me "$dav/in")" from-here
for m in "-T $T/whole" "-X DELETE" "-X MKCOL" "-X PROPPATCH" "-X LOCK" "-X MOVE"; do
	# shellcheck disable=SC2086
	is "read-only: ${m%% /*}" "$(code $m "$dav/in")" 403
done
share "$MNT/small"
is "beyond the quota" "$(code -T "$T/whole" "$dav/big")" 507
is "leaves nothing" "$(ls -A "$MNT/small")" ""
exec 9> "$T/lease"
flock -x 9
share --lease "$T/lease" "$MNT/b/view"
is "a share with a lease" "$(me "$dav/in")" from-here
exec 9>&-
if wait_for 15 sh -c "! '$WEIR' share --list '$MNT' | grep -q $id"; then pass "ends with it"; else fail "ends with it"; fi
refuse "a lease that nobody holds" ! 'nobody holds the lease' "$WEIR" share --lease "$T/lease" "$MNT/b"
refuse "the wildcard address" ! 'let everybody in' "$WEIR" share --listen 0.0.0.0 "$MNT/b"
refuse "a folder that is not there" ! 'no such file' "$WEIR" share "$MNT/b/nowhere"
refuse "a share that is not there" ! 'there is no share' "$WEIR" unshare -c "$CONF" 0123
check "the mount ends with its shares" "$WEIR" umount "$MNT"
is "and nobody listens any more" "$(curl -s -o /dev/null -w '%{http_code}' -m 5 "http://$address/")" 000
done_testing
