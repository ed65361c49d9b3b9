#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# login, logout and init: each way to sign in from end to end, with curl as the browser; what is pasted, carried to another machine, revoked, refused.
# weir-test: timeout=180 asan=yes
. "$(dirname "$0")/../lib.sh"
unset DISPLAY WAYLAND_DISPLAY

# Emulators of our own: revoking is not for shared ones.
emu_set() { curl -sSf -o /dev/null -X POST "$1/_emu/set?$2" || bail "emulator: $2"; }

start_emu driveemu --client-id drive-id --client-secret drive-secret --refresh-token seeded-refresh || skip_all "driveemu was not built"
drive=$url
start_emu dropemu --client-id drop-id --client-secret drop-secret --refresh-token seeded-refresh || skip_all "dropemu was not built"
drop=$url
start_emu ncemu --user alice --password real-password || skip_all "ncemu was not built"
nc=$url

mkdir -p "$T/c"
CONF=$T/c/weir.conf
cat > "$CONF" << C
[weir]
cache_dir = $T/cache
[remote gd]
type = drive
client_id = drive-id
client_secret = drive-secret
api_url = $drive/drive/v3
upload_url = $drive/upload/drive/v3
auth_url = $drive/o/oauth2/v2/auth
token_url = $drive/token
revoke_url = $drive/revoke
[remote db]
type = dropbox
client_id = drop-id
token_file = $T/own/db.json
api_url = $drop
content_url = $drop
notify_url = $drop
auth_url = $drop/oauth2/authorize
[remote cloud]
type = nextcloud
url = $nc
user = alice
password_file = $T/c/cloud.pass
[remote bucket]
type = s3
endpoint = http://127.0.0.1:9
bucket = b
[remote here]
type = local
path = $T/here
C
mkdir -p "$T/here"
chmod 600 "$CONF"
probe_line() { "$WEIR" check -c "$CONF" 2> /dev/null | sed -n "s/^remote '$1': //p"; }

# login_start NAME ARGS…: weir login in the background; its pipe is fd 7; sets $address when it shows one
login_start() {
	rm -f "$T/in" "$T/login.err" "$T/login.out"
	mkfifo "$T/in"
	timeout 60 "$WEIR" login -c "$CONF" "$@" < "$T/in" > "$T/login.out" 2> "$T/login.err" &
	login_pid=$!
	exec 7> "$T/in"
	wait_for 20 grep -q '^  http' "$T/login.err" || { cat "$T/login.err"; bail "no address was shown" "$(cat "$T/login.err")"; }
	address=$(sed -n 's/^  \(http.*\)/\1/p' "$T/login.err")
}
login_end() { exec 7>&-; wait "$login_pid"; rc=$?; err=$(cat "$T/login.err") out=$(cat "$T/login.out"); }

# --- before anybody signed in ------------------------------------------------------------------------------------------
like "not signed in: says what to do" "$(probe_line gd)" "nobody has signed in.*sign in again with 'weir login gd'"
refuse "an unknown remote" 3 "there is no remote 'nope'" "$WEIR" login -c "$CONF" nope
refuse "nothing to sign in to" 3 "nobody signs in to it" "$WEIR" login -c "$CONF" here
refuse "--export and --import together" 2 "do not go together" "$WEIR" login -c "$CONF" --export --import gd
refuse "a logout without a login" 1 "nobody has signed in" "$WEIR" logout -c "$CONF" gd

# --- loopback ----------------------------------------------------------------------------------------------------------
login_start gd
like "PKCE, S256" "$address" "code_challenge=[A-Za-z0-9_-]{43}&code_challenge_method=S256"
like "offline access" "$address" "access_type=offline&prompt=consent"
back=$(curl -sS -o /dev/null -w '%{redirect_url}' "$address")
like "the server sends the browser to the loopback address" "$back" '^http://127\.0\.0\.1:[0-9]+/?\?.*code='
base=$(sed 's,^\(http://[^/?]*\).*,\1,' <<< "$back")
is "a foreign state is refused" "$(curl -sS -o /dev/null -w '%{http_code}' "$base/?code=stolen&state=wrong")" 400
is "the icon that browsers want is not there" "$(curl -sS -o /dev/null -w '%{http_code}' "$base/favicon.ico")" 404
like "the page says that it may be closed" "$(curl -sS "$back")" "You may close this page"
login_end
is "signed in" "$rc" 0
like "and says so" "$err" "signed in to 'gd'"
F=$T/c/tokens/gd.json
is "the tokens are for their owner alone" "$(stat -c %a "$F") $(stat -c %a "$T/c/tokens")" "600 700"
is "check is content" "$(probe_line gd)" OK
check "to sign out" "$WEIR" logout -c "$CONF" gd
is "the tokens are gone" "$(ls "$T/c/tokens" | grep -v lock)" ""

