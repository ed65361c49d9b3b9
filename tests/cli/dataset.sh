#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# weir dataset fetch: records by DOI with their checksums, plain addresses, connections that break, what is fetched again and what is not, and every failure
# with its sentence.
# weir-test: timeout=180 asan=yes beside=yes
. "$(dirname "$0")/../lib.sh"

mkdir -p "$T/www/101" "$T/www/102" "$T/www/103" "$T/www/104" "$T/www/plain" "$T/remote/a"
head -c 3000000 /dev/urandom > "$T/www/101/train.zip"
echo "a,b" > "$T/www/101/labels of it.csv"
: > "$T/www/101/nothing"
echo 101 > "$T/www/102/.newest"
touch "$T/www/103/.restricted"
head -c 5000000 /dev/urandom > "$T/www/plain/images.tar"
python3 "$WEIR_SRCDIR/tests/servers/records.py" "$T/www" > "$T/server.out" 2>&1 &
SERVER=$!
cleanup() { kill $SERVER 2> /dev/null; }
wait_for 20 grep -q '^listening' "$T/server.out" || bail "records.py does not start" "$(cat "$T/server.out")"
url=http://$(sed -n 's/^listening on //p' "$T/server.out")
{
	printf '[weir]\ncache_dir = %s\ncache_size = 200MB\n' "$T/cache"
	printf '[remote a]\ntype = local\npath = %s\nquota = 60MB\n' "$T/remote/a"
	printf '[namespace]\n/ = a\n[datasets]\ndoi = %s\nzenodo = %s\n' "$url" "$url"
} > "$CONF"
chmod 600 "$CONF"
printf '#!/bin/sh\nexec "%s" dataset -c "%s" fetch "$@"\n' "$WEIR" "$CONF" > "$T/fetch"
chmod +x "$T/fetch"
fetch=$T/fetch
set_() { curl -sS "$url/_set?$1" || bail "server: $1"; }
reset_() { curl -sS "$url/_reset"; }
log() { curl -sS "$url/_log"; }
D=$T/remote/a/ai4os-storage/datasets/10.5281/zenodo.101

# --- a record ------------------------------------------------------------------------------------------------------------
check "a record by its DOI" $fetch 10.5281/zenodo.101
like "says where it is" "$out" "^:/ai4os-storage/datasets/10.5281/zenodo.101: 3 files, 3.00 MB$"
is "its files are on the storage" "$(cd "$D" && ls)" "$(cd "$T/www/101" && ls)"
check "with their bytes" diff -r -x '.weir-*' "$D" "$T/www/101"
is "and the modes of ordinary files" "$(stat -c %a "$D/train.zip")" 644
reset_
check "again" $fetch 10.5281/zenodo.101
like "is complete" "$out" "complete already"
is "without asking anybody" "$(log)" ""
touch "$D/train.zip"
check "a file with another time" $fetch 10.5281/zenodo.101
like "is read, and is right" "$out" "complete already"
is "without asking" "$(log)" ""
printf X | dd of="$D/train.zip" conv=notrunc bs=1 seek=100 status=none
check "a file that was damaged" $fetch 10.5281/zenodo.101
check "is fetched again" cmp "$D/train.zip" "$T/www/101/train.zip"
like "it alone" "$(log | grep -c content)" '^1$'
rm "$D/nothing"
check "so is one that is missing" $fetch 10.5281/zenodo.101
check "it is there" test -f "$D/nothing"
reset_
check "--force" $fetch --force 10.5281/zenodo.101
is "fetches all" "$(log | grep -c content)" 2	# an empty file needs no request
check "the same record as doi:" $fetch doi:10.5281/zenodo.101
like "is the same folder" "$out" "zenodo.101: 3 files.*complete already"
check "the number of all versions" $fetch 10.5281/zenodo.102
check "gives the newest" cmp "$T/remote/a/ai4os-storage/datasets/10.5281/zenodo.102/train.zip" "$T/www/101/train.zip"
check "a DOI of somebody else that leads to a record" $fetch 10.1234/abc.101 --to "$T/here"
check "in a folder of this host" diff -r -x '.weir-*' "$T/here/10.1234/abc.101" "$T/www/101"
set_ entries=1
check "a record as other InvenioRDMs tell it" $fetch --to "$T/rdm" "$url/records/101"
check "with its files" diff -r -x '.weir-*' "$T/rdm/${url#http://}-records-101" "$T/www/101"
reset_

