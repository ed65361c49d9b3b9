#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Everyday work on a Google Drive: ids that stay, several files of one name, documents, shortcuts, symlinks, large files, changes by others as they
# happen, and the same through a server that lags, throttles and loses answers. The far side is looked at without weir.
# weir-test: timeout=600 beside=yes
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/remotes.sh"

# A server of our own: its faults strike everybody, and its requests are counted.
start_emu driveemu --client-id the-id --client-secret the-secret --refresh-token seeded || skip_all "driveemu was not built"
api=$url
export WEIR_TEST_DRIVEEMU=$api WEIR_TEST_DRIVEEMU_CLIENT_ID=the-id WEIR_TEST_DRIVEEMU_CLIENT_SECRET=the-secret WEIR_TEST_DRIVEEMU_REFRESH_TOKEN=seeded

# The API without token, faults or counting.
far() { curl -sS -m 60 "$@"; }
raw=$api/_emu/raw/drive/v3
json() { python3 -c "import json,sys; d=json.load(sys.stdin); print($1)" 2> /dev/null; }
far_children() {	# ID: the children's resources
	far -G "$raw/files" --data-urlencode "q='$1' in parents and trashed=false" -d pageSize=1000 -d 'fields=*'
}
far_id() {	# PATH below our folder: its id, or nothing
	local id=$ROOT part IFS=/
	for part in $1; do
		id=$(far_children "$id" | json "[f['id'] for f in d['files'] if f['name']=='$part'][0]")
	done
	echo "$id"
}
far_get() { far "$raw/files/$(far_id "$1")?alt=media"; }
far_field() { far "$raw/files/$(far_id "$1")?fields=*" | json "d.get('$2')"; }
far_names() { far_children "${1:-$ROOT}" | json "'\n'.join(sorted(f['name'] for f in d['files']))"; }
far_make() {	# NAME TEXT PARENT: its id
	far -X POST -H 'Content-Type: multipart/related; boundary=B' --data-binary "$(printf -- '--B\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n{"name":"%s","parents":["%s"]}\r\n--B\r\nContent-Type: text/plain\r\n\r\n%s\r\n--B--\r\n' "$1" "$3" "$2")" \
	    "$api/_emu/raw/upload/drive/v3/files?uploadType=multipart" | json "d['id']"
}
far_patch() { far -o /dev/null -X PATCH -H 'Content-Type: application/json' -d "$2" "$raw/files/$1"; }	# ID JSON
seed() { far -X POST "$api/_emu/raw/emu/$1" | json "d['id']"; }
faults() { far -o /dev/null -X POST "$api/_emu/set?$1"; }
count() { far "$api/_emu/stats" | json "d['ops'].get('$1', 0)"; }
shows() { if wait_for 15 "${@:2}"; then pass "$1"; else fail "$1"; fi; }
FLUSH_LIMIT=180

ROOT=$(far -X POST -H 'Content-Type: application/json' -d "{\"name\":\"$OWN\",\"mimeType\":\"application/vnd.google-apps.folder\",\"parents\":[\"root\"]}" "$raw/files" |
    json "d['id']")
[ -n "$ROOT" ] || bail "the emulator makes no folder"
WEIR_LINES='cache_size = 2GiB'
conf_remotes drive
start_mount
D=$MNT/drive

# --- files and folders ---

check "a folder is made" mkdir "$D/docs"
echo one > "$D/docs/report.txt"
flushed "a new file arrives"
is "with its bytes" "$(far_get docs/report.txt)" one
id=$(far_field docs/report.txt id)
echo two >> "$D/docs/report.txt"
chmod 750 "$D/docs/report.txt"
flushed "an edited file arrives"
is "with the new bytes" "$(far_get docs/report.txt)" "$(printf 'one\ntwo')"
is "as a new revision of the same file" "$(far_field docs/report.txt id)" "$id"
is "its mode is kept" "$(far_field docs/report.txt appProperties)" "{'weir_mode': '0750'}"
check "it is renamed" mv "$D/docs/report.txt" "$D/docs/paper.txt"
flushed "the rename arrives"
is "and it is the same file" "$(far_field docs/paper.txt id)" "$id"
check "a folder is renamed with all in it" mv "$D/docs" "$D/archive"
flushed "that arrives"
is "with the file" "$(far_field archive/paper.txt id)" "$id"
check "an empty folder is made" mkdir "$D/empty"
flushed "it arrives"
check "and removed" rmdir "$D/empty"
refuse "a folder with something in it stays" ! 'not empty' rmdir "$D/archive"
flushed "the removal arrives"
is "the empty folder is gone" "$(far_names)" archive
for i in 1 2 3 4 5; do
	echo "draft $i" > "$D/archive/.tmp$i" && mv "$D/archive/.tmp$i" "$D/archive/paper.txt"
