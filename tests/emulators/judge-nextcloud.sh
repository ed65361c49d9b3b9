#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The Nextcloud emulator judged by clients nobody here wrote: litmus, Nextcloud's own nextcloudcmd, rclone, curl.
# usage: judge-nextcloud.sh [BUILDDIR]
here=$(cd "$(dirname "$0")" && pwd)
. "$here/judge-lib.sh"
build=${1:-${BUILDDIR:-.}}
judge_need litmus nextcloudcmd rclone curl
ncemu=$build/tests/emulators/ncemu
[ -x "$ncemu" ] || judge_skip "$ncemu is not built"
w=$judge_dir

user=alice login=alice@example.org password='pa ss:wörd%&' bearer=judge-token
emu_start "$ncemu" --dir "$w/data" --user $user --login $login --password "$password" --bearer $bearer
dav=$emu_url/remote.php/dav/files/$user
export RCLONE_CONFIG=$w/rclone.conf RCLONE_CONFIG_E_TYPE=webdav RCLONE_CONFIG_E_VENDOR=nextcloud RCLONE_CONFIG_E_URL=$dav \
	RCLONE_CONFIG_E_USER=$user RCLONE_RETRIES=1
RCLONE_CONFIG_E_PASS=$(rclone obscure "$password")
export RCLONE_CONFIG_E_PASS
: >"$w/rclone.conf"
# Newer clients (3.16) start with chunks of 100 MB: a size that both know.
export OWNCLOUD_CHUNK_SIZE=10000000 OWNCLOUD_MAX_CHUNK_SIZE=10000000
export HOME=$w/home XDG_CONFIG_HOME=$w/home/.config XDG_DATA_HOME=$w/home/.local XDG_RUNTIME_DIR=$w/home/run QT_QPA_PLATFORM=offscreen
mkdir -p "$HOME/run"
chmod 700 "$HOME/run"

nc() { nextcloudcmd --non-interactive --silent -u $user -p "$password" "$1" "$emu_url" >"$w/nc.log" 2>&1 || { tail -n 60 "$w/nc.log"; false; }; }
me() { curl -sS -u "$user:$password" "$@"; }
raw() { curl -sS "$emu_url/_emu/raw$1" "${@:2}"; }
code() { local c; c=$(me -o "$w/body" -w '%{http_code}' "${@:2}") && [ "$c" = "$1" ] || { echo "HTTP $c instead of $1"; cat "$w/body"; false; }; }
emu() { curl -sSf -X POST "$emu_url/_emu/$1"; }
stat_of() { curl -sS "$emu_url/_emu/stats" | tr -d ' \n' | grep -q "$1"; }
etag() { me -I "$1" | tr -d '\r' | sed -n 's/^OC-ETag: //p'; }
export w emu_url dav user login password bearer
judge_functions=(nc me raw code emu stat_of etag)

# litmus: the suites of a server without locks
for suite in basic copymove props http; do
	in_shell "litmus $suite" "cd \$w && TESTS=$suite litmus -k \$dav/ \$user \"\$password\" | tr '\\r' '\\n' >l.out; cat l.out; grep -q '^<- summary for .$suite.: of .* 0 failed' l.out"
done
me -X DELETE "$dav/litmus/" >/dev/null

