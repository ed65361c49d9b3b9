# SPDX-License-Identifier: Apache-2.0
# For the tests of whole workloads: the same work on several storages, and the far side of each seen by programs that know nothing of
# weir (rclone, curl). Sourced after tests/lib.sh; not a test itself.
#
#   have_remote rgw || …        local, rgw (Ceph), dav (Apache), s3emu, ncemu, drive, dropbox (emulators): is it there?
#                               rclone-local, rclone-sftp: a folder through a real rclone, and one more through an sshd of the test's own; the far
#                               side sees both as folders
#   conf_remotes local rgw dav  $CONF with one remote of that name each, in a bucket or folder of this test's own
#   far_copy rgw SUB FOLDER     what the server has under SUB, fetched by rclone
#   far_sum rgw PATH            SHA-256 of one file, as the server gives it
#                               (drive and dropbox have no far_*: rclone cannot be pointed at another server than theirs; cloud_token NAME gives an
#                               access token for curl)
#   own_emulators               no other test is seen on ncemu, drive and dropbox
#   fresh_cache                 forget everything weir knows: the next mount sees only what the server has

OWN=weir-$$-$(od -An -N4 -tx4 /dev/urandom | tr -d ' ')
RCLONE_CONF=$T/rclone.conf
: > "$RCLONE_CONF"
USED=()

have_remote() {
	case $1 in
	local) ;;
	rgw) [ -n "${WEIR_TEST_RGW:-}" ] && command -v rclone > /dev/null ;;
	dav) [ -n "${WEIR_TEST_DAV:-}" ] && command -v rclone > /dev/null ;;
	s3emu) [ -n "${WEIR_TEST_S3EMU:-}" ] && command -v rclone > /dev/null ;;
	ncemu) [ -n "${WEIR_TEST_NCEMU:-}" ] && command -v rclone > /dev/null ;;
	drive) [ -n "${WEIR_TEST_DRIVEEMU:-}" ] ;;
	dropbox) [ -n "${WEIR_TEST_DROPEMU:-}" ] ;;
	rclone-local) command -v rclone > /dev/null ;;
	rclone-sftp) command -v rclone > /dev/null && [ -x /usr/sbin/sshd ] ;;
	*) return 1 ;;
	esac
}

why_not() {	# NAME: the reason for a skip
	command -v rclone > /dev/null || { echo "rclone is missing"; return; }
	case $1 in
	rgw) echo "no Ceph RGW here (WEIR_TEST_RGW)" ;;
	dav) echo "no Apache mod_dav here (WEIR_TEST_DAV)" ;;
	rclone-sftp) echo "no sshd here" ;;
	*) echo "no $1 here" ;;
	esac
}

_s3_remote() {	# NAME ENDPOINT ACCESS SECRET
	cat >> "$RCLONE_CONF" <<-C
	[$1]
	type = s3
	provider = Ceph
	endpoint = $2
	region = us-east-1
	access_key_id = $3
	secret_access_key = $4
	C
	run rclone --config "$RCLONE_CONF" mkdir "$1:$OWN"
	[ $rc -eq 0 ] || bail "no bucket on $1" "$err"
	cat >> "$CONF" <<-C
	[remote $1]
	type = s3
	endpoint = $2
	region = us-east-1
	bucket = $OWN
	access_key = $3
	secret_key = $4
	C
}

_dav_remote() {	# NAME URL USER PASSWORD TYPE [URL-FOR-RCLONE]
	local far=${6:-$2}
	case $(curl -sS -o /dev/null -w '%{http_code}' -u "$3:$4" -X MKCOL "$far/$OWN") in
	201 | 301 | 405) ;;	# made, or there already
	*) bail "no collection on $1" ;;
	esac
	cat >> "$RCLONE_CONF" <<-C
	[$1]
	type = webdav
	url = $far
	vendor = other
	user = $3
	pass = $(rclone obscure "$4")
	C
	printf '[remote %s]\ntype = %s\nuser = %s\npassword = %s\n' "$1" "$5" "$3" "$4" >> "$CONF"
	[ "$5" = webdav ] && echo "url = $2/$OWN" >> "$CONF" || echo "url = $2" >> "$CONF"
}

