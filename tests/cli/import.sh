#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# weir import rclone: an rclone.conf that rclone itself has made becomes a weir.conf that works; odd ones are read as rclone reads them;
# what is there stays; what cannot be carried is named.
# weir-test: timeout=120
. "$(dirname "$0")/../lib.sh"
command -v rclone > /dev/null || skip_all "rclone is not installed"
export RCLONE_CONFIG=$T/rclone.conf
made() { rclone config create "$@" > /dev/null 2>&1 || bail "rclone config create $1 failed"; }
imported() { run "$WEIR" import rclone "$@"; }
section() { sed -n "/^\[remote $1\]/,/^\$/p" "$CONF" | grep -v '^\[\|^$' | tr '\n' ';'; }	# NAME

# --- a live server, if there is one ---
server=$T/apache
chmod 755 "$T"
if timeout 30 "$WEIR_SRCDIR/tests/servers/apache-dav.sh" start "$server" > "$T/apache.out" 2>&1; then
	cleanup() { timeout 20 "$WEIR_SRCDIR/tests/servers/apache-dav.sh" stop "$server"; }
	url=$(sed -n 's/^url=//p' "$server/env")
else
	url=
fi
made live webdav url "${url:-http://127.0.0.1:9/dav}" vendor other user anna pass sesam --obscure
made secret crypt remote live:enc password "hidden word" --obscure
made scratch alias remote "$T/scratch"
mkdir "$T/scratch"

imported -c "$CONF"
is "it succeeds" "$rc $err" "0 "
like "the live one is of weir's own type" "$out" "^live: type webdav"
like "crypt goes through rclone, and why" "$out" "^secret: type rclone \(weir has no type 'crypt'"
like "an alias is a line" "$out" "^/scratch = scratch"
unlike "no password is printed" "$out" "sesam|hidden"
unlike "none stands in weir.conf" "$(cat "$CONF")" "sesam|hidden"
is "weir.conf is for its owner" "$(stat -c %a "$CONF")" 600
is "the password is revealed, beside it" "$(cat "$T/live.password")" sesam
is "and for its owner" "$(stat -c %a "$T/live.password")" 600
is "what stands there of it" "$(section live)" "type = webdav;url = ${url:-http://127.0.0.1:9/dav};user = anna;password_file = $T/live.password;"
if [ -n "$url" ]; then
	check "every remote answers" "$WEIR" check -c "$CONF"
	sed -i "1i [weir]\ncache_dir = $T/cache\n" "$CONF"
	start_mount
	check "a file goes to the server" bash -c "echo hello > '$MNT/live/x' && echo dark > '$MNT/secret/y' && echo here > '$MNT/scratch/z'"
	stop_mount
	is "as rclone sees it" "$(rclone cat live:x) $(rclone cat secret:y) $(cat "$T/scratch/z")" "hello dark here"
else
	skip "every remote answers" "Apache does not start: $(tail -n 1 "$T/apache.out")"
fi

# --- again: nothing is overwritten ---
cp "$CONF" "$T/before"
imported -c "$CONF"
is "a second time there is nothing to do" "$rc" 1
like "and it says of each why" "$out" "not imported: live: weir.conf has a \[remote live\] already"
check "weir.conf is as it was" cmp "$CONF" "$T/before"

# --- everything else, by hand and odd ---
p=$(rclone obscure 'geheim ü#;" x')
cat > "$T/odd.conf" << C
# a comment
; another