# --- the person says no ------------------------------------------------------------------------------------------------
emu_set "$drive" oauth_deny=1
login_start gd
like "the page says it was refused" "$(curl -sS -L "$address")" refused
login_end
is "a refusal is a failure" "$rc" 1
like "in the server's own words" "$err" "the server says: access_denied"
emu_set "$drive" oauth_deny=0

# --- pasted ------------------------------------------------------------------------------------------------------------
login_start --paste gd
curl -sS -o /dev/null -w '%{redirect_url}\n' "$address" >&7
login_end
is "the address of the page that did not load, pasted" "$rc" 0
is "lets us in" "$(probe_line gd)" OK
login_start gd
echo "http://127.0.0.1:1/?code=x&state=of-somebody-else" >&7
login_end
is "a pasted address of another sign-in is refused" "$rc" 1
like "with its sentence" "$err" "belongs to another sign-in"
login_start gd
echo "made-up-code" >&7
login_end
is "a code that is none is refused" "$rc" 1
like "by the server" "$err" "remote 'gd': invalid_grant"
is "and the old sign-in still holds" "$(probe_line gd)" OK
login_start db
unlike "Dropbox shows the code itself: no redirect" "$address" redirect_uri
curl -sS "$address" >&7
login_end
is "the code that the page shows, pasted" "$rc" 0
is "lets us in there" "$(probe_line db)" OK
is "token_file is where the configuration says" "$(stat -c %a "$T/own/db.json")" 600

# --- to another machine -----------------------------------------------------------------------------------------------
check "export" "$WEIR" login -c "$CONF" --export gd
exported=$out
like "is JSON with a refresh token" "$(json "$exported" 'sorted(v)')" refresh_token
rm "$F"
if "$WEIR" login -c "$CONF" --import gd <<< "$exported" 2> "$T/e"; then pass "import"; else fail "import" "$(cat "$T/e")"; fi
is "lets us in" "$(probe_line gd)" OK
refresh=$(json "$exported" 'v["refresh_token"]')
rclone_token='{"access_token":"stale","token_type":"Bearer","refresh_token":"'$refresh'","expiry":"2020-01-02T03:04:05.678901234+01:00"}'
if "$WEIR" login -c "$CONF" --import gd <<< "$rclone_token" 2> "$T/e"; then pass "import of rclone's token"; else fail "import of rclone's" "$(cat "$T/e")"; fi
is "which is refreshed at once" "$(probe_line gd)" OK
before=$(cat "$F")
if "$WEIR" login -c "$CONF" --import gd <<< '{"nothing":1}' 2> "$T/e"; then fail "rubbish was imported"; else pass "rubbish is refused"; fi
like "with a sentence" "$(cat "$T/e")" "is no sign-in"
is "and changes nothing" "$(cat "$F")" "$before"

# --- expired, revoked, corrupted, away --------------------------------------------------------------------------------
emu_set "$drive" oauth_expire_next=1
is "an access token that has expired is renewed" "$(probe_line gd)" OK
chmod 644 "$F"
like "a file that others may read is refused" "$(probe_line gd)" "others may read"
chmod 600 "$F"
cp "$F" "$T/good"
echo '{"access_tok' > "$F"
like "a corrupted file has its sentence" "$(probe_line gd)" "holds no tokens.*weir login gd"
cp "$T/good" "$F"
emu_set "$drive" "oauth_expire_next=1&oauth_token_error_next=1"
is "an authorization server that is away for a moment loses nothing" "$(probe_line gd)" OK
emu_set "$drive" "oauth_revoke=1&oauth_expire_next=1"
like "revoked: says so, and what to do" "$(probe_line gd)" "revoked or has expired \(invalid_grant.*sign in again with 'weir login gd'"
emu_set "$drive" oauth_revoke=0
is "no token is in a message" "$(grep -rFl "$refresh" "$T"/*.err "$T/e" 2> /dev/null)" ""

# --- Login Flow v2 -----------------------------------------------------------------------------------------------------
login_start cloud
is "the person allows it in the browser" "$(curl -sS -u alice:real-password -o /dev/null -w '%{http_code}' "$address")" 200
login_end
is "signed in by Login Flow v2" "$rc" 0
is "the app password is where the configuration says, for us alone" "$(stat -c %a "$T/c/cloud.pass")" 600
unlike "it is not the person's own" "$(cat "$T/c/cloud.pass")" real-password
is "it lets us in" "$(probe_line cloud)" OK
sed -i '/^password_file/d; /^user = alice/d' "$CONF"
login_start cloud
curl -sS -u alice:real-password -o /dev/null "$address"
login_end
like "without password_file: says which lines to add" "$err" "password_file = $T/c/secrets/cloud"
like "the name, too" "$err" "user = alice"
is "the file is there" "$(stat -c %a "$T/c/secrets/cloud")" 600