# cloud_token NAME: an access token, as a program of its own would get one
cloud_token() {
	local url id secret refresh
	if [ "$1" = drive ]; then
		url=$WEIR_TEST_DRIVEEMU/token id=$WEIR_TEST_DRIVEEMU_CLIENT_ID secret=$WEIR_TEST_DRIVEEMU_CLIENT_SECRET refresh=$WEIR_TEST_DRIVEEMU_REFRESH_TOKEN
	else
		url=$WEIR_TEST_DROPEMU/oauth2/token id=$WEIR_TEST_DROPEMU_CLIENT_ID secret=$WEIR_TEST_DROPEMU_CLIENT_SECRET refresh=$WEIR_TEST_DROPEMU_REFRESH_TOKEN
	fi
	curl -sSf "$url" -d grant_type=refresh_token --data-urlencode "refresh_token=$refresh" -d "client_id=$id" -d "client_secret=$secret" |
	    python3 -c 'import json,sys; print(json.load(sys.stdin)["access_token"])'
}

_cloud_remote() {	# NAME URL ID SECRET REFRESH: signed in as `weir login` leaves it, in a folder of this test's own (made by weir)
	cat >> "$CONF" <<-C
	[remote $1]
	type = $1
	client_id = $3
	client_secret = $4
	token_file = $T/$1.token
	api_url = $2
	C
	if [ "$1" = drive ]; then
		printf 'upload_url = %s\nauth_url = %s/o/oauth2/v2/auth\ntoken_url = %s/token\nrevoke_url = %s/revoke\n' "$2" "$2" "$2" "$2" >> "$CONF"
	else
		printf 'content_url = %s\nnotify_url = %s\nauth_url = %s/oauth2/authorize\ntoken_url = %s/oauth2/token\n' "$2" "$2" "$2" "$2" >> "$CONF"
	fi
	(umask 077 && printf '{"access_token":"","refresh_token":"%s","token_type":"Bearer","expires_at":0}\n' "$5" > "$T/$1.token")
}

_rclone_remote() {	# KIND: a section of that name for rclone, too
	local path=
	mkdir -p "$T/remote/$1"
	if [ "$1" = rclone-local ]; then
		printf '[%s]\ntype = alias\nremote = %s\n' "$1" "$T/remote/$1" >> "$RCLONE_CONF"
	else
		"$WEIR_SRCDIR/tests/servers/sshd.sh" start "$T/sshd" > "$T/sshd.env" 2> "$T/sshd.err" || bail "no sshd" "$(cat "$T/sshd.err")"
		path=$T/remote/$1
		{
			printf '[%s]\ntype = sftp\n' "$1"
			sed -n 's/^\(host\|port\|user\|key_file\|known_hosts_file\)=/\1 = /p' "$T/sshd.env"
		} >> "$RCLONE_CONF"
	fi
	printf '[remote %s]\ntype = rclone\nremote = %s:%s\nconfig = %s\n' "$1" "$1" "$path" "$RCLONE_CONF" >> "$CONF"
}

remote_section() {	# NAME
	case $1 in
	rclone-*) _rclone_remote "$1" ;;
	local)
		mkdir -p "$T/remote/local"
		printf '[remote local]\ntype = local\npath = %s\n' "$T/remote/local" >> "$CONF"
		;;
	rgw) _s3_remote rgw "$WEIR_TEST_RGW" "$WEIR_TEST_RGW_KEY" "$WEIR_TEST_RGW_SECRET" ;;
	s3emu) _s3_remote s3emu "$WEIR_TEST_S3EMU" "$WEIR_TEST_S3EMU_KEY" "$WEIR_TEST_S3EMU_SECRET" ;;
	dav) _dav_remote dav "$WEIR_TEST_DAV" "$WEIR_TEST_DAV_USER" "$WEIR_TEST_DAV_PASSWORD" webdav ;;
	ncemu)
		_dav_remote ncemu "$WEIR_TEST_NCEMU" "$WEIR_TEST_NCEMU_USER" "$WEIR_TEST_NCEMU_PASSWORD" nextcloud \
		    "$WEIR_TEST_NCEMU/remote.php/dav/files/$WEIR_TEST_NCEMU_USER"
		;;
	drive) _cloud_remote drive "$WEIR_TEST_DRIVEEMU" "$WEIR_TEST_DRIVEEMU_CLIENT_ID" "$WEIR_TEST_DRIVEEMU_CLIENT_SECRET" "$WEIR_TEST_DRIVEEMU_REFRESH_TOKEN" ;;
	dropbox) _cloud_remote dropbox "$WEIR_TEST_DROPEMU" "$WEIR_TEST_DROPEMU_CLIENT_ID" "$WEIR_TEST_DROPEMU_CLIENT_SECRET" "$WEIR_TEST_DROPEMU_REFRESH_TOKEN" ;;
	esac
	USED+=("$1")
}

