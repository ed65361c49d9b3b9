#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The contract against every storage there is: a local folder always, servers when the variables of tests/README name them.
# usage: contract.sh [BUILDDIR [REMOTE…]]; TAP, every promise of every remote.
set -u
unset AWS_CA_BUNDLE http_proxy https_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY
export LC_ALL=C.UTF-8
build=${1:-${BUILDDIR:-.}}
[ $# -eq 0 ] || shift
program=$build/tests/contract/contract
[ -x "$program" ] || { echo "1..0 # SKIP $program is not built"; exit 77; }
T=$(mktemp -d "${TMPDIR:-/tmp}/contract.XXXXXX") || exit 99
trap '[ ! -d "$T/sshd" ] || "$(dirname "$0")/../servers/sshd.sh" stop "$T/sshd"; rm -rf "$T"' EXIT
trap 'exit 1' INT TERM
umask 077
n=0 failed=0 name=weir-contract-$$-$RANDOM

s3_remote() {	# NAME URL KEY SECRET: a remote in a bucket of its own
	if ! curl -sS -f -m 30 -o /dev/null -X PUT --aws-sigv4 aws:amz:us-east-1:s3 -u "$3:$4" \
	    -H 'x-amz-content-sha256: UNSIGNED-PAYLOAD' "$2/$name"; then
		echo "# $1: the bucket $name cannot be made at $2"
		return 1
	fi
	printf '[remote %s]\ntype = s3\nendpoint = %s\nbucket = %s\naccess_key = %s\nsecret_key = %s\npart_size = 5MiB\n' \
	    "$1" "$2" "$name" "$3" "$4" >> "$T/weir.conf"
}

configure() {	# NAME: 0: configured, 1: not there, with $why
	why="no server ($1) named in the environment"
	case $1 in
	local)
		mkdir -p "$T/local"
		printf '[remote local]\ntype = local\npath = %s\n' "$T/local" >> "$T/weir.conf"
		;;
	rgw) [ -n "${WEIR_TEST_RGW:-}" ] && s3_remote rgw "$WEIR_TEST_RGW" "$WEIR_TEST_RGW_KEY" "$WEIR_TEST_RGW_SECRET" ;;
	s3emu) [ -n "${WEIR_TEST_S3EMU:-}" ] && s3_remote s3emu "$WEIR_TEST_S3EMU" "$WEIR_TEST_S3EMU_KEY" "$WEIR_TEST_S3EMU_SECRET" ;;
	dav)
		[ -n "${WEIR_TEST_DAV:-}" ] || return 1
		curl -sS -f -m 30 -o /dev/null -X MKCOL -u "$WEIR_TEST_DAV_USER:$WEIR_TEST_DAV_PASSWORD" "$WEIR_TEST_DAV/$name" || return 1
		printf '[remote dav]\ntype = webdav\nurl = %s\nuser = %s\npassword = %s\n' \
		    "$WEIR_TEST_DAV/$name" "$WEIR_TEST_DAV_USER" "$WEIR_TEST_DAV_PASSWORD" >> "$T/weir.conf"
		;;
	ncemu)
		[ -n "${WEIR_TEST_NCEMU:-}" ] || return 1
		printf '[remote ncemu]\ntype = nextcloud\nurl = %s\nuser = %s\npassword = %s\n' \
		    "$WEIR_TEST_NCEMU" "$WEIR_TEST_NCEMU_USER" "$WEIR_TEST_NCEMU_PASSWORD" >> "$T/weir.conf"
		;;
	dropbox) [ -n "${WEIR_TEST_DROPEMU:-}" ] && dropbox_remote ;;
	drive) [ -n "${WEIR_TEST_DRIVEEMU:-}" ] && drive_remote ;;
	rclone-*) rclone_remote "${1#rclone-}" ;;
	*) return 1 ;;
	esac
}