[nc]
type = webdav
url = https://cloud.example.org/remote.php/dav/files/anna/My%20Stuff/
vendor = nextcloud
user = anna
pass = $p
[NAME with space]
type=webdav
url : https://dav.example.org/a=b
bearer_token = \`tok#1\`
[s3]
type = s3
provider = Ceph
access_key_id = AK
secret_access_key = S+K/=
endpoint = rgw.example.org
region = """eu"""
[mine]
type = drive
client_id = id.apps
client_secret = cs
scope = drive.readonly
root_folder_id = 0Abc
token = {"access_token":"ya29.x","token_type":"Bearer","refresh_token":"1//r","expiry":"2026-01-02T03:04:05.678+01:00"}
[theirs]
type = drive
token = {"access_token":"ya29.x","token_type":"Bearer","refresh_token":"1//r","expiry":"2026-01-02T03:04:05.678+01:00"}
[box]
type = dropbox
client_id = key
token = {"access_token":"sl.x","token_type":"bearer","refresh_token":"rr","expiry":"2026-01-02T03:04:05.678+01:00"}
[headers]
type = webdav
url = https://h.example.org
headers = X-A,b
[bad]
type = webdav
url = https://h.example.org
user = u
pass = not-obscured!
[bucket]
type = alias
remote = s3:data/set one
[again]
type = alias
remote = bucket:deeper
[both]
type = combine
upstreams = one=nc:x "two=NAME with space:y z"
[all]
type = union
upstreams = nc:u s3:other/u
create_policy = mfs
[marked]
type = union
upstreams = nc:u s3:other:ro
[round]
type = alias
remote = round:
[nothing]
[cash\$HOME]
type = sftp
host = h
C
CONF=$T/odd/weir.conf
imported -n -c "$CONF" "$T/odd.conf"
is "a dry run succeeds" "$rc $err" "0 "
if [ -e "$T/odd" ]; then fail "and writes nothing"; else pass "and writes nothing"; fi
unlike "nor does it print secrets" "$out" "geheim|tok#1|S\+K|ya29|sl\.x"
imported -c "$CONF" "$T/odd.conf"
is "the odd one is imported" "$rc $err" "0 "
is "Nextcloud: server, folder, user" "$(section nc)" "type = nextcloud;url = https://cloud.example.org;folder = My Stuff;user = anna;password_file = $T/odd/nc.password;"
is "its password, all of it" "$(cat "$T/odd/nc.password")" 'geheim ü#;" x'
is "a name that weir does not take" "$(section NAME-with-space)" \
    "type = webdav;url = https://dav.example.org/a=b;bearer_token_file = $T/odd/NAME-with-space.bearer_token;"
is "a token in quotes" "$(cat "$T/odd/NAME-with-space.bearer_token")" "tok#1"
is "S3 by the bucket an alias names" "$(section s3-data)" \
    "type = s3;bucket = data;endpoint = https://rgw.example.org;region = eu;access_key = AK;secret_key_file = $T/odd/s3-data.secret_key;"
like "an alias into a bucket" "$(cat "$CONF")" "^/bucket = s3-data:set one$"
like "what would show the same files twice is named" "$out" "^not imported: /again = s3-data:set one/deeper: .*twice"
like "combine" "$(cat "$CONF")" "^/both/one = nc:x$"
like "combine with quotes" "$(cat "$CONF")" "^/both/two = NAME-with-space:y z$"
like "union" "$(cat "$CONF")" "^/all = pool\(nc:u, s3-other:u; policy=most-free\)$"
like "a union that pools cannot be" "$out" "^marked: type rclone \('s3:other:ro' has no counterpart"
if grep -q '^mine: type drive' <<< "$out"; then
	is "Drive with an app of one's own" "$(section mine)" "type = drive;client_id = id.apps;client_secret_file = $T/odd/mine.client_secret;token_file = $T/odd/mine.token;scope = drive.readonly;root_folder_id = 0Abc;"
	is "its token is for its owner" "$(stat -c %a "$T/odd/mine.token")" 600
	like "and holds the sign-in" "$(cat "$T/odd/mine.token")" "1//r"
	is "Dropbox likewise" "$(section box)" "type = dropbox;client_id = key;token_file = $T/odd/box.token;"
else
	fail "Drive with an app of one's own" "$out"
fi
like "a sign-in of rclone's own app stays with rclone" "$out" "^theirs: type rclone \(its sign-in belongs to rclone's own app"
like "a key without counterpart is named" "$out" "^headers: type rclone \('headers' has no counterpart"
like "a password that is none is named" "$out" "^bad: type rclone \(its 'pass': it is not a password as rclone obscures it"
is "what goes through rclone" "$(section theirs)" "type = rclone;remote = theirs:;config = $T/odd.conf;"
like "a circle is named" "$out" "not imported: round: .*circle"
like "a section without type too" "$out" "not imported: nothing: it has no type"
like "what weir.conf cannot say is refused by name" "$out" "not imported: cash\\\$HOME: its 'remote' cannot be written"

# --- into one that is there ---
mkdir "$T/have"
CONF=$T/have/weir.conf
printf '# mine\n[remote nc]\ntype = local\npath = /tmp\n\n[namespace]\n/n = nc\n\n# tail' > "$CONF"
chmod 600 "$CONF"
printf '[nc]\ntype = webdav\nurl = https://x.example.org\n[new]\ntype = webdav\nurl = https://y.example.org\n' > "$T/few.conf"
imported -c "$CONF" "$T/few.conf"
is "what is there stays, the new one joins its namespace" "$(cat "$CONF")" "$(printf '# mine\n[remote nc]\ntype = local\npath = /tmp\n\n[namespace]\n/n = nc\n\n# tail\n/new = new\n\n# from %s\n\n[remote new]\ntype = webdav\nurl = https://y.example.org\n' "$T/few.conf")"
imported -c "$CONF" -b few "$T/nosuch.conf"
like "a file that is not there is named" "$rc $err" "^1 weir: '.*nosuch.conf': No such file"

# --- encrypted ---
printf '# Encrypted rclone configuration File\n\nRCLONE_ENCRYPT_V0:\nAAAA\n' > "$T/enc.conf"
refuse "an encrypted one is refused with the way out" 3 "is encrypted: run 'rclone config show" "$WEIR" import rclone -c "$CONF" "$T/enc.conf"
refuse "something else is refused" 3 "enc2.conf:1: this is no rclone.conf" bash -c "echo hello > '$T/enc2.conf'; '$WEIR' import rclone -c '$CONF' '$T/enc2.conf'"
refuse "another program is not known" 2 "there is: rclone" "$WEIR" import s3fs
done_testing