done
flushed "a file replaced five times over arrives"
is "as the last one" "$(far_get archive/paper.txt)" 'draft 5'
is "and nothing is left beside it" "$(far_names "$(far_id archive)")" paper.txt
ln -s archive/paper.txt "$D/link"
echo dated > "$D/archive/dated" && touch -d '2020-02-02 02:02:02.5 UTC' "$D/archive/dated"
flushed "a symlink and a file with a time arrive"
is "the time to the millisecond" "$(far_field archive/dated modifiedTime)" 2020-02-02T02:02:02.500Z
check "a name with a full-width slash is made" touch "$D/archive/a／b"
flushed "it arrives"
like "as one with a slash" "$(far_names "$(far_id archive)")" '^a/b$'

# --- what only Drive has ---

a=$(far_id archive)
first=$(far_make same.txt first "$a")
second=$(far_make same.txt second "$a")
third=$(far_make ".." dots "$a")
shows "files of one name all show" test -e "$D/archive/same (${second:0:8}).txt" -o -e "$D/archive/same ($second).txt"
twin=$(cd "$D/archive" && ls same\ \(*)
is "the oldest keeps the name" "$(cat "$D/archive/same.txt")" first
is "the other one has its own bytes" "$(cat "$D/archive/$twin")" second
shows "a file called .. shows" test -e "$D/archive/．．"
is "with its bytes" "$(cat "$D/archive/．．")" dots
echo changed > "$D/archive/$twin"
flushed "an edit of the other one arrives"
is "in the right file" "$(far "$raw/files/$second?alt=media")" changed
is "and not in the first" "$(far "$raw/files/$first?alt=media")" first
check "it takes a name of its own" mv "$D/archive/$twin" "$D/archive/other.txt"
flushed "that arrives"
is "as just this name" "$(far "$raw/files/$second?fields=name" | json "d['name']")" other.txt

doc=$(seed "doc?name=Minutes&parent=$a&type=document&text=the+words")
seed "doc?name=Poll&parent=$a&type=form" > /dev/null
shows "a document shows as what it is exported to" test -e "$D/archive/Minutes.docx"
run cat "$D/archive/Minutes.docx"
is "it can be read at once" "$rc" 0
if [ ${#out} -gt 0 ]; then pass "and there is something in it"; else fail "and there is something in it" "$err"; fi
is "its size is known then" "$(stat -c %s "$D/archive/Minutes.docx")" "$(wc -c < "$D/archive/Minutes.docx")"
check "it can be copied" cp "$D/archive/Minutes.docx" "$T/copy.docx"
check "whole" cmp "$D/archive/Minutes.docx" "$T/copy.docx"
refuse "not written to" ! 'ermission denied' bash -c "echo x > '$D/archive/Minutes.docx'"
refuse "a form is not shown" ! 'No such file' stat "$D/archive/Poll"
seed "edit?id=$doc&text=other+and+more+words" > /dev/null
new_words() { ! cmp -s "$D/archive/Minutes.docx" "$T/copy.docx"; }
shows "a change of the document shows" new_words

far -o /dev/null -X POST -H 'Content-Type: application/json' \
    -d "{\"name\":\"short\",\"mimeType\":\"application/vnd.google-apps.shortcut\",\"shortcutDetails\":{\"targetId\":\"$first\"},\"parents\":[\"$ROOT\"]}" "$raw/files"
far -o /dev/null -X POST -H 'Content-Type: application/json' \
    -d "{\"name\":\"round\",\"mimeType\":\"application/vnd.google-apps.shortcut\",\"shortcutDetails\":{\"targetId\":\"$ROOT\"},\"parents\":[\"$a\"]}" "$raw/files"
shows "a shortcut shows" test -e "$D/short"
is "what it points to" "$(cat "$D/short")" first
echo through > "$D/short"
flushed "a write through it arrives"
is "in what it points to" "$(far "$raw/files/$first?alt=media")" through
check "it is removed" rm "$D/short"
flushed "that arrives"
is "and what it pointed to stays" "$(far "$raw/files/$first?alt=media")" through
refuse "a shortcut to a folder it is in is not followed" ! 'No such file' stat "$D/archive/round"

# --- many small files, a large one ---

works "200 files are written at once" bash -c "mkdir '$D/many' && seq 200 | xargs -P 16 -I{} sh -c 'echo {} > $D/many/f{}'"
flushed "they arrive"
is "all of them" "$(far_names "$(far_id many)" | wc -l)" 200
is "with their bytes" "$(far_get many/f121)" 121
head -c 300000000 /dev/urandom > "$T/large"
sum=$(sha256sum < "$T/large")
check "300 MB are written" cp "$T/large" "$D/archive/large"
flushed "they arrive"
is "unchanged" "$(far_get archive/large | sha256sum)" "$sum"
check "a copy inside is made" cp --reflink=auto "$D/archive/large" "$D/archive/large2"
flushed "it arrives"
is "unchanged, too" "$(far_get archive/large2 | sha256sum)" "$sum"

faults 'bandwidth=20000000'
chunks=$(count upload.chunk)
cp "$T/large" "$D/archive/interrupted"
some_arrived() { [ $(($(count upload.chunk) - chunks)) -ge 6 ]; }
if wait_for 60 some_arrived; then pass "an upload is under way"; else fail "an upload is under way"; fi
check "the mount ends in the middle of it" "$WEIR" umount --now "$MNT"
faults 'bandwidth=0&chunk_partial_next=2'
start_mount
flushed "the next mount sends the rest, also what a server kept by half"
is "and it is whole" "$(far_get archive/interrupted | sha256sum)" "$sum"
all=$(($(count upload.chunk) - chunks))
# 18 parts, what was in the air once more, questions, two halves
if [ "$all" -le 26 ]; then pass "without what had arrived"; else fail "without what had arrived" "chunks: $all"; fi

# --- others ---

theirs=$(far_make theirs.txt "from elsewhere" "$(far_id archive)")
shows "a file made elsewhere shows" test -e "$D/archive/theirs.txt"
is "with its bytes" "$(cat "$D/archive/theirs.txt")" "from elsewhere"
seed "edit?id=$theirs&text=again,+and+longer" > /dev/null
shows "a change made elsewhere shows" grep -q again "$D/archive/theirs.txt"
far_patch "$theirs" '{"name":"moved.txt"}'
shows "so does a rename" test -e "$D/archive/moved.txt" -a ! -e "$D/archive/theirs.txt"
far_patch "$theirs" '{"trashed":true}'
shows "and a removal" test ! -e "$D/archive/moved.txt"

# An edit elsewhere after the look and before our own arrives: Drive takes ours over it without a word.
echo base > "$D/archive/both.txt"
flushed "a file for both sides arrives"
both=$(far_field archive/both.txt id)
faults 'fault_op=upload.update.multipart&stall_next=1&stall_ms=4000'
before=$(far "$api/_emu/stats" | json "d['faults'].get('stall', 0)")
echo ours > "$D/archive/both.txt"
stalled() { [ "$(far "$api/_emu/stats" | json "d['faults'].get('stall', 0)")" != "$before" ]; }
if wait_for 20 stalled; then pass "an upload is held up"; else fail "an upload is held up" "$(far "$api/_emu/stats")"; fi
seed "edit?id=$both&text=theirs" > /dev/null
flushed "everything arrives"
faults 'fault_op=&stall_ms=0'
kept() { [ "$(cat "$D"/archive/both*.txt | sort | tr '\n' ' ')" = "ours theirs " ] || [ "$(cat "$D"/archive/both*.txt | sed 's/theirs/theirs\n/' | sort | tr -d '\n')" = ourstheirs ]; }
if wait_for 20 kept; then pass "both versions are there"; else fail "both versions are there" "$(head -50 "$D"/archive/both*)"; fi
is "theirs under the name" "$(far "$raw/files/$both?alt=media")" theirs
rm -f "$D"/archive/both*
flushed "both go"

# --- a new file arrives, its answer is lost, and somebody is at it before we ask again ---

lost_count() { far "$api/_emu/stats" | json "d['faults'].get('lost', 0)"; }
lose_create() {	# NAME [COMMAND…]: it is there, weir does not know it, and its next question is held up; sets made
	local before
	before=$(lost_count)
	faults "name_lag_ms=600000&after_success_stall=1&fault_op=$([ $# -gt 1 ] && echo files.create || echo upload.create.multipart)&after_success_next=1"
	if [ $# -gt 1 ]; then "${@:2}"; else echo "ours, $1" > "$D/archive/$1"; fi
	lost_one() { [ "$(lost_count)" != "$before" ]; }
	wait_for 60 lost_one || bail "no answer was lost" "$(far "$api/_emu/stats")"
	made=$(far_field "archive/$1" id)
}
go_on() { faults 'stall_all=0&after_success_stall=0&fault_op='; flushed "$1"; faults 'name_lag_ms=0'; }
contents() { cat "$D"/archive/$1* | sort | tr '\n' '/'; }
arrived_as() { [ "$(contents "$1")" = "$2" ]; }

lose_create lost1
echo "ours, newer" > "$D/archive/lost1"
go_on "lost: a newer version arrives"
is "lost: it is the same file" "$(far "$raw/files/$made?alt=media")" "ours, newer"
is "lost: and the only one" "$(contents lost1)" "ours, newer/"

lose_create lost2
seed "edit?id=$made&text=theirs%0A" > /dev/null
go_on "lost and edited: all arrives"
is "lost and edited: theirs stays" "$(far "$raw/files/$made?alt=media")" theirs
shows "lost and edited: both versions are there" arrived_as lost2 "ours, lost2/theirs/"

lose_create lost3
far_patch "$made" '{"name":"lost3, taken"}'
go_on "lost and renamed: all arrives"
is "lost and renamed: it keeps their name" "$(far_field "archive/lost3, taken" id)" "$made"
shows "lost and renamed: both are there" arrived_as lost3 "ours, lost3/ours, lost3/"
is "lost and renamed: ours has its name" "$(far_get archive/lost3)" "ours, lost3"

lose_create lost4
far_patch "$made" '{"trashed":true}'
go_on "lost and removed: all arrives"
is "lost and removed: ours is there" "$(far_get archive/lost4)" "ours, lost4"

lose_create lost5 mkdir "$D/archive/lost5"
far_patch "$made" '{"name":"lost5, taken"}'
echo in it > "$D/archive/lost5/file"
go_on "lost, a folder, and renamed: all arrives"
is "lost, a folder: it keeps their name" "$(far_field "archive/lost5, taken" id)" "$made"
is "lost, a folder: ours has its name, and its file" "$(far_get archive/lost5/file)" "in it"
rm -rf "$D"/archive/lost*
flushed "all of these go"

# --- a server on a bad day ---

faults 'name_lag_ms=1000&list_lag_ms=1000&after_success_rate=0.05&error_rate=0.02&truncate_rate=0.02&throttle_rate=0.01&oauth_expire_every=50'
works "60 files are written, renamed and half of them removed meanwhile" bash -c "
	mkdir '$D/bad' && cd '$D/bad' &&
	for i in \$(seq 60); do echo \$i > n\$i; done && for i in \$(seq 60); do mv n\$i m\$i; done && for i in \$(seq 30); do rm m\$i; done"
flushed "all of it arrives"
faults 'name_lag_ms=0&list_lag_ms=0&after_success_rate=0&error_rate=0&truncate_rate=0&throttle_rate=0&oauth_expire_every=0'
left() { [ "$(far_names "$(far_id bad)")" = "$(seq 31 60 | sed 's/^/m/' | sort)" ]; }
shows "just what is left, each once" left	# listings lag
is "with its bytes" "$(far_get bad/m47)" 47
is "without conflict copies" "$(find "$D" -name '*conflict*' | wc -l)" 0

# --- once more, from nothing ---

unmounted "it is unmounted"
fresh_cache
start_mount
is "a new cache shows the same names" "$(ls "$D")" "$(printf 'archive\nbad\nlink\nmany')"
is "and bytes" "$(sha256sum < "$D/archive/large")" "$sum"
is "and time" "$(stat -c %Y "$D/archive/dated")" 1580608922
is "and what the bad day left" "$(cat "$D"/bad/* | sort -n)" "$(seq 31 60)"
is "and the symlink" "$(readlink "$D/link")" archive/paper.txt
is "and every small file" "$(cat "$D"/many/* | sort -n | sha256sum)" "$(seq 200 | sha256sum)"
unmounted "it is unmounted again"
done_testing
