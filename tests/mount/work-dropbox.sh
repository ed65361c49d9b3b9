#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Everyday work on a Dropbox: names whose case alone changes, replaced and large files, many small ones at once, changes by others as they happen,
# and the same through a server that contends, forgets and loses answers. The far side is looked at without weir.
# weir-test: timeout=600 beside=yes
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/remotes.sh"

# A server of our own: its faults strike everybody, and its requests are counted.
start_emu dropemu --client-id the-key --client-secret the-secret --refresh-token seeded || skip_all "dropemu was not built"
api=$url
export WEIR_TEST_DROPEMU=$api WEIR_TEST_DROPEMU_CLIENT_ID=the-key WEIR_TEST_DROPEMU_CLIENT_SECRET=the-secret WEIR_TEST_DROPEMU_REFRESH_TOKEN=seeded

# far ROUTE JSON: the API without token, faults or counting
far_call() { curl -sS -m 60 -X POST -H 'Content-Type: application/json' -d "$2" "$api/_emu/raw/2/$1"; }
far_get() { curl -sS -m 120 -X POST -H "Dropbox-API-Arg: {\"path\":\"/$OWN/$1\"}" "$api/_emu/raw/2/files/download"; }
far_write() {	# PATH TEXT
	curl -sS -m 60 -o /dev/null -X POST -H "Dropbox-API-Arg: {\"path\":\"/$OWN/$1\",\"mode\":\"overwrite\"}" \
	    -H 'Content-Type: application/octet-stream' --data-binary "$2" "$api/_emu/raw/2/files/upload"
}
far_list() {	# [FOLDER]: names, sorted
	far_call files/list_folder "{\"path\":\"/$OWN${1:+/$1}\",\"limit\":2000}" |
	    python3 -c 'import json,sys; print("\n".join(sorted(e["name"] for e in json.load(sys.stdin).get("entries", []))))'
}
far_field() { far_call files/get_metadata "{\"path\":\"/$OWN/$1\"}" | python3 -c "import json,sys; print(json.load(sys.stdin).get('$2'))"; }	# PATH FIELD
faults() { curl -sS -m 10 -o /dev/null -X POST "$api/_emu/set?$1"; }
count() { curl -sS -m 10 "$api/_emu/stats" | python3 -c "import json,sys; print(json.load(sys.stdin)['ops'].get('$1', 0))"; }
FLUSH_LIMIT=180

far_call files/create_folder_v2 "{\"path\":\"/$OWN\"}" > /dev/null
WEIR_LINES='cache_size = 2GiB'
conf_remotes dropbox
start_mount
D=$MNT/dropbox

# --- names ---

check "a folder is made" mkdir "$D/docs"
echo one > "$D/docs/report.txt"
flushed "a new file arrives"
is "with its bytes" "$(far_get docs/report.txt)" one
id=$(far_field docs/report.txt id)
echo two >> "$D/docs/report.txt"
flushed "an edited file arrives"
is "with the new bytes" "$(far_get docs/report.txt)" "$(printf 'one\ntwo')"
is "as a new revision of the same file" "$(far_field docs/report.txt id)" "$id"
check "it is renamed" mv "$D/docs/report.txt" "$D/docs/paper.txt"
flushed "the rename arrives"
is "and it is the same file" "$(far_field docs/paper.txt id)" "$id"
check "upper case is a name of its own" mv "$D/docs/paper.txt" "$D/docs/Paper.TXT"
flushed "a change of case alone arrives"
is "under just this name" "$(far_list docs)" Paper.TXT
is "here as well" "$(ls "$D/docs")" Paper.TXT
is "and it is still the same file" "$(far_field docs/Paper.TXT id)" "$id"
refuse "a name beside it that differs only by case is refused" ! 'File exists' touch "$D/docs/PAPER.txt"
refuse "also for a folder" ! 'File exists' mkdir "$D/docs/paper.txt"
check "a file that Dropbox never keeps can be made here" touch "$D/docs/desktop.ini"
refuse "and is told of" 5 "keeps no file of the name 'desktop.ini'" "$WEIR" flush "$MNT"
rm "$D/docs/desktop.ini"
flushed "nothing waits after that"
is "the file has its place" "$(far_get docs/Paper.TXT)" "$(printf 'one\ntwo')"
check "a folder is renamed with all in it" mv "$D/docs" "$D/archive"
flushed "that arrives"
is "with the file" "$(far_get archive/Paper.TXT)" "$(printf 'one\ntwo')"
check "an empty folder is made" mkdir "$D/empty"
flushed "it arrives"
check "and removed" rmdir "$D/empty"
refuse "a folder with something in it stays" ! 'not empty' rmdir "$D/archive"
flushed "the removal arrives"
unlike "the empty folder is gone" "$(far_list)" '^empty$'

# --- replacing, as editors do ---

for i in 1 2 3 4 5; do
	echo "draft $i" > "$D/archive/.tmp$i" && mv "$D/archive/.tmp$i" "$D/archive/Paper.TXT"
done
flushed "a file replaced five times over arrives"
is "as the last one" "$(far_get archive/Paper.TXT)" 'draft 5'
is "with the identity of the first" "$(far_field archive/Paper.TXT id)" "$id"
unlike "and nothing is left beside it" "$(far_list archive)" 'tmp|weir-'
touch -d '2020-02-02 02:02:02.5 UTC' "$D/archive/dated" 2> /dev/null
echo dated > "$D/archive/dated" && touch -d '2020-02-02 02:02:02.5 UTC' "$D/archive/dated"
flushed "a file with a time arrives"
is "with that time in whole seconds" "$(far_field archive/dated client_modified)" 2020-02-02T02:02:02Z

