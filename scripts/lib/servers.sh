# SPDX-License-Identifier: Apache-2.0
# Starts the servers that tests, the demo and the bench talk to, once for a whole run, and exports their addresses as
# tests/README names them. A server that cannot be started leaves its variables unset and its reason in
# SERVER_WHY[NAME], and SERVER_MISSING[NAME] when only its packages are missing.
# Every start takes the state folder from SERVERS (made here); servers_stop ends what was started here and nothing else.

SERVERS=${SERVERS:-}
declare -A SERVER_WHY=() SERVER_PID=() SERVER_MISSING=()

servers_dir() {
	[ -n "$SERVERS" ] || SERVERS=$(mktemp -d "${TMPDIR:-/tmp}/weir-servers.XXXXXX")
	chmod 755 "$SERVERS"	# Apache's workers are not root
}

# server_run NAME LIMIT LABEL COMMAND…: a start script that prints KEY=VALUE lines; 77 means that its packages are missing
server_run() {
	local name=$1 limit=$2 label=$3 r=0
	shift 3
	watched "$limit" "$SERVERS/$name.log" "$label" "$@" || r=$?
	[ $r -ne 0 ] || return 0
	SERVER_WHY[$name]=$(tail -n 1 "$SERVERS/$name.log" 2> /dev/null)
	[ -n "${SERVER_WHY[$name]}" ] || SERVER_WHY[$name]="did not start (status $r)"
	[ $r -ne 77 ] || SERVER_MISSING[$name]=yes
	return 1
}

server_value() { sed -n "s/^$2=//p" "$SERVERS/$1/env"; }	# NAME KEY

server_rgw() {
	servers_dir
	server_run rgw 180 "Ceph RGW" "$TOP/tests/servers/rgw.sh" start "$SERVERS/rgw" || {
		# A port that was free when it was chosen may be taken when the daemon comes: once more.
		[ -z "${SERVER_MISSING[rgw]:-}" ] && server_run rgw 180 "Ceph RGW" "$TOP/tests/servers/rgw.sh" start "$SERVERS/rgw"
	} || return 1
	WEIR_TEST_RGW=$(server_value rgw url) WEIR_TEST_RGW_KEY=$(server_value rgw access_key) WEIR_TEST_RGW_SECRET=$(server_value rgw secret_key)
	export WEIR_TEST_RGW WEIR_TEST_RGW_KEY WEIR_TEST_RGW_SECRET
}

server_dav() {
	servers_dir
	server_run dav 60 "Apache mod_dav" "$TOP/tests/servers/apache-dav.sh" start "$SERVERS/dav" || return 1
	WEIR_TEST_DAV=$(server_value dav url) WEIR_TEST_DAV_USER=$(server_value dav user) WEIR_TEST_DAV_PASSWORD=$(server_value dav password)
	export WEIR_TEST_DAV WEIR_TEST_DAV_USER WEIR_TEST_DAV_PASSWORD
}

# server_daemon NAME PROGRAM ARGS…: a program of this project that stays in the foreground and says "listening on HOST:PORT"; sets LISTENING
server_daemon() {
	local name=$1 i
	shift
	servers_dir
	if [ ! -x "$1" ]; then
		SERVER_WHY[$name]="$1 was not built"
		return 1
	fi
	"$@" > "$SERVERS/$name.log" 2>&1 < /dev/null &
	SERVER_PID[$name]=$!
	for ((i = 0; i < 200; i++)); do
		LISTENING=$(sed -n 's/^listening on //p' "$SERVERS/$name.log" 2> /dev/null)
		[ -z "$LISTENING" ] || return 0
		kill -0 "${SERVER_PID[$name]}" 2> /dev/null || break
		sleep 0.05
	done
	SERVER_WHY[$name]=$(tail -n 1 "$SERVERS/$name.log")
	return 1
}

server_s3emu() {
	servers_dir
	WEIR_TEST_S3EMU_KEY=WEIREMULATORKEY WEIR_TEST_S3EMU_SECRET=emulator+secret/key
	server_daemon s3emu "$BUILD/tests/emulators/s3emu" --port 0 --dir "$(server_data s3emu)" --access-key $WEIR_TEST_S3EMU_KEY \
	    --secret-key $WEIR_TEST_S3EMU_SECRET || return 1
	WEIR_TEST_S3EMU=http://$LISTENING
	export WEIR_TEST_S3EMU WEIR_TEST_S3EMU_KEY WEIR_TEST_S3EMU_SECRET
}

server_ncemu() {
	servers_dir
	WEIR_TEST_NCEMU_USER=alice WEIR_TEST_NCEMU_PASSWORD=app-password-of-alice
	server_daemon ncemu "$BUILD/tests/emulators/ncemu" --port 0 --dir "$(server_data ncemu)" --user $WEIR_TEST_NCEMU_USER \
	    --password $WEIR_TEST_NCEMU_PASSWORD || return 1
	WEIR_TEST_NCEMU=http://$LISTENING
	export WEIR_TEST_NCEMU WEIR_TEST_NCEMU_USER WEIR_TEST_NCEMU_PASSWORD
}

# server_cloud NAME CLIENT SECRET REFRESH: an emulator that people sign in to
server_cloud() {
	local name=$1 var=WEIR_TEST_${1^^}
	servers_dir
	server_daemon "$name" "$BUILD/tests/emulators/$name" --port 0 --dir "$(server_data "$name")" --client-id "$2" --client-secret "$3" \
	    --refresh-token "$4" || return 1
	export "$var=http://$LISTENING" "${var}_CLIENT_ID=$2" "${var}_CLIENT_SECRET=$3" "${var}_REFRESH_TOKEN=$4"
}

server_driveemu() { server_cloud driveemu 407408718192-driveemu.apps.example.com GOCSPX-emulator-secret 1//0emulator-refresh-token; }
server_dropemu() { server_cloud dropemu dropemuappkey01 dropemusecret01 emulator-refresh-token; }

server_data() {	# NAME -> its folder
	mkdir -p "$SERVERS/data/$1" && echo "$SERVERS/data/$1"
}

# server_delay URL MILLISECONDS: the same server behind a wire that long; sets DELAYED
server_delay() {
	server_daemon delay "$BUILD/tests/servers/delayproxy" 0 "${1##*:}" "$2" || return 1
	DELAYED=http://$LISTENING
}

servers_stop() {
	local name
	[ -n "$SERVERS" ] || return 0
	for name in "${!SERVER_PID[@]}"; do
		kill "${SERVER_PID[$name]}" 2> /dev/null
		wait "${SERVER_PID[$name]}" 2> /dev/null
	done
	[ ! -d "$SERVERS/rgw" ] || "$TOP/tests/servers/rgw.sh" stop "$SERVERS/rgw" > /dev/null 2>&1
	[ ! -d "$SERVERS/dav" ] || "$TOP/tests/servers/apache-dav.sh" stop "$SERVERS/dav" > /dev/null 2>&1
	rm -rf "$SERVERS"
	SERVERS=
}