dropbox_remote() {	# signed in already
	printf '{"access_token":"","refresh_token":"%s","token_type":"bearer","expires_at":0}\n' "$WEIR_TEST_DROPEMU_REFRESH_TOKEN" > "$T/dropbox.token"
	printf '[remote dropbox]\ntype = dropbox\nclient_id = %s\nclient_secret = %s\ntoken_file = %s\n' \
	    "$WEIR_TEST_DROPEMU_CLIENT_ID" "$WEIR_TEST_DROPEMU_CLIENT_SECRET" "$T/dropbox.token" >> "$T/weir.conf"
	printf '%s = '"$WEIR_TEST_DROPEMU"'\n' api_url content_url notify_url >> "$T/weir.conf"
}

drive_remote() {	# in a folder of its own
	local url=$WEIR_TEST_DRIVEEMU
	printf '{"access_token":"","refresh_token":"%s","token_type":"Bearer","expires_at":0}\n' "$WEIR_TEST_DRIVEEMU_REFRESH_TOKEN" > "$T/drive.token"
	printf '[remote drive]\ntype = drive\nclient_id = %s\nclient_secret = %s\ntoken_file = %s\napi_url = %s\nupload_url = %s\ntoken_url = %s\n' \
	    "$WEIR_TEST_DRIVEEMU_CLIENT_ID" "$WEIR_TEST_DRIVEEMU_CLIENT_SECRET" "$T/drive.token" "$url" "$url" "$url/token" \
	    >> "$T/weir.conf"
}

# Through a real rclone, with a configuration that it made itself.
rclone_remote() {	# local | crypt | sftp | memory
	local c=$T/rclone.conf path=
	why="rclone is not installed"
	command -v rclone > /dev/null || return 1
	mkdir -p "$T/rclone/$1"
	case $1 in
	memory)	# a bucket: without folders of their own
		printf '[remote rclone-memory]\ntype = rclone\nremote = :memory:bucket\n' >> "$T/weir.conf"
		return
		;;
	local) rclone --config "$c" config create far alias remote "$T/rclone/local" > "$T/rclone.log" 2>&1 || return 1 ;;
	crypt) rclone --config "$c" config create far crypt remote "$T/rclone/crypt" password "a test's password" --obscure > "$T/rclone.log" 2>&1 || return 1 ;;
	sftp)
		why="no sshd (openssh-server)"
		timeout 60 "$(dirname "$0")/../servers/sshd.sh" start "$T/sshd" > "$T/sshd.env" || return 1
		path=$(sed -n 's/^path=//p' "$T/sshd.env")
		# shellcheck disable=SC2046
		rclone --config "$c" config create far sftp \
		    $(sed -n 's/^\(host\|port\|user\|key_file\|known_hosts_file\)=/\1 /p' "$T/sshd.env") > "$T/rclone.log" 2>&1 || return 1
		;;
	esac
	printf '[remote rclone-%s]\ntype = rclone\nremote = far:%s\nconfig = %s\n' "$1" "$path" "$c" >> "$T/weir.conf"
}

# The program's own numbers are for one remote; here they run on.
promises() {	# NAME
	local line rc
	timeout -k 10 "${CONTRACT_TIMEOUT:-300}" "$program" "$T/weir.conf" "$1" > "$T/out" 2> "$T/err"
	rc=$?
	while IFS= read -r line; do
		case $line in
		ok\ * | not\ ok\ *)
			n=$((n + 1))
			[ "${line%%ok *}" = "" ] || failed=$((failed + 1))
			echo "${line%%ok *}ok $n - $1: ${line#*- }"
			;;
		'Bail out!'*) echo "# $1: $line" ;;
		[0-9]*) ;;
		*) echo "# $1: ${line#\# }" ;;
		esac
	done < "$T/out"
	sed "s/^/# $1: /" "$T/err" | head -n 40
	n=$((n + 1))
	if [ $rc -eq 0 ]; then
		echo "ok $n - $1: the whole list was run"
	else
		failed=$((failed + 1))
		echo "not ok $n - $1: the whole list was run (status $rc)"
	fi
}

[ $# -gt 0 ] || set -- local rgw s3emu dav ncemu dropbox drive rclone-local rclone-crypt rclone-sftp rclone-memory
for r; do
	: > "$T/weir.conf"
	rm -f "$T/rclone.conf"
	if configure "$r"; then
		promises "$r"
	else
		n=$((n + 1))
		echo "ok $n - $r # SKIP $why"
	fi
done
echo "1..$n"
[ $failed -eq 0 ]
