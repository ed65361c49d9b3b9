#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A real WebDAV server for tests: Apache mod_dav as a process of its own on loopback, with a configuration of its own.
#   apache-dav.sh start DIR [PORT] [https]     prints url= user= password= (and ca_file=), and writes them to DIR/env
#   apache-dav.sh stop DIR
# DIR/data is what it serves under /dav/. Besides: /readonly/ (the same folder, reading only), /moved/ (redirects to
# /dav/), /plain/ (no WebDAV), /limited/ (requests above 64 kB are refused: 413). Started by root it serves as www-data.
# With https it makes a certificate authority of its own; DIR/ca.pem is its certificate, which no system trusts.
set -eu

fail() {
	echo "apache-dav: $*" >&2
	exit 1
}

free_port() {
	perl -MIO::Socket::INET -e \
	    'print IO::Socket::INET->new(Listen => 1, LocalAddr => "127.0.0.1", LocalPort => 0)->sockport'
}

make_certificate() {
	(
		cd "$dir"
		openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj "/CN=weir test authority" \
		    -keyout ca.key -out ca.pem
		openssl req -newkey rsa:2048 -nodes -subj "/CN=127.0.0.1" -keyout server.key -out server.csr
		printf 'subjectAltName=IP:127.0.0.1,DNS:localhost\n' >server.ext
		openssl x509 -req -days 2 -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial \
		    -extfile server.ext -out server.pem
	) >"$dir/openssl.log" 2>&1 || fail "openssl failed, see $dir/openssl.log"
}

load() {
	for m in "$@"; do
		[ ! -e "$modules/mod_$m.so" ] || echo "LoadModule ${m}_module $modules/mod_$m.so"
	done
}

configuration() {
	load mpm_event authn_core authn_file authz_core authz_user auth_basic alias dav dav_fs dir mime setenvif
	[ "$scheme" = http ] || load socache_shmcb ssl
	cat <<-CONF
		ServerRoot "$dir"
		ServerName 127.0.0.1
		Listen 127.0.0.1:$port
		PidFile "$dir/apache.pid"
		ErrorLog "$dir/error.log"
		LogLevel warn
		LogFormat "%t %s %m %U %{Range}i %{If-Match}i %{If}i %b" short
		DocumentRoot "$dir/data"
		DavLockDB "$dir/lock/db"
		TypesConfig /dev/null
		Timeout 60
		KeepAliveTimeout 30
		MaxKeepAliveRequests 0
		StartServers 1
		ServerLimit 2
		ThreadsPerChild 32
		MaxRequestWorkers 64
		LimitXMLRequestBody 16777216
		LimitRequestBody 0
		LimitRequestLine 32768
		LimitRequestFieldSize 32768
		Alias /dav "$dir/data"
		Alias /readonly "$dir/data"
		Alias /limited "$dir/data"
		Alias /plain "$dir/plain"
		Redirect 301 /moved $scheme://127.0.0.1:$port/dav
		<Directory "$dir">
			Require all denied
		</Directory>
		<Directory "$dir/plain">
			Require all granted
		</Directory>
		<Directory "$dir/data">
			Options None
			AllowOverride None
			DirectoryIndex disabled
			AuthType Basic
			AuthName "weir test"
			AuthUserFile "$dir/htpasswd"
			Require valid-user
		</Directory>
		<Location /dav>
			Dav On
		</Location>
		<Location /limited>
			Dav On
			LimitRequestBody 65536
		</Location>
		<Location /readonly>
			Dav On
			<LimitExcept GET HEAD OPTIONS PROPFIND>
				Require all denied
			</LimitExcept>
		</Location>
	CONF
	if [ "$(id -u)" = 0 ]; then
		printf 'User www-data\nGroup www-data\n'
	fi
	[ -z "${APACHE_DAV_LOG:-}" ] || echo "CustomLog \"$dir/access.log\" short"
	[ "$scheme" = http ] || printf 'SSLEngine on\nSSLCertificateFile "%s"\nSSLCertificateKeyFile "%s"\n' \
	    "$dir/server.pem" "$dir/server.key"
}

answers() {
	perl -MIO::Socket::INET -e \
	    'exit(IO::Socket::INET->new(PeerAddr => "127.0.0.1", PeerPort => $ARGV[0]) ? 0 : 1)' "$port"
}

start() {
	[ ! -s "$dir/apache.pid" ] || ! kill -0 "$(cat "$dir/apache.pid")" 2>/dev/null || fail "already running in $dir"
	mkdir -p "$dir/data" "$dir/lock" "$dir/plain"
	[ "$(id -u)" != 0 ] || {
		chown www-data:www-data "$dir/data" "$dir/lock"
		chmod a+x "$dir"
	}
	echo "not a WebDAV folder" >"$dir/plain/index.html"
	# SHA1 of "sesam": a test password, and apache2-utils need not be there.
	echo 'anna:{SHA}'"$(printf sesam | openssl dgst -sha1 -binary | openssl base64)" >"$dir/htpasswd"
	chmod a+r "$dir/htpasswd"
	[ "$scheme" = http ] || make_certificate
	tries=0
	while :; do
		[ -n "$wanted" ] && port=$wanted || port=$(free_port)
		configuration >"$dir/httpd.conf"
		if "$apache" -f "$dir/httpd.conf" -k start >"$dir/start.log" 2>&1; then
			break
		fi
		tries=$((tries + 1))
		[ -z "$wanted" ] && [ $tries -lt 5 ] || fail "does not start: $(cat "$dir/start.log" "$dir/error.log" 2>/dev/null | tail -3)"
	done
	tries=0
	until answers; do
		tries=$((tries + 1))
		[ $tries -lt 100 ] || fail "does not answer on port $port, see $dir/error.log"
		sleep 0.1
	done
	{
		echo "url=$scheme://127.0.0.1:$port/dav"
		echo "user=anna"
		echo "password=sesam"
		[ "$scheme" = http ] || echo "ca_file=$dir/ca.pem"
	} >"$dir/env"
	cat "$dir/env"
}

stop() {
	[ -s "$dir/apache.pid" ] || return 0
	pid=$(cat "$dir/apache.pid")
	kill "$pid" 2>/dev/null || return 0
	tries=0
	while kill -0 "$pid" 2>/dev/null; do
		tries=$((tries + 1))
		[ $tries -lt 100 ] || {
			kill -9 "$pid"
			break
		}
		sleep 0.1
	done
	rm -f "$dir/apache.pid"
}

[ $# -ge 2 ] || fail "usage: apache-dav.sh start DIR [PORT] [https] | stop DIR"
verb=$1
mkdir -p "$2"
dir=$(cd "$2" && pwd)
shift 2
wanted= scheme=http
for word in "$@"; do
	case $word in
	https) scheme=https ;;
	*[!0-9]* | '') fail "'$word' is neither a port nor https" ;;
	*) wanted=$word ;;
	esac
done
apache=$(command -v apache2 || echo /usr/sbin/apache2)
modules=/usr/lib/apache2/modules
case $verb in
start)
	[ -x "$apache" ] && [ -e $modules/mod_dav_fs.so ] || fail "needs the package apache2"
	start
	;;
stop) stop ;;
*) fail "unknown verb '$verb'" ;;
esac
