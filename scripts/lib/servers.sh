# SPDX-License-Identifier: Apache-2.0
# Starts the servers that tests, the demo and the bench talk to, once for a whole run, and exports their addresses as
# tests/README names them. A server that cannot be started leaves its variables unset and its reason in SERVER_WHY[NAME].
# Every start takes the state folder from SERVERS (made here); servers_stop ends what was started here and nothing else.

SERVERS=${SERVERS:-}
declare -A SERVER_WHY=() SERVER_PID=()

servers_dir() {
	[ -n "$SERVERS" ] || SERVERS=$(mktemp -d "${TMPDIR:-/tmp}/weir-servers.XXXXXX")
	chmod 755 "$SERVERS"	# Apache's workers are not root
}

server_failed() {	# NAME LOG -> reason noted
	SERVER_WHY[$1]=$(tail -n 1 "$2" 2> /dev/null)
	[ -n "${SERVER_WHY[$1]}" ] || SERVER_WHY[$1]="did not start, see $2"
	return 1
}

server_rgw() {
	servers_dir
	watched 180 "$SERVERS/rgw.log" "Ceph RGW" "$TOP/tests/servers/rgw.sh" start "$SERVERS/rgw" || { server_failed rgw "$SERVERS/rgw.log"; return 1; }
	. "$SERVERS/rgw/env"
}

server_dav() {
	local key value
	servers_dir
	watched 60 "$SERVERS/dav.log" "Apache mod_dav" "$TOP/tests/servers/apache-dav.sh" start "$SERVERS/dav" || { server_failed dav "$SERVERS/dav.log"; return 1; }
	while IFS='=' read -r key value; do
		case $key in
		url) export WEIR_TEST_DAV=$value ;;
		user) export WEIR_TEST_DAV_USER=$value ;;
		password) export WEIR_TEST_DAV_PASSWORD=$value ;;
		esac
	done < "$SERVERS/dav/env"
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
