#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Every error of a configuration is one sentence that names file and line; check and mount say the same, run too.
# weir-test: timeout=60 asan=yes
. "$(dirname "$0")/../lib.sh"

mkdir -p "$T/r" "$MNT"

# wrong PROMISE LINE PATTERN: standard input is the configuration; LINE 0: no line is named
wrong() {
	local what=$1 line=$2 pattern=$3 where
	cat > "$CONF"
	chmod 600 "$CONF"
	[ "$line" = 0 ] && where="$CONF" || where="$CONF:$line:"
	refuse "$what" 3 "^weir: .*$where.*$pattern" "$WEIR" check -c "$CONF"
	[ "$(grep -c . <<< "$err")" -eq 1 ] || fail "$what: one sentence" "$err"
}

wrong "an unknown key in [weir]" 2 "unknown key 'cash_dir'" << 'C'
[weir]
cash_dir = /tmp
C
wrong "an unknown section" 1 "unknown section \[wier\]" << 'C'
[wier]
cache_dir = /tmp
C
wrong "a line without =" 3 "" << 'C'
[weir]
# a comment
cache_dir
C
wrong "a key before any section" 1 "" << 'C'
cache_dir = /tmp
C
wrong "a size that is none" 2 "quota: 'lots' is no size" << 'C'
[weir]
quota = lots
C
wrong "a switch that is neither yes nor no" 2 "'perhaps' is neither yes nor no" << 'C'
[weir]
xattr = perhaps
C
wrong "a time that is none" 4 "'soon' is no time" << C
[remote a]
type = local
path = $T/r
timeout = soon
C
wrong "a key twice" 4 "'path' stands in line 3 already" << C
[remote a]
type = local
path = $T/r
path = $T/r
C
wrong "a remote twice" 4 "remote 'a' stands in line 1 already" << C
[remote a]
type = local
path = $T/r
[remote a]
type = local
C
wrong "a remote without a name" 1 "needs a name" << 'C'
[remote]
type = local
C
wrong "a remote without a type" 1 "remote 'a' needs 'type'" << C
[remote a]
path = $T/r
C
wrong "an unknown type" 1 "unknown type 'floppy'; there are .*local" << 'C'
[remote a]
type = floppy
C
wrong "a key that another type has" 4 "unknown key 'bucket' for type local" << C
[remote a]
type = local
path = $T/r
bucket = b
C
wrong "a write mode that is none" 4 "neither back nor through" << C
[remote a]
type = local
path = $T/r
write = sideways
C
wrong "an unknown variable" 3 "NO_SUCH_VARIABLE_HERE" << 'C'
[remote a]
type = local
path = $NO_SUCH_VARIABLE_HERE/x
C
wrong "a namespace line for a remote that is not there" 5 "there is no \[remote b\]" << C
[remote a]
type = local
path = $T/r
[namespace]
/x = b
C
wrong "a namespace path that is none" 5 "is no path" << C
[remote a]
type = local
path = $T/r
[namespace]
x = a
C
wrong "the same files at two places" 6 "show the same files twice" << C
[remote a]
type = local
path = $T/r
[namespace]
/x = a:f
/y = a:f/g
C
wrong "the same place twice" 6 "'/x' stands in line 5 already" << C
[remote a]
type = local
path = $T/r
[namespace]
/x = a:f
/x = a:g
C
wrong "a pool with the same place twice" 5 "put the same files into the pool twice" << C
[remote a]
type = local
path = $T/r
[namespace]
/x = pool(a:f, a:f/g)
C

# What cannot be decided by reading alone is an error of the remote: the same words from check and mount, and no mount.
refused_remote() {	# PROMISE PATTERN
	run "$WEIR" check -c "$CONF"
	if [ $rc -eq 1 ] && grep -qE -- "$2" <<< "$out$err"; then pass "$1 (check)"; else fail "$1 (check)" "status $rc" "$out" "$err"; fi
	refuse "$1 (mount)" 1 "^weir: remote 'a': .*$2" "$WEIR" mount -c "$CONF" "$MNT"
	refuse "$1 (run)" 241 "^weir: remote 'a': .*$2" "$WEIR" run -c "$CONF" -- true
	if is_mounted "$MNT"; then fail "$1: nothing is mounted"; else pass "$1: nothing is mounted"; fi
}
printf '[remote a]\ntype = local\npath = %s/gone\n' "$T" > "$CONF"
refused_remote "a folder that is not there" "gone"
printf '[remote a]\ntype = local\n' > "$CONF"
refused_remote "a required key that is missing" "path"
printf '[remote z]\ntype = local\npath = %s\n[remote a]\ntype = local\npath = %s\n' "$T" "$T" > "$CONF"
refused_remote "one place under two names" "the same place as remote 'z'"
printf 'x\n' > "$T/secret"
chmod 644 "$T/secret"
printf '[remote a]\ntype = webdav\nurl = http://127.0.0.1:9/\nuser = u\npassword_file = %s/secret\n' "$T" > "$CONF"
refused_remote "a secret's file that others can read" "chmod 600"
chmod 600 "$CONF"
for url in http://localhost.example.net http://127.example.net:8080 http://localhost@example.net; do	# that begin like this host, and are others
	printf '[remote a]\ntype = drive\nclient_id = i\nclient_secret = s\napi_url = %s\n' "$url" > "$CONF"
	refused_remote "drive: a token does not go to $url" "api_url must be an https address"
	printf '[remote a]\ntype = dropbox\nclient_id = i\ncontent_url = %s\n' "$url" > "$CONF"
	refused_remote "dropbox: a token does not go to $url" "content_url must be an https address"
done

# --- the file itself ---------------------------------------------------------------------------------------------------
printf '[remote a]\ntype = webdav\nurl = http://127.0.0.1:9/\nuser = u\npassword = hunter2-in-clear\n' > "$CONF"
chmod 644 "$CONF"
refuse "a secret in a file that others can read" 3 "$CONF" "$WEIR" check -c "$CONF"
unlike "the secret is not told" "$out$err" "hunter2"
refuse "no such file" 3 "$T/none.conf'?: No such file" "$WEIR" check -c "$T/none.conf"
refuse "no such file: run has its own status" 240 "$T/none.conf'?: No such file" "$WEIR" run -c "$T/none.conf" -- true
: > "$CONF"
refuse "a configuration without a remote has nothing to mount" 3 "no \[remote NAME\]" "$WEIR" mount -c "$CONF" "$MNT"
done_testing