# nextcloudcmd: a small tree with a file that needs chunks, both ways
mkdir -p "$w/one/docs/a b" "$w/one/ünï" "$w/two"
echo hello >"$w/one/docs/hello.txt"
echo "percent" >"$w/one/docs/a b/100%+#?.txt"
echo plus >"$w/one/ünï/+ü.txt"
: >"$w/one/empty"
for i in $(seq 20); do echo "$i" >"$w/one/docs/n$i"; done
head -c 27000001 /dev/urandom >"$w/one/large.bin"
touch -d '2020-02-03 04:05:06Z' "$w/one/docs/hello.txt"
same() { diff -r -x '.sync_*' -x '.nextcloudsync.log' -x '._sync*' "$w/one" "$w/two"; }
export -f same
in_shell "nextcloudcmd uploads a tree" 'nc $w/one'
in_shell "the large file went in chunks" 'stat_of "\"assemble\":1" && raw /remote.php/dav/files/$user/large.bin | cmp - $w/one/large.bin'
in_shell "nextcloudcmd downloads it elsewhere" 'nc $w/two && same'
in_shell "modification times travel" '[ "$(stat -c %Y $w/two/docs/hello.txt)" = "$(date -ud "2020-02-03 04:05:06" +%s)" ]'
in_shell "a change, a rename, a deletion and a new folder go up" \
	'echo more >>$w/two/docs/hello.txt && mv $w/two/docs/n1 $w/two/docs/first && rm $w/two/docs/n2 && mkdir $w/two/new && echo x >$w/two/new/x && nc $w/two'
in_shell "and come down on the other side" 'nc $w/one && same && [ "$(cat $w/one/docs/first)" = 1 ] && [ ! -e $w/one/docs/n2 ]'
in_shell "a large file that changed goes up against its old version" 'printf X | dd of=$w/one/large.bin bs=1 seek=100 conv=notrunc 2>&1 && nc $w/one && nc $w/two && same'
in_shell "an edit made on the server comes down" 'raw /remote.php/dav/files/$user/new/x -T - <<<edited && nc $w/one && grep -qx edited $w/one/new/x'
in_shell "a whole folder renamed" 'nc $w/two && mv $w/two/docs $w/two/papers && nc $w/two && nc $w/one && same && [ -d $w/one/papers ]'
in_shell "nothing to do: no uploads and no downloads" 'emu reset && nc $w/one && ! stat_of "files.PUT\|files.GET\|files.MKCOL\|files.DELETE"'

# rclone
mkdir -p "$w/tree/a b/c"
head -c 3000000 /dev/urandom >"$w/tree/a b/one.bin"
echo 'two' >"$w/tree/a b/c/t'wo (2)~!*+%.txt"
: >"$w/tree/zero"
check "rclone copy" rclone copy "$w/tree" e:tree
check "rclone check" rclone check "$w/tree" e:tree
check "rclone check --download" rclone check --download "$w/tree" e:tree
in_shell "rclone compared checksums, which the server kept" 'rclone hashsum sha1 e:tree | grep -q "$(sha1sum <"$w/tree/a b/one.bin" | cut -d" " -f1)"'
in_shell "rclone keeps modification times" '[ -z "$(rclone copy -v $w/tree e:tree 2>&1 | grep Copied)" ]'
check "rclone move a file" rclone moveto "e:tree/a b/one.bin" e:tree/moved.bin
check "rclone move a folder" rclone move e:tree e:tree2
in_shell "everything is there" 'rclone cat e:tree2/moved.bin | cmp - "$w/tree/a b/one.bin"'
check "rclone copy on the server" rclone copyto e:tree2/moved.bin e:copied.bin
in_shell "rclone about" 'rclone about e: | grep -q Used'
check "rclone purge" rclone purge e:tree2

