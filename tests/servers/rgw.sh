#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A real S3 server for the tests: Ceph RGW on loopback, one monitor, one OSD in memory, one gateway; up in about 15 s.
#
#   rgw.sh start DIR [PORT]   start everything under DIR (made anew), PORT 0 or none: a free one; ends when a bucket can be written
#   rgw.sh stop DIR           end what the pid files in DIR name, and wait for it
#
# start prints url= access_key= secret_key= bucket= region= and writes them to DIR/env.
# Exit 77 when the packages are missing: ceph-mon ceph-osd radosgw ceph-common curl python3.
# Traps: the OSD must be made with the uuid that was given to "osd new", or it never comes up and the gateway hangs for
# 300 s; what an OSD says of its class and place when it starts may be refused as 'wrong fsid', and then it ends: it says
# nothing; $HOME/.ceph and /etc/ceph are never used, so that a real cluster's client on this machine is left alone.
set -euo pipefail

ACCESS_KEY=WEIRTESTACCESSKEY001 SECRET_KEY=weirtestsecret/with+chars/0000000000000 BUCKET=weir-test REGION=us-east-1

die() { echo "rgw.sh: $*" >&2; exit 1; }

free_ports() {	# two ports that were free a moment ago
	python3 -c '
import socket
s = [socket.socket() for _ in range(2)]
for x in s: x.bind(("127.0.0.1", 0))
print(*[x.getsockname()[1] for x in s])'
}

# In memory, which takes twice what is stored. RGW_DISK=BYTES: in a sparse file of that size instead, for files of many gigabytes.
object_store() {
	if [ -n "${RGW_DISK:-}" ]; then
		printf 'osd objectstore = bluestore\nbluestore block size = %s\nbluestore block create = true\nosd memory target = 1073741824\n' "$RGW_DISK"
	else
		printf 'osd objectstore = memstore\nmemstore device bytes = 8589934592\n'
	fi
}

write_conf() {	# DIR PORT MONPORT FSID
	cat > "$1/ceph.conf" <<-C
	[global]
	fsid = $4
	mon host = [v1:127.0.0.1:$3]
	auth cluster required = none
	auth service required = none
	auth client required = none
	run dir = $1/run
	log file = $1/log/\$name.log
	admin socket = $1/run/\$name.\$pid.asok
	crash dir = $1/crash
	osd pool default size = 1
	osd pool default min size = 1
	osd pool default pg num = 1
	osd pool default pgp num = 1
	osd pool default pg autoscale mode = off
	osd crush chooseleaf type = 0
	mon allow pool size one = true
	mon warn on pool no redundancy = false
	mon max pg per osd = 1000
	ms bind ipv6 = false
	[mon.a]
	mon data = $1/mon
	[osd.0]
	osd class update on start = false
	osd class dir = $(dirname "$(ls /usr/lib/*/rados-classes/libcls_rgw.so | head -n 1)")
	osd crush update on start = false
	osd data = $1/osd
	public addr = 127.0.0.1
	cluster addr = 127.0.0.1
	$(object_store)
	[client.rgw]
	rgw frontends = beast endpoint=127.0.0.1:$2
	rgw dns name = localhost
	rgw run sync thread = false
	rgw enable usage log = false
	rgw data = $1/rgw
	C
}

aws_curl() {	# curl with this user's signature
	curl -sS -m 20 --aws-sigv4 "aws:amz:$REGION:s3" -u "$ACCESS_KEY:$SECRET_KEY" -H 'x-amz-content-sha256: UNSIGNED-PAYLOAD' "$@"
}

start_daemons() {	# DIR FSID
	local d=$1 conf="-c $1/ceph.conf" osd mon
	osd=$(cat /proc/sys/kernel/random/uuid)
	mon=$(sed -n 's/^mon host = //p' "$d/ceph.conf")
	monmaptool --create --fsid "$2" --addv a "$mon" "$d/monmap"
	ceph-mon $conf --mkfs -i a --monmap "$d/monmap" --mon-data "$d/mon"
	ceph-mon $conf -i a --mon-data "$d/mon" --pid-file "$d/mon.pid"
	timeout 30 ceph $conf osd new "$osd" 0
	ceph-osd $conf -i 0 --mkfs --osd-uuid "$osd"
	ceph-osd $conf -i 0 --pid-file "$d/osd.pid"
	timeout 30 ceph $conf osd crush add osd.0 1 root=default host=h
	timeout 60 radosgw $conf -n client.rgw --pid-file "$d/rgw.pid"
	timeout 60 radosgw-admin $conf -n client.rgw user create --uid=weir --display-name=weir \
	    --access-key="$ACCESS_KEY" --secret="$SECRET_KEY" > "$d/user.json"
}

start() {
	local d port=${2:-0} ports fsid code
	for p in ceph-mon ceph-osd radosgw radosgw-admin ceph monmaptool curl python3; do
		command -v "$p" > /dev/null || { echo "rgw.sh: $p is missing (packages ceph-mon ceph-osd radosgw ceph-common curl python3)" >&2; exit 77; }
	done
	mkdir -p "$1"
	d=$(cd "$1" && pwd)
	[ ! -e "$d/rgw.pid" ] || stop "$d"
	rm -rf "${d:?}"/{mon,osd,run,log,crash,rgw,monmap,ceph.conf,env,user.json}
	mkdir -p "$d"/{mon,osd,run,log,crash,rgw}
	read -r -a ports < <(free_ports)
	[ "$port" != 0 ] || port=${ports[0]}
	fsid=$(cat /proc/sys/kernel/random/uuid)
	write_conf "$d" "$port" "${ports[1]}" "$fsid"
	if ! start_daemons "$d" "$fsid" > "$d/log/setup" 2>&1; then
		tail -n 5 "$d/log/setup" >&2
		stop "$d"
		die "the cluster did not start, see $d/log"
	fi
	for _ in $(seq 150); do
		code=$(aws_curl -o "$d/log/bucket" -w '%{http_code}' -X PUT "http://127.0.0.1:$port/$BUCKET" 2>> "$d/log/setup") || code=000
		[ "$code" != 200 ] || break
		sleep 0.2
	done
	[ "$code" = 200 ] || { stop "$d"; die "the bucket could not be made (HTTP $code), see $d/log"; }
	cat > "$d/env" <<-E
	url=http://127.0.0.1:$port
	access_key=$ACCESS_KEY
	secret_key=$SECRET_KEY
	bucket=$BUCKET
	region=$REGION
	E
	cat "$d/env"
}

stop() {	# gently, then not
	local d=$1 f pid
	for f in rgw osd mon; do
		[ -s "$d/$f.pid" ] || continue
		pid=$(cat "$d/$f.pid")
		# A pid file may outlive its process: only a process of ours is ended.
		if tr '\0' ' ' < "/proc/$pid/cmdline" 2> /dev/null | grep -qF "$d"; then
			[ "$f" = rgw ] && kill "$pid" || kill -9 "$pid"
			for _ in $(seq 50); do kill -0 "$pid" 2> /dev/null || break; sleep 0.1; done
			kill -9 "$pid" 2> /dev/null || true
		fi
		rm -f "$d/$f.pid"
	done
}

case ${1:-} in
start) [ $# -ge 2 ] || die "usage: rgw.sh start DIR [PORT]"; start "$2" "${3:-0}" ;;
stop) [ $# -eq 2 ] || die "usage: rgw.sh stop DIR"; [ ! -d "$2" ] || stop "$(cd "$2" && pwd)" ;;
*) die "usage: rgw.sh start DIR [PORT] | stop DIR" ;;
esac