# --- plain addresses -----------------------------------------------------------------------------------------------------
sum=$(sha256sum < "$T/www/plain/images.tar" | cut -d ' ' -f 1)
check "an address with its checksum" $fetch "$url/plain/images.tar#sha256=$sum"
P=$T/remote/a/ai4os-storage/datasets/${url#http://}-plain-images.tar
check "is one file" cmp "$P/images.tar" "$T/www/plain/images.tar"
check "through a redirect, without a checksum, with JSON" $fetch --json --to "$T/here" "$url/moved/images.tar?x=1"
is "tells what came" "$(json "$out" '[v["files"],v["bytes"],v["was_complete"]]')" "[1, 5000000, false]"
refuse "another checksum" 1 "has the sha256 checksum $sum, not" $fetch --to "$T/bad" "$url/plain/images.tar#sha256=${sum//[0-7]/8}"
is "leaves nothing" "$(find "$T/bad" -type f ! -name '.weir-dataset.json')" ""
refuse "plain http from afar" 1 "would come without protection" $fetch --to "$T/bad" http://data.example.org/x.zip

# --- what breaks ---------------------------------------------------------------------------------------------------------
set_ "cut=400000&times=5"
check "connections that break" $fetch --force --to "$T/cut" "$url/plain/images.tar"
check "are continued" cmp "$T/cut/${url#http://}-plain-images.tar/images.tar" "$T/www/plain/images.tar"
like "by ranges" "$(log)" "images.tar bytes=2000000-"
reset_
set_ "cut=400000&times=3&noranges=1"
check "a server without ranges begins again" $fetch --to "$T/cut2" "$url/plain/images.tar"
check "and is right" cmp "$T/cut2/${url#http://}-plain-images.tar/images.tar" "$T/www/plain/images.tar"
reset_
set_ "status=503&times=2"
check "503 twice" $fetch --to "$T/busy" 10.5281/zenodo.101
reset_

# killed in the middle, continued by the next run
set_ slow=0.05
for what in "10.5281/zenodo.101" "$url/plain/images.tar"; do
	rm -rf "$T/killed"
	curl -sS "$url/_set?slow=0.05"
	$fetch -q --to "$T/killed" "$what" & pid=$!
	wait_for 30 bash -c "find $T/killed -name '*.weir-fetch' -size +500k | grep -q ." || fail "$what: nothing came"
	kill -9 $pid; wait $pid 2> /dev/null
	is "$what: no part looks complete" "$(find "$T/killed" -name train.zip -o -name images.tar)" ""
	reset_
	check "$what: the next run" $fetch --to "$T/killed" "$what"
	like "goes on where it was" "$(log)" "(train.zip/content|images.tar) bytes=[1-9]"
	check "to the right end" bash -c "cat \$(find $T/killed -name train.zip -o -name images.tar) | cmp - $T/www/$([ "${what#10}" = "$what" ] && echo plain/images.tar || echo 101/train.zip)"
done
# ... of a file that is another one by then
curl -sS "$url/_set?slow=0.05"
$fetch -q --to "$T/other" "$url/plain/images.tar" & pid=$!
wait_for 30 bash -c "find $T/other -name '*.weir-fetch' -size +500k | grep -q ." || fail "nothing came"
kill -9 $pid; wait $pid 2> /dev/null
reset_
head -c 5000000 /dev/urandom > "$T/www/plain/images.tar"
check "a file that changed meanwhile" $fetch --to "$T/other" "$url/plain/images.tar"
check "is the new one, whole" cmp "$T/other/${url#http://}-plain-images.tar/images.tar" "$T/www/plain/images.tar"

# --- failures that are seen ----------------------------------------------------------------------------------------------
refuse "a DOI that does not exist" 1 "there is no DOI '10.9999/none'" $fetch 10.9999/none
refuse "a record that does not exist" 1 "record 999: .*has no such thing" $fetch 10.5281/zenodo.999
refuse "a record that is not public" 1 "not public \(restricted\)" $fetch 10.5281/zenodo.103
refuse "a record without files" 1 "has no files" $fetch 10.5281/zenodo.104
refuse "a DOI that leads elsewhere" 1 "leads to '.*paper.html', which is no record" $fetch 10.1234/paper.5
refuse "a file that is not there" 1 "has no such thing" $fetch "$url/plain/none.zip"
refuse "what is neither" 1 "neither a DOI .* nor an address" $fetch nonsense
refuse "what would leave the folder" 1 "neither a DOI .* nor an address" $fetch 10.5281/../../x
set_ wrongsum=1
refuse "a checksum that does not fit" 1 "has the md5 checksum" $fetch --to "$T/sum" 10.5281/zenodo.101
reset_
mkdir "$T/www/105"; truncate -s 70M "$T/www/105/large"
refuse "more than the quota" 1 "it takes 73.40 MB, and there is room for" $fetch 10.5281/zenodo.105
truncate -s 70M "$T/www/plain/large"
refuse "also where it is found out on the way" 1 "large.*(quota exceeded|no space left)" $fetch "$url/plain/large"
refuse "no request" 2 "something is missing" "$WEIR" dataset fetch
refuse "another request" 2 "unknown request 'get'" "$WEIR" dataset get x
kill $SERVER; wait $SERVER 2> /dev/null
check "what is complete needs no server" $fetch 10.5281/zenodo.101
done_testing