# By hand: what the sheets of facts name as traps
f=$dav/hand.txt
export f
in_shell "401 asks for Basic" 'curl -sS -o /dev/null -D - "$dav/" | tr -d "\r" | grep -qx "WWW-Authenticate: Basic realm=\"Nextcloud\", charset=\"UTF-8\""'
in_shell "the login name and a bearer token are as good as the uid" 'code 207 -u "$login:$password" -X PROPFIND -H "Depth: 0" "$dav/" && [ "$(curl -sS -o /dev/null -w "%{http_code}" -H "Authorization: Bearer $bearer" "$dav/")" = 200 ]'
in_shell "PUT 201, then 204" 'printf 0123456789 >$w/ten && code 201 -T $w/ten "$f" && code 204 -T $w/ten "$f"'
in_shell "ranges" '[ "$(me -r 2-4 "$f")" = 234 ] && [ "$(me -r -3 "$f")" = 789 ] && code 416 -r 10-12 "$f"'
in_shell "bytes=0-0 gives the whole file as 206" 'code 206 -r 0-0 "$f" && [ "$(cat $w/body)" = 0123456789 ]'
in_shell "If-Match" 'e=$(etag "$f"); code 412 -H "If-Match: \"nope\"" -T $w/ten "$f" && code 204 -H "If-Match: $e" -T $w/ten "$f" && code 412 -H "If-Match: $e" -T $w/ten "$f"'
in_shell "If-None-Match: *" 'code 412 -H "If-None-Match: *" -T $w/ten "$f" && code 201 -H "If-None-Match: *" -T $w/ten "$f.new"'
in_shell "If with an entity tag" 'e=$(etag "$f"); code 412 -H "If: ([\"nope\"])" -T $w/ten "$f" && code 204 -H "If: ([$e])" -T $w/ten "$f"'
in_shell "every change reaches the root etag" 'a=$(etag "$dav/") && code 204 -T $w/ten "$f" && b=$(etag "$dav/") && [ "$a" != "$b" ]'
in_shell "the file id survives overwriting and moving" 'id() { me -I "$1" | tr -d "\r" | sed -n "s/^OC-FileId: //p"; }; a=$(id "$f") && code 204 -T $w/ten "$f" && code 201 -X MOVE -H "Destination: $f.m" "$f" && [ "$(id "$f.m")" = "$a" ] && code 201 -X MOVE -H "Destination: $f" "$f.m"'
in_shell "a missing parent is 409, unless the server shall make it" 'code 409 -T $w/ten "$dav/x/y/z" && code 201 -H "X-NC-WebDAV-AutoMkcol: 1" -T $w/ten "$dav/x/y/z"'
in_shell "names the server does not take are 400" 'code 400 -T $w/ten "$dav/.htaccess" && code 400 -T $w/ten "$dav/a.part" && code 400 -T $w/ten "$dav/a%5Cb" && code 400 -T $w/ten "$dav/$(printf "%0251d" 0)"'
in_shell "an X-OC-MTime that is too old: stored, then 500" 'code 500 -H "X-OC-MTime: 5" -T $w/ten "$dav/old" && code 200 "$dav/old"'
in_shell "MOVE: 412 with Overwrite F, 403 onto itself, 409 below itself" 'code 412 -X MOVE -H "Overwrite: F" -H "Destination: $f.new" "$f" && code 403 -X MOVE -H "Destination: $f" "$f" && code 409 -X MOVE -H "Destination: $dav/x/in" "$dav/x"'
in_shell "PROPPATCH sets a time" 'code 207 -X PROPPATCH -d "<?xml version=\"1.0\"?><d:propertyupdate xmlns:d=\"DAV:\"><d:set><d:prop><d:lastmodified>1700000000</d:lastmodified></d:prop></d:set></d:propertyupdate>" "$f" && grep -q "200 OK" $w/body && me -I "$f" | grep -q "Tue, 14 Nov 2023 22:13:20 GMT"'
in_shell "the server computes a checksum when asked" 'me -D $w/head -o /dev/null -H "X-Hash: sha256" -T $w/ten "$f" && grep -qi "X-Hash-SHA256: $(sha256sum <$w/ten | cut -d" " -f1)" $w/head && me -D $w/head -o /dev/null -X PATCH -H "X-Recalculate-Hash: md5" "$f" && grep -qi "OC-Checksum: MD5:$(md5sum <$w/ten | cut -d" " -f1)" $w/head'
up=$emu_url/remote.php/dav/uploads/$user/judge-1
export up
in_shell "chunks: any order, listed, a wrong total refused, then joined" '
	code 201 -X MKCOL -H "Destination: $f" "$up" && code 405 -X MKCOL "$up" && code 201 -T $w/ten "$up/00002" && code 201 -T - "$up/00001" <<<first &&
	code 400 -T $w/ten "$up/10001" && code 400 -T $w/ten "$up/name" && code 405 "$up/00001" && me -X PROPFIND -H "Depth: 1" "$up/" | grep -q "00002" &&
	code 400 -X MOVE -H "Destination: $f" -H "OC-Total-Length: 99" "$up/.file" &&
	code 412 -X MOVE -H "Destination: $f" -H "If: <${f#"$emu_url"}> ([\"nope\"])" "$up/.file" &&
	code 204 -X MOVE -H "Destination: $f" -H "OC-Total-Length: 16" -H "If: <${f#"$emu_url"}> ([$(etag "$f")])" "$up/.file" &&
	[ "$(me "$f")" = "$(echo first; cat $w/ten)" ] && code 404 -X PROPFIND "$up/"'