# --- many small files at once ---

finishes=$(count files/upload_session/finish_batch_v2)
works "500 files are written at once" bash -c "mkdir '$D/many' && seq 500 | xargs -P 16 -I{} sh -c 'echo {} > $D/many/f{}'"
flushed "they arrive"
is "all of them" "$(far_list many | wc -l)" 500
is "with their bytes" "$(far_get many/f321)" 321
finishes=$(($(count files/upload_session/finish_batch_v2) - finishes))
if [ "$finishes" -gt 0 ] && [ "$finishes" -lt 250 ]; then pass "in commits of many"; else fail "in commits of many" "finish_batch_v2: $finishes"; fi

# --- a large one ---

head -c 300000000 /dev/urandom > "$T/large"
sum=$(sha256sum < "$T/large")
check "300 MB are written" cp "$T/large" "$D/archive/large"
flushed "they arrive"
is "unchanged" "$(far_get archive/large | sha256sum)" "$sum"

# A part is 16 MiB; a session cannot be asked which ones it holds.
faults 'bandwidth=6000000'
appends=$(count files/upload_session/append_v2)
cp "$T/large" "$D/archive/interrupted"
some_arrived() { [ $(($(count files/upload_session/append_v2) - appends)) -ge 10 ]; }
if wait_for 60 some_arrived; then pass "an upload is under way"; else fail "an upload is under way"; fi
check "the mount ends in the middle of it" "$WEIR" umount --now "$MNT"
before=$(($(count files/upload_session/append_v2) - appends))
faults 'bandwidth=0'
start_mount
flushed "the next mount sends the rest"
is "and it is whole" "$(far_get archive/interrupted | sha256sum)" "$sum"
all=$(($(count files/upload_session/append_v2) - appends))
# 18 parts, what was in the air once more, and one look at the session
if [ "$all" -le 28 ]; then pass "without what had arrived"; else fail "without what had arrived" "appends: $before before, $all in all"; fi

# --- others ---

far_write archive/theirs.txt "from elsewhere"
if wait_for 15 test -e "$D/archive/theirs.txt"; then pass "a file made elsewhere shows"; else fail "a file made elsewhere shows"; fi
is "with its bytes" "$(cat "$D/archive/theirs.txt")" "from elsewhere"
far_write archive/theirs.txt "again, and longer"
if wait_for 15 grep -q again "$D/archive/theirs.txt"; then pass "a change made elsewhere shows"; else fail "a change made elsewhere shows"; fi
far_call files/move_v2 "{\"from_path\":\"/$OWN/archive/theirs.txt\",\"to_path\":\"/$OWN/archive/moved.txt\"}" > /dev/null
if wait_for 15 test -e "$D/archive/moved.txt" && wait_for 15 test ! -e "$D/archive/theirs.txt"; then pass "so does a rename"; else fail "so does a rename"; fi
far_call files/delete_v2 "{\"path\":\"/$OWN/archive/moved.txt\"}" > /dev/null
if wait_for 15 test ! -e "$D/archive/moved.txt"; then pass "and a removal"; else fail "and a removal"; fi

faults 'cursor_reset_next=1'
far_write archive/after-reset.txt 1
if wait_for 20 test -e "$D/archive/after-reset.txt"; then pass "a change shows although the feed has lost its place"; else fail "a change shows although the feed has lost its place"; fi
faults 'longpoll_backoff_s=2&oauth_expire_next=3'
far_write archive/after-backoff.txt 1
if wait_for 20 test -e "$D/archive/after-backoff.txt"; then pass "and although it asks for patience and the token dies"; else fail "and although it asks for patience and the token dies"; fi
faults 'longpoll_backoff_s=0'

# --- a server on a bad day ---

faults 'write_contention_rate=0.05&after_success_rate=0.05&error_rate=0.03&truncate_rate=0.02&move_new_rev=1&wrong_case_parents=1&empty_pages=1'
works "100 files are written, renamed and half of them removed meanwhile" bash -c "
	mkdir '$D/bad' && cd '$D/bad' &&
	for i in \$(seq 100); do echo \$i > n\$i; done && for i in \$(seq 100); do mv n\$i m\$i; done && for i in \$(seq 50); do rm m\$i; done"
flushed "all of it arrives"
faults 'write_contention_rate=0&after_success_rate=0&error_rate=0&truncate_rate=0&empty_pages=0'
is "just what is left" "$(far_list bad)" "$(seq 51 100 | sed 's/^/m/' | sort)"
is "with its bytes" "$(far_get bad/m77)" 77
is "without conflict copies" "$(find "$D" -name '*conflict*' | wc -l)" 0

# --- once more, from nothing ---

unmounted "it is unmounted"
fresh_cache
start_mount
is "a new cache shows the same names" "$(ls "$D")" "$(printf 'archive\nbad\nmany')"
is "and bytes" "$(sha256sum < "$D/archive/large")" "$sum"
is "and time" "$(stat -c %Y "$D/archive/dated")" 1580608922
is "and every small file" "$(cat "$D"/many/* | sort -n | sha256sum)" "$(seq 500 | sha256sum)"
unmounted "it is unmounted again"
done_testing
