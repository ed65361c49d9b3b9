#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What waiting cannot heal refuses the mount, with one clear sentence that holds the server's own reason; `weir check` says the same.
# weir-test: timeout=180 asan=yes
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/remotes.sh"

one_sentence() {	# PROMISE PATTERN: of $err, the last refusal: one line that holds it, no stack of internals
	local n
	n=$(grep -c . <<< "$err")
	if [ "$n" -le 2 ] && grep -qE -- "$2" <<< "$err"; then pass "$1"; else fail "$1" "$n lines:" "$err"; fi
}

# refused PROMISE PATTERN [PATTERN…]: mounting $CONF and checking it both fail, saying all of that
refused() {
	local what=$1 p verb
	shift
	for verb in mount check; do
		if [ $verb = mount ]; then
			mkdir -p "$MNT"
			run timeout 40 "$WEIR" mount -c "$CONF" "$MNT"
		else
			run timeout 40 "$WEIR" check -c "$CONF"
			[ -n "$err" ] || err=$out
		fi
		if [ $rc -eq 0 ] || [ $rc -ge 124 ]; then
			fail "$what ($verb)" "status $rc" "$out" "$err"
			is_mounted "$MNT" && "$WEIR" umount --now "$MNT" > /dev/null 2>&1
			continue
		fi
		for p in "$@"; do
			grep -qiE -- "$p" <<< "$err" || { fail "$what ($verb)" "wanted: $p" "got: $err"; continue 2; }
		done
		pass "$what ($verb)"
	done
	if is_mounted "$MNT"; then fail "$what: nothing is mounted"; else pass "$what: nothing is mounted"; fi
}

with() { conf_remotes "$@"; fresh_cache; }

# --- the configuration itself: file and line ---------------------------------------------------------------------------
with local
sed -i 's/^path = /pahth = /' "$CONF"
refused "an unknown key" "weir.conf:[0-9]+:" "pahth"
with local
sed -i 's/^type = local/type = floppy/' "$CONF"
refused "an unknown type" "weir.conf:[0-9]+:" "floppy"
with local
chmod 644 "$CONF"
echo "password = x" >> "$CONF"
sed -i '/^password/d; s/^path = .*/&/' "$CONF"
printf '[remote w]\ntype = webdav\nurl = http://127.0.0.1:9/\nuser = u\npassword = secret-in-clear\n' >> "$CONF"
refused "a secret that others can read" "weir.conf" "(others|readable|mode|chmod)"
unlike "and the secret is not told" "$err" "secret-in-clear"
with local
echo "/nowhere = nosuch" >> "$CONF"
refused "a namespace line with an unknown remote" "weir.conf:[0-9]+:" "nosuch"
with local
sed -i "s|^path = .*|path = $T/not/there|" "$CONF"
refused "a folder that is not there" "not/there"
CONF=$T/none.conf
refused "no configuration" "none.conf" "[Nn]o such file"
CONF=$T/weir.conf

# --- the servers' own reasons ------------------------------------------------------------------------------------------
if have_remote rgw; then
	with rgw
	sed -i 's/^secret_key = .*/secret_key = wrong/' "$CONF"
	refused "S3: a wrong secret key" "rgw" "SignatureDoesNotMatch"
	with rgw
	sed -i 's/^access_key = .*/access_key = NOBODY/' "$CONF"
	refused "S3: an unknown access key" "rgw" "InvalidAccessKeyId"
	with rgw
	sed -i 's/^bucket = .*/bucket = no-such-bucket-here/' "$CONF"
	refused "S3: a missing bucket" "no-such-bucket-here" "NoSuchBucket|does not exist|no such bucket"
else
	skip "S3: wrong keys, missing bucket" "$(why_not rgw)"
fi
if have_remote dav; then
	with dav
	sed -i 's/^password = .*/password = wrong/' "$CONF"
	refused "WebDAV: a wrong password" "dav" "401|[Uu]nauthorized|password"
	with dav
	sed -i 's|^url = \(.*\)/weir-.*|url = \1/not-there|' "$CONF"
	refused "WebDAV: a missing collection" "not-there" "404|[Nn]ot [Ff]ound|no such"
	server=$T/apache
	chmod 755 "$T"
	if timeout 60 "$WEIR_SRCDIR/tests/servers/apache-dav.sh" start "$server" https > "$T/apache.out" 2>&1; then
		cleanup_more() { "$WEIR_SRCDIR/tests/servers/apache-dav.sh" stop "$server"; }
		value() { sed -n "s/^$1=//p" "$server/env"; }
		with local
		printf '[remote tls]\ntype = webdav\nurl = %s\nuser = %s\npassword = %s\n' "$(value url)" "$(value user)" "$(value password)" > "$T/tls"
		sed -i '/^\[namespace\]/,$d' "$CONF"
		cat "$T/tls" >> "$CONF"
		refused "WebDAV: a certificate nobody vouches for" "tls" "certificate"
		echo "ca_file = $(value ca_file)" >> "$CONF"
		start_mount
		pass "with its authority in ca_file it mounts"
		check "and works" bash -c "echo x > $MNT/tls/x"
		unmounted "umount"
	else
		skip "WebDAV: a bad certificate" "$(tail -n 1 "$T/apache.out")"
	fi
else
	skip "WebDAV: refusals" "$(why_not dav)"
fi
if have_remote ncemu; then
	with ncemu
	sed -i 's/^password = .*/password = wrong/' "$CONF"
	refused "Nextcloud: a wrong password" "ncemu" "401|[Uu]nauthorized|password|credentials"
	with ncemu
	sed -i 's|^url = .*|&/nothing/here|' "$CONF"
	refused "Nextcloud: not a Nextcloud there" "ncemu"
else
	skip "Nextcloud: refusals" "$(why_not ncemu)"
fi

# --- an unreachable host is no refusal of a mount, but check says it ----------------------------------------------------
with local
sed -i '/^\[namespace\]/,$d' "$CONF"
printf '[remote away]\ntype = webdav\nurl = http://127.0.0.1:1/dav\nuser = u\npassword = p\ntimeout = 5\n' >> "$CONF"
run timeout 40 "$WEIR" check -c "$CONF"
[ -n "$err" ] || err=$out
if [ $rc -ne 0 ]; then pass "check: an unreachable host fails"; else fail "check: an unreachable host fails" "$out"; fi
like "and says which and why" "$err$out" "away.*(refused|unreachable|connect)"
start_mount
check "mount: the rest works" bash -c "echo x > $MNT/local/x"
run "$WEIR" status "$MNT"
like "status names what is away" "$out" "away"
unmounted "umount"

# --- the mount point ----------------------------------------------------------------------------------------------------
with local
run "$WEIR" mount -c "$CONF" "$T/no/such/point"
one_sentence "a mount point that is not there" "no/such/point"
touch "$T/afile"
run "$WEIR" mount -c "$CONF" "$T/afile"
one_sentence "a mount point that is a file" "afile"
start_mount
mkdir -p "$T/second"
run "$WEIR" mount -c "$CONF" "$T/second"
one_sentence "a cache that another weir uses" "(cache|already|another|use)"
unmounted "umount of the first"
run "$WEIR" umount "$MNT"
one_sentence "umount of what is not mounted" "not"
done_testing