in_shell "a MOVE the proxy gave up on: 504, 423, then 404 and the file is there" '
	emu "set?move_async_ms=1500" && code 201 -X MKCOL "$up" && code 201 -T $w/ten "$up/1" && code 504 -X MOVE -H "Destination: $f.late" "$up/.file" &&
	code 423 -X MOVE -H "Destination: $f.late" "$up/.file" && code 404 "$f.late" && sleep 2 && code 404 -X MOVE -H "Destination: $f.late" "$up/.file" && code 200 "$f.late"; r=$?; emu reset; exit $r'
in_shell "quota: 507, and less room in the properties" 'used=$(me -H "OCS-APIRequest: true" "$emu_url/ocs/v2.php/cloud/user?format=json" | sed "s/.*\"used\": *\([0-9]*\).*/\1/") && emu "set?quota=$((used + 5000))" && code 507 -T $w/tree/moved.bin "$dav/full" 2>/dev/null || head -c 6000 /dev/zero >$w/six && code 507 -T $w/six "$dav/full" && code 201 -T $w/ten "$dav/fits"; r=$?; emu reset; exit $r'
in_shell "maintenance: 503, and status.php says so" 'emu "set?maintenance=1" && code 503 "$f" && me "$emu_url/status.php" | grep -q "\"maintenance\": *true"; r=$?; emu reset; exit $r'
in_shell "OCS in XML and JSON; without the flag it is refused" 'me -H "OCS-APIRequest: true" "$emu_url/ocs/v1.php/cloud/user" | grep -q "<statuscode>100</statuscode>.*<id>alice</id>" && code 412 "$emu_url/ocs/v2.php/cloud/capabilities"'
in_shell "Login Flow v2" 'curl -sSf -X POST "$emu_url/index.php/login/v2" | sed "s/\\\\//g" >$w/flow && t=$(sed "s/.*\"token\": *\"\([^\"]*\).*/\1/" $w/flow) && p=$(sed "s/.*\"endpoint\": *\"\([^\"]*\).*/\1/" $w/flow) && l=$(sed "s/.*\"login\": *\"\([^\"]*\).*/\1/" $w/flow) &&
	code 404 -d "token=$t" "$p" && [ "$(cat $w/body)" = "[]" ] && code 200 "$l" && code 200 -d "token=$t" "$p" && a=$(sed "s/.*\"appPassword\": *\"\([^\"]*\).*/\1/" $w/body) && code 404 -d "token=$t" "$p" && code 200 -u "$user:$a" "$f"'
in_shell "after ten bad passwords: 429, for the right one too" 'for i in $(seq 11); do code 401 -u "$user:bad" "$f" || exit 1; done; code 429 "$f"; r=$?; emu reset; exit $r'

# What was stored survives the emulator.
before=$(me -X PROPFIND -H "Depth: infinity" "$dav/" | md5sum)
emu_port=${emu_url##*:}
emu_stop
emu_start "$ncemu" --dir "$w/data" --user $user --login $login --password "$password" --bearer $bearer
check "after a restart every property is as before" test "$before" = "$(me -X PROPFIND -H "Depth: infinity" "$dav/" | md5sum)"
in_shell "and nextcloudcmd finds the same content" 'mkdir $w/three && nc $w/three && diff -r -x ".sync_*" -x ".nextcloudsync.log" -x "._sync*" $w/one/papers $w/three/papers && cmp $w/one/large.bin $w/three/large.bin'
judge_done