# [weir] lines of the test's own stand in $WEIR_LINES; the namespace is /NAME for each.
conf_remotes() {
	local r
	: > "$CONF"
	chmod 600 "$CONF" "$RCLONE_CONF"
	printf '[weir]\ncache_dir = %s\n%s\n' "$T/cache" "${WEIR_LINES:-}" >> "$CONF"
	for r in "$@"; do remote_section "$r"; done
	printf '[namespace]\n' >> "$CONF"
	for r in "$@"; do
		case $r in ncemu | drive | dropbox) echo "/$r = $r:$OWN" ;; *) echo "/$r = $r" ;; esac
	done >> "$CONF"
}

far() {	# NAME [SUB] -> a path for rclone
	case $1 in
	local | rclone-*) echo "$T/remote/$1/${2:-}" ;;
	*) echo "$1:$OWN/${2:-}" ;;
	esac
}

rc_far() { env -u AWS_CA_BUNDLE timeout "${FAR_LIMIT:-300}" rclone --config "$RCLONE_CONF" "$@"; }
far_copy() { mkdir -p "$3" && rc_far copy --transfers 16 --checkers 16 "$(far "$1" "$2")" "$3"; }
far_sum() { rc_far cat "$(far "$1" "$2")" | sha256sum | cut -d ' ' -f 1; }
far_names() { rc_far lsf -R --files-only "$(far "$1" "${2:-}")" | sort; }
far_put() { rc_far copyto "$3" "$(far "$1" "$2")"; }	# NAME PATH FILE

own_emulators() {	# those of storages with one account for all, for this test alone (before have_remote)
	local r
	if start_emu ncemu --user alice --password "app-password-of-$OWN"; then
		WEIR_TEST_NCEMU=$url WEIR_TEST_NCEMU_USER=alice WEIR_TEST_NCEMU_PASSWORD=app-password-of-$OWN
	fi
	for r in DRIVEEMU DROPEMU; do
		start_emu ${r,,} --client-id the-id --client-secret the-secret --refresh-token seeded || continue
		export "WEIR_TEST_$r=$url" "WEIR_TEST_${r}_CLIENT_ID=the-id" "WEIR_TEST_${r}_CLIENT_SECRET=the-secret" "WEIR_TEST_${r}_REFRESH_TOKEN=seeded"
	done
	export WEIR_TEST_NCEMU WEIR_TEST_NCEMU_USER WEIR_TEST_NCEMU_PASSWORD
}

works() {	# PROMISE FUNCTION…: like check, for functions
	local what=$1 r=0
	shift
	"$@" > "$T/works.out" 2>&1 || r=$?
	if [ $r -eq 0 ]; then pass "$what"; else fail "$what" "status $r of: $*" "$(tail -n 20 "$T/works.out")"; fi
}

fresh_cache() { rm -rf --one-file-system "$T/cache"; }

flushed() {	# PROMISE: every remote has every byte, weir says so
	local limit=$LIMIT
	LIMIT=${FLUSH_LIMIT:-300}
	check "$1" "$WEIR" flush "$MNT"
	LIMIT=$limit
}

unmounted() {	# PROMISE
	local limit=$LIMIT
	LIMIT=${FLUSH_LIMIT:-300}
	check "$1" "$WEIR" umount "$MNT"
	LIMIT=$limit
	! is_mounted "$MNT" || fail "$1: and it is gone"
}

no_stuck() {	# PROMISE: no process of this test sleeps in D state
	local stuck="" p i
	for i in 1 2 3 4 5; do
		stuck=$(ps -eo pid=,stat=,comm= | awk '$2 ~ /^D/')
		[ -n "$stuck" ] || break
		sleep 0.5
	done
	is "$1" "$stuck" ""
}

# Remotes of the servers shared with other tests are left as they were found.
cleanup() {
	local r
	for r in "${USED[@]}"; do
		case $r in
		local | drive | dropbox | rclone-local) continue ;;
		rclone-sftp)
			"$WEIR_SRCDIR/tests/servers/sshd.sh" stop "$T/sshd"
			continue
			;;
		esac
		FAR_LIMIT=60 rc_far purge "$(far "$r")" > /dev/null 2>&1
	done
	! declare -F cleanup_more > /dev/null || cleanup_more
}