# --- keys --------------------------------------------------------------------------------------------------------------
if printf 'AKEY\nsecret with blank\n' | "$WEIR" login -c "$CONF" bucket > "$T/o" 2> "$T/e"; then pass "keys"; else fail "keys" "$(cat "$T/e")"; fi
is "the secret is in its file" "$(cat "$T/c/secrets/bucket")" "secret with blank"
like "the lines to add" "$(cat "$T/e")" "secret_key_file = $T/c/secrets/bucket"
like "with the key" "$(cat "$T/e")" "access_key = AKEY"
unlike "the secret is shown nowhere" "$(cat "$T/o" "$T/e")" "with blank"
check "logout removes it" "$WEIR" logout -c "$CONF" bucket
if [ -e "$T/c/secrets/bucket" ]; then fail "the secret is still there"; else pass "the secret is gone"; fi
refuse "no answer" 1 "access_key was not given" "$WEIR" login -c "$CONF" bucket

# --- another configuration in the same folder, with remotes of the same names ---------------------------------------------
cp -a "$T/c/tokens/gd.json" "$T/gd.before"
cp -a "$T/c/secrets/cloud" "$T/cloud.before"
cp "$CONF" "$T/c/work.conf"
like "another configuration beside it is not signed in by this one" "$("$WEIR" check -c "$T/c/work.conf" | grep "'gd'")" "nobody has signed in"
if "$WEIR" login -c "$T/c/work.conf" --import gd <<< '{"access_token":"of-work","refresh_token":"of-work","expiry":"2020-01-01T00:00:00Z"}' 2> "$T/e"; then
	pass "somebody signs in there"
else
	fail "somebody signs in there" "$(cat "$T/e")"
fi
is "its tokens have a place of their own" "$(stat -c %a "$T/c/tokens/work.conf:gd.json")" 600
if printf 'AKEY\nof work\n' | "$WEIR" login -c "$T/c/work.conf" bucket > "$T/o" 2> "$T/e"; then pass "keys, there"; else fail "keys, there" "$(cat "$T/e")"; fi
is "so has its secret" "$(cat "$T/c/secrets/work.conf:bucket")" "of work"
is "the first one's tokens are what they were" "$(cmp "$T/gd.before" "$T/c/tokens/gd.json" 2>&1)" ""
is "so is its secret" "$(cmp "$T/cloud.before" "$T/c/secrets/cloud" 2>&1)" ""
is "the first one is still let in" "$(probe_line gd)" OK

# --- init --------------------------------------------------------------------------------------------------------------
N=$T/new/weir.conf
init() { printf '%s\n' "$@" | timeout 60 "$WEIR" init -c "$N" > "$T/o" 2> "$T/e"; rc=$? err=$(cat "$T/e"); }
init local docs "$T/here" ""
is "init makes a configuration" "$rc" 0
is "0600" "$(stat -c %a "$N")" 600
is "as it should be" "$(cat "$N")" "[remote docs]
type = local
path = $T/here"
sed -i '1i # my own comment' "$N"
before=$(cat "$N")
init local docs; is "a name that is taken is refused" "$rc" 2
like "with one sentence" "$err" "there is a remote of this name already"
init frob; like "an unknown type is refused" "$err" "'frob': there is no such type"
init local "a b"; like "a bad name is refused" "$err" "'a b': a name has letters"
init local gone "$T/not/there" no; is "a storage that does not answer is not added" "$rc" 1
like "in its own words" "$err" "remote 'gone': .*not/there"
init local again "$T/here" no; is "a place that is there under another name is not added" "$rc" 1
like "it says which" "$err" "init: 'again' is the same place as remote 'docs'; the configuration is as it was"
is "and nothing of all that changed the file" "$(cat "$N")" "$before"
mkdir -p "$T/here2"
init local more "$T/here2" ""
is "another remote is added" "$rc" 0
like "below what was there" "$(head -n 1 "$N")" "# my own comment"
is "both are there" "$("$WEIR" check -c "$N" | grep -c OK$)" 2
if [ -e /dev/fuse ] && [ "$(id -u)" = 0 ]; then
	sed -i "1i [weir]\ncache_dir = $T/cache2" "$N"
	_mounts+=("$T/m")
	mkdir -p "$T/here3"
	init local third "$T/here3" "$T/m"
	is "init mounts" "$rc" 0
	check "the tree is there" test -d "$T/m/third"
	stop_mount "$T/m"
fi
mkfifo "$T/answers"
timeout 60 "$WEIR" init -c "$N" < "$T/answers" > "$T/o" 2> "$T/login.err" &
pid=$!
exec 7> "$T/answers"
printf '%s\n' nextcloud nc "$nc" "" >&7
wait_for 20 grep -q '^  http' "$T/login.err"
curl -sS -u alice:real-password -o /dev/null "$(sed -n 's/^  \(http.*\)/\1/p' "$T/login.err")"
echo >&7
exec 7>&-
wait $pid
is "init signs in by browser" "$?" 0
like "and writes what came of it" "$(cat "$N")" "password_file = $T/new/secrets/nc"
like "which lets us in" "$("$WEIR" check -c "$N")" "remote 'nc': OK"
done_testing
