#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# weir access: levels by group, by grant and by token; requests; what counts when the user could have written it; an issuer that rotates its keys or is away.
# weir-test: timeout=480 asan=yes
. "$(dirname "$0")/../lib.sh"

[ "$(id -u)" = 0 ] || skip_all "needs root: it acts as several users"
PY=/usr/bin/python3	# Debian's own, which has Debian's modules
OIDC="$PY $WEIR_SRCDIR/tests/servers/oidc.py"
pids=()
cleanup() { [ ${#pids[@]} -eq 0 ] || kill "${pids[@]}" 2> /dev/null; }

# A system of our own: users, groups and /etc/weir that nobody else sees.
mkdir -p "$T/etc" "$T/p" "$T/home/ann" "$T/home/bob"
cp -a /etc/. "$T/etc" 2> /dev/null
rm -rf "$T/etc/weir"
mkdir "$T/etc/weir"
cat >> "$T/etc/passwd" << P
ann:x:54001:54001::$T/home/ann:/bin/sh
bob:x:54002:54009::$T/home/bob:/bin/sh
boss:x:54003:54003::/nonexistent:/bin/sh
P
cat >> "$T/etc/group" << P
ann:x:54001:
boss:x:54003:
students:x:54008:ann
staff-x:x:54009:
granters:x:54010:boss
P
chown 54001:54001 "$T/home/ann"
chown 54002:54009 "$T/home/bob"
chmod 755 "$T" "$T/home" "$T/p"
WEIR=$(for_all "$WEIR")
mount --bind "$T/etc" /etc || bail "cannot put an /etc of our own there"
id ann > /dev/null || bail "the users are not there"

mkdir "$T/bin"
cat > "$T/bin/become" << 'B'
#!/bin/bash
# USER COMMAND…: with the groups of the database, and a home
u=$1
shift
exec setpriv --reuid="$u" --regid="$(id -g "$u")" --init-groups env -u SUDO_USER -u XDG_STATE_HOME HOME="$(getent passwd "$u" | cut -d: -f6)" "$@"
B
chmod 755 "$T/bin" "$T/bin/become"
PATH=$T/bin:$PATH
level() { json "$("$@" "$WEIR" access show --json "${C[@]}")" 'v["level"]'; }
C=(-c "$T/p/weir.conf")

# --- no policy ----------------------------------------------------------------------------------------------------------

echo > "$T/p/weir.conf"
run become ann "$WEIR" access show "${C[@]}"
like "without [access] there is no policy" "$out" '^policy: none, nothing is refused'
like "and every right" "$out" '^rights: try, deploy, chat, develop, train, production, storage$'
refuse "nothing can be asked for" 1 "nothing is refused, so there is nothing to ask for" become ann "$WEIR" access request "${C[@]}" --why x

# --- mistakes in it, with their lines -----------------------------------------------------------------------------------

wrong() {	# PROMISE PATTERN: the policy on standard input is refused
	cat > "$T/p/wrong.conf"
	refuse "$1" 3 "$2" become ann "$WEIR" access show -c "$T/p/wrong.conf"
}
wrong "an unknown right" "wrong.conf:3: \[level x\] rights: 'fly' is neither a right" << 'P'
[access]
[level x]
rights = try, fly
P
wrong "an unknown level" "wrong.conf:4: \[project x\] level: there is no level 'huge'" << 'P'
[access]
[project x]
members_group = students
level = huge
P
wrong "an unknown key" "wrong.conf:2: unknown key 'logg'" << 'P'
[access]
logg = /x
P
wrong "a level twice" "wrong.conf:4: \[level x\] stands in line 2 already" << 'P'
[access]
[level x]
rights = try
[level x]
rights = try
P
wrong "levels without [access]" "means nothing without a section \[access\]" << 'P'
[level x]
rights = try
P
wrong "an issuer without audience" "'audience' is needed" << 'P'
[access]
issuer = https://login.test/
P
wrong "an issuer without TLS" "'http://login.test/' is no https address" << 'P'
[access]
issuer = http://login.test/
audience = a
P
wrong "a row that knows nobody" "knows nobody" << 'P'
[access]
[project x]
P
wrong "an entitlement that is none" "is not of the form urn" << 'P'
[access]
issuer = https://login.test/
audience = a
[project x]
entitlement = group:x
level = basic
P
wrong "a limit that is no number" "wrong.conf:2: \[limits\] gpus: 'many' is no whole number" << 'P'
[limits]
gpus = many
P

refuse "weir check finds them too" 3 "wrong.conf:2: \[limits\] gpus: 'many' is no whole number" "$WEIR" check -c "$T/p/wrong.conf"

# --- groups -------------------------------------------------------------------------------------------------------------

mkdir "$T/p/log" "$T/p/requests"
chgrp granters "$T/p/requests"
chmod 1773 "$T/p/requests"
cat > "$T/p/weir.conf" << P
[access]
log = $T/p/log/access.log
requests = $T/p/requests
admins_group = granters
[project lessons]
members_group = students
level = basic
[project lab]
members_group = no-such-group, staff-x
level = full
[notify]
command = cat >> $T/p/told
[limits]
gpus = 2
P
touch "$T/p/told"
chmod 666 "$T/p/told"
is "a member of a group has its level" "$(level become ann)" basic
is "so has one by the primary group" "$(level become bob)" full
is "others have none" "$(level become boss)" null
run become ann "$WEIR" access show "${C[@]}"
like "show says where it comes from" "$out" "^  basic: group 'students' \(project lessons\)$"
like "and what it allows" "$out" '^rights: try, deploy, chat$'
is "others can be shown" "$(json "$(become ann "$WEIR" access show bob --json "${C[@]}")" 'v["level"]')" full
refuse "who is not there is no user" 1 "there is no user 'nobody-here'" become ann "$WEIR" access show nobody-here "${C[@]}"
is "limits are shown" "$(json "$(become ann "$WEIR" access show --json "${C[@]}")" 'v["limits"]')" '{"tries": 3, "gpus": 2}'

refuse "a job above one's level is refused, with the way to more" 239 \
    "the right 'develop' is needed: current level: basic, required level: full; ask for it with 'weir access request --level full --why TEXT'" \
    become ann "$WEIR" run "${C[@]}" --no-storage --engine none -- true
check "one within it runs" become bob "$WEIR" run "${C[@]}" --no-storage --engine none -- true
check "and any of root's" "$WEIR" run "${C[@]}" --no-storage --engine none -- true

# --- asking, granting, revoking -----------------------------------------------------------------------------------------

refuse "a reason is text" 2 "--why: this is no UTF-8" become ann "$WEIR" access request "${C[@]}" --why $'caf\xe9'
refuse "without control characters" 2 "control characters" become ann "$WEIR" access request "${C[@]}" --why $'a\e[2Jb'
refuse "a request says why" 2 "--why TEXT is needed" become ann "$WEIR" access request "${C[@]}"
umask 077
check "ann asks for the next level" become ann "$WEIR" access request "${C[@]}" --why 'I "train"
now'
umask 022
like "the hook is told" "$(cat "$T/p/told")" '"event":"access-asked".*"user":"ann".*"level":"full","why":"I \\"train\\"\\nnow","about":"ann"'
run "$WEIR" access show ann "${C[@]}"
like "root sees it" "$out" '^asked: full, on 20.*: I "train" now$'
run become boss "$WEIR" access show "${C[@]}"
like "who may grant sees whoever has asked" "$out" '^asked by ann: full, on 20.*: I "train" now$'
run become bob "$WEIR" access show "${C[@]}"
unlike "others do not" "$out" '^asked'
is "asking gives nothing" "$(level become ann)" basic
refuse "who has all cannot ask for more" 1 "you have the highest level already: full" become bob "$WEIR" access request "${C[@]}" --why more
refuse "ann cannot grant" 1 "only root and members of the group granters" become ann "$WEIR" access grant bob full --until 1d --reason x "${C[@]}"
refuse "a grant has an end" 2 "--until DATE is needed" "$WEIR" access grant ann full --reason x "${C[@]}"
refuse "and not one that is over" 2 "is over already" "$WEIR" access grant ann full --until 2020-01-01 --reason x "${C[@]}"
refuse "and a reason" 2 "--reason TEXT is needed" "$WEIR" access grant ann full --until 1d "${C[@]}"
refuse "and a level that exists" 1 "there is no level 'fuller'" "$WEIR" access grant ann fuller --until 1d --reason x "${C[@]}"
check "root grants" "$WEIR" access grant ann full --until 2d --reason "workshop" "${C[@]}"
is "it counts at once" "$(level become ann)" full
run become ann "$WEIR" access show "${C[@]}"
like "with its end" "$out" '^  full: granted by root, until 20[0-9-]*T[0-9:]*Z$'
unlike "and the request is answered" "$out" '^asked:'
like "the hook is told of it" "$(tail -n 1 "$T/p/told")" '"event":"access-granted".*"until":'
check "root revokes" "$WEIR" access revoke ann --reason "over" "${C[@]}"
like "and is told what stays" "$out" 'by membership ann still has the level basic'
is "a revoked grant has ended" "$(level become ann)" basic
refuse "nobody grants to themself" 1 "nobody grants a level to themself" env SUDO_USER=ann "$WEIR" access grant ann full --until 1d --reason me "${C[@]}"

# One second, so that the end passes: waited for by looking, not by sleeping.
check "a grant of two seconds" "$WEIR" access grant ann full --until 2s --reason short "${C[@]}"
expired() { [ "$(level become ann)" = basic ]; }
if wait_for 20 expired; then pass "a grant ends by itself"; else fail "a grant ends by itself"; fi

# --- admins -------------------------------------------------------------------------------------------------------------

refuse "a granter needs a log that they may write" 1 "Permission denied" become boss "$WEIR" access grant ann full --until 1d --reason x "${C[@]}"
chgrp granters "$T/p/log/access.log"
chmod g+w "$T/p/log/access.log"
check "a granter grants" become boss "$WEIR" access grant ann full --until 1d --reason x "${C[@]}"
is "it counts" "$(level become ann)" full
refuse "not to themself" 1 "nobody grants a level to themself" become boss "$WEIR" access grant boss full --until 1d --reason x "${C[@]}"
check "root grants to boss" "$WEIR" access grant boss basic --until 1d --reason x "${C[@]}"
run become boss "$WEIR" access show "${C[@]}"
like "but who could write the log has nothing from it" "$out" "grants do not count: boss could write '$T/p/log/access.log'"
chmod 777 "$T/p/log"
is "nor from one in a folder that all may write to" "$(level become ann)" basic
chmod 755 "$T/p/log"
is "(in a good one, yes)" "$(level become ann)" full
mv "$T/p/log/access.log" "$T/p/log/real"
cp "$T/p/log/real" "$T/p/log/access.log"
chown 54001 "$T/p/log/access.log"
is "nor from one of their own" "$(level become ann)" basic
mv "$T/p/log/real" "$T/p/log/access.log"

# --- the chain ----------------------------------------------------------------------------------------------------------

cp -p "$T/p/log/access.log" "$T/p/log/keep"
sed -i '1s/workshop/Workshop/' "$T/p/log/access.log"
run become ann "$WEIR" access show "${C[@]}"
like "an edited line is noticed" "$out" "grants do not count: '.*' was changed in line 1"
like "and nothing of the log counts" "$out" '^level: basic$'
refuse "and nothing is written behind it" 1 "was changed in line 1; move it away" "$WEIR" access revoke ann "${C[@]}"
cp -p "$T/p/log/keep" "$T/p/log/access.log"
sed -i '1d' "$T/p/log/access.log"
run become ann "$WEIR" access show "${C[@]}"
like "a line taken out is noticed" "$out" "was changed in line 1"
cp -p "$T/p/log/keep" "$T/p/log/access.log"
printf '{"at":"2026' >> "$T/p/log/access.log"
is "a piece of a line (a full disk) does no harm" "$(level become ann)" full
check "and the next line goes behind it" "$WEIR" access revoke ann "${C[@]}"
is "and counts" "$(level become ann)" basic

# Eight at once: no line is lost, the chain holds.
for i in 1 2 3 4 5 6 7 8; do "$WEIR" access grant ann full --until "${i}h" --reason "r$i" "${C[@]}" > /dev/null & w[i]=$!; done
for i in 1 2 3 4 5 6 7 8; do wait "${w[i]}" || fail "grant $i at once with others"; done
is "eight grants at once are eight lines" "$(grep -c '"reason":"r[1-8]"' "$T/p/log/access.log")" 8
is "of one chain" "$(level become ann)" full

# --- the system's policy ------------------------------------------------------------------------------------------------

cat > /etc/weir/access.conf << P
[access]
[level low]
rights = try
[level high]
rights = low, train, storage
[project lessons]
members_group = students
level = low
[limits]
gpus = 1
P
chmod 644 /etc/weir/access.conf
is "the system's policy counts, whatever -c says" "$(level become ann)" low
cat > "$T/home/ann/mine.conf" << P
[access]
[project mine]
members_group = ann
level = full
[limits]
gpus = 8
P
chown 54001 "$T/home/ann/mine.conf"
v=$(become ann "$WEIR" access show --json -c "$T/home/ann/mine.conf")
is "also against a configuration of the user's own" "$(json "$v" 'v["level"]')" low
is "with its limits" "$(json "$v" 'v["limits"]["gpus"]')" 1
like "show names the file" "$v" '"file": "/etc/weir/access.conf"'
is "and without any configuration" "$(json "$(become ann "$WEIR" access show --json)" 'v["level"]')" low
chown 54001 /etc/weir/access.conf
refuse "one that is not root's is refused" 3 "others than root can change this policy" become ann "$WEIR" access show
chown 0 /etc/weir/access.conf
chmod g+w /etc/weir/access.conf
refuse "nor one that a group can write" 3 "others than root can change this policy" become ann "$WEIR" access show
chmod 600 /etc/weir/access.conf
refuse "one that cannot be read refuses, and says so" 1 "access.conf.*Permission denied" become ann "$WEIR" access show
chmod 644 /etc/weir/access.conf
printf '[weir]\nquota = 1GB\n' >> /etc/weir/access.conf
refuse "nothing but a policy stands in it" 3 "access.conf:[0-9]+: \[weir\] has no place in this file" become ann "$WEIR" access show
rm /etc/weir/access.conf
printf '[weir]\nquota = 1GB\n[access]\n[project x]\nmembers_group = students\nlevel = basic\n' > /etc/weir/weir.conf
is "[access] of /etc/weir/weir.conf counts too" "$(json "$(become ann "$WEIR" access show --json -c "$T/home/ann/mine.conf")" 'v["level"]')" basic
chmod 600 /etc/weir/weir.conf
is "but not where only root can read it" "$(json "$(become ann "$WEIR" access show --json -c "$T/home/ann/mine.conf")" 'v["level"]')" full
like "what is the user's own is called advice" "$(become ann "$WEIR" access show -c "$T/home/ann/mine.conf")" "mine.conf \(not root's alone: advice, no more\)"
rm /etc/weir/weir.conf

# --- tokens -------------------------------------------------------------------------------------------------------------

if ! $PY -c 'import jwt, cryptography' 2> /dev/null; then
	skip "tokens" "python3-jwt is not installed"
	done_testing
fi
mkdir "$T/o" "$T/front"
ISSUER=https://login.test/realms/demo
$OIDC key "$T/o" k1 || bail "no key"
$OIDC serve "$T/o" $ISSUER > "$T/o/log" 2>&1 &
pids+=($!)
wait_for 20 grep -q '^listening on ' "$T/o/log" || bail "the issuer does not start" "$(cat "$T/o/log")"
"$PY" "$WEIR_SRCDIR/tests/emulators/tlsfront.py" "$T/front" "$(sed -n 's/^listening on .*://p' "$T/o/log")" login.test > "$T/front/log" 2>&1 &
pids+=($!)
wait_for 20 grep -q '^listening on ' "$T/front/log" || bail "the TLS front does not start" "$(cat "$T/front/log")"
chmod 755 "$T/front"
chmod 644 "$T/front/ca.pem"
cat > "$T/home/ann/token.conf" << P
[access]
issuer = $ISSUER
audience = weir, account
token_file = ~/token
proxy = http://$(sed -n 's/^listening on //p' "$T/front/log")
ca_file = $T/front/ca.pem
[level ap-a]
rights = try, chat
[level ap-u]
rights = ap-a, develop, train, production, storage
[project imagine]
vo = vo.imagine-ai.eu
[project egi]
entitlement = urn:mace:egi.eu:group:vo.ai4eosc.eu:role=member
level = ap-a
P
chown 54001 "$T/home/ann/token.conf"
C=(-c "$T/home/ann/token.conf")
ROLES='"realm_access":{"roles":["offline_access","access:vo.imagine-ai.eu:ap-u","access:vo.other.eu:ap-u"]}'
token() {	# KID CLAIMS [HEADER]: ann's token from now on
	rm -f "$T/home/ann/token"
	$OIDC sign "$T/o" "$1" RS256 "{\"iss\":\"$ISSUER\",\"aud\":\"account\",\"sub\":\"u-1\",\"exp\":\"+600\",$2}" "${3:-{\}}" > "$T/home/ann/token"
	chown 54001 "$T/home/ann/token"
	chmod 600 "$T/home/ann/token"
}
note() { json "$(become ann "$WEIR" access show --json "${C[@]}")" 'v["notes"]'; }
asked() { wc -l < "$T/o/requests"; }
: > "$T/o/requests"

like "without a token there is none" "$(note)" 'no token: .*/token.*No such file'
is "and nobody was asked" "$(asked)" 0
token k1 "$ROLES"
v=$(become ann "$WEIR" access show --json "${C[@]}")
is "a role gives its level" "$(json "$v" 'v["level"]')" ap-u
is "in its project" "$(json "$v" '[(h["project"], h["how"]) for h in v["held"]]')" '[["imagine", "role '"'access:vo.imagine-ai.eu:ap-u'"'"]]'
is "the issuer was asked twice: for its document, for its keys" "$(asked)" 2
token k1 '"eduperson_entitlement":["urn:mace:egi.eu:group:vo.ai4eosc.eu:role=member#aai.egi.eu"]'
is "an entitlement gives the level of its row" "$(level become ann)" ap-a
token k1 '"eduperson_entitlement":["urn:mace:egi.eu:group:vo.ai4eosc.eu:role=manager#aai.egi.eu"],"realm_access":{"roles":["access:vo.other.eu:ap-u","access:vo.imagine-ai.eu:ap-0"]}'
is "others' roles, and unknown levels, give none" "$(level become ann)" null
is "keys are kept: nobody was asked again" "$(asked)" 2
token k1 "$ROLES,\"aud\":\"other\""
like "another audience is refused" "$(note)" "does not count: it is for another audience"
token k1 "$ROLES,\"exp\":\"-100\""
like "an expired one is refused" "$(note)" "does not count: it has expired 10[0-9] s ago"
token k1 "$ROLES,\"exp\":\"-20\""
is "clocks may differ by a minute" "$(level become ann)" ap-u
token k1 "$ROLES,\"iss\":\"https://evil.test\""
like "another issuer is refused" "$(note)" "does not count: it is issued by 'https://evil.test'"
chmod 644 "$T/home/ann/token"
like "a token that others can read is refused" "$(note)" "others may read or change"
token k1 "$ROLES"
tok=$(cat "$T/home/ann/token")
rm "$T/home/ann/token"
is "a variable gives one too" "$(json "$(become ann env WEIR_ACCESS_TOKEN="$tok" "$WEIR" access show --json "${C[@]}")" 'v["level"]')" ap-u
run become ann env WEIR_ACCESS_TOKEN="$tok" "$WEIR" access show "${C[@]}"
unlike "a token is in no output" "$out$err" "${tok:0:30}"

run become ann env WEIR_ACCESS_TOKEN="$tok" "$WEIR" run "${C[@]}" --no-storage --engine none -- sh -c 'echo "${WEIR_ACCESS_TOKEN-gone}"'
is "nor in the environment of a job that it allows" "$out" gone
refuse "without it the job is refused, and the sentence says that" 239 "required level: ap-u; .*\(no token: " become ann "$WEIR" run "${C[@]}" --no-storage --engine none -- true

# Rotation: a key we do not have is asked for, but not all the time.
$OIDC key "$T/o" k2
token k2 "$ROLES"
like "a new key is not asked for within a minute" "$(note)" "signed with none of the issuer's keys"
n=$(asked)
cache=$(find "$T/home/ann/.cache" -name '*.json')
sed -i -E 's/"fetched":[0-9]+/"fetched":'$(($(date +%s) - 120))'/' "$cache"
is "later it is" "$(level become ann)" ap-u
is "by two requests" "$(($(asked) - n))" 2
$OIDC drop "$T/o" k1
token k1 "$ROLES"
is "a key that the issuer took back counts until the keys are fetched again" "$(level become ann)" ap-u
sed -i -E 's/"fetched":[0-9]+/"fetched":'$(($(date +%s) - 4000))'/' "$cache"
is "and no longer" "$(level become ann)" null

# The issuer is away.
token k2 "$ROLES"
touch "$T/o/fail"
sed -i -E 's/"fetched":[0-9]+/"fetched":'$(($(date +%s) - 7200))'/' "$cache"
is "old keys serve while the issuer is away" "$(level become ann)" ap-u
sed -i -E 's/"fetched":[0-9]+/"fetched":'$(($(date +%s) - 90000))'/' "$cache"
like "but not for longer than a day" "$(note)" "the token cannot be checked: .*HTTP 503"
rm "$T/o/fail"
is "it comes back" "$(level become ann)" ap-u
fresh() { rm -rf "$T/home/ann/.cache"; }
fresh
echo https://other.test > "$T/o/issuer"
like "a document of another issuer is refused" "$(note)" "is the document of another issuer, 'https://other.test'"
rm "$T/o/issuer"
echo 300000 > "$T/o/pad"
like "an answer without end is not read" "$(note)" "the answer is longer than 65536 bytes"
echo 1000 > "$T/o/pad"
is "(a longer one is)" "$(level become ann)" ap-u
rm "$T/o/pad"
sed -i '/^ca_file/d' "$T/home/ann/token.conf"
rm -rf "$T/home/ann/.cache"
like "a certificate that nobody vouches for is refused" "$(note)" "cannot be checked: .*certificate"
echo "ca_file = $T/front/ca.pem" > "$T/ca"
sed -i "/^\[access\]/r $T/ca" "$T/home/ann/token.conf"
is "(with its authority it is not)" "$(level become ann)" ap-u

# Under root's policy the user's cache is not trusted.
cp "$T/home/ann/token.conf" /etc/weir/access.conf
chmod 644 /etc/weir/access.conf
chown 0:0 /etc/weir/access.conf
printf '{"issuer":"%s","fetched":%s,"keys":%s}' $ISSUER "$(date +%s)" "$(cat "$T/o/jwks.json")" > "$T/keep"
$OIDC key "$T/o" forged
printf '{"issuer":"%s","fetched":%s,"keys":%s}' $ISSUER "$(date +%s)" "$(cat "$T/o/jwks.json")" > "$(find "$T/home/ann/.cache" -name '*.json')"
$OIDC drop "$T/o" forged
token forged "$ROLES"
like "keys that the user wrote into the cache do not count" "$(note)" "signed with none of the issuer's keys"
mkdir "$T/keys"
chmod 755 "$T/keys"
cp "$T/o/jwks.json" "$T/keys/jwks.json"
chmod 644 "$T/keys/jwks.json"
sed -i "/^ca_file/a keys_file = $T/keys/jwks.json" /etc/weir/access.conf
token k2 "$ROLES"
touch "$T/o/fail"
is "keys_file serves without the issuer" "$(level become ann)" ap-u
chown 54001 "$T/keys/jwks.json"
like "but not one that the user could write" "$(note)" "ann could write '$T/keys/jwks.json'"
done_testing
