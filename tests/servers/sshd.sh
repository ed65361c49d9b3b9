#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A real SFTP server for tests: OpenSSH's sshd as a process of its own on loopback, with keys and a configuration of its own.
#   sshd.sh start DIR      prints host= port= user= key_file= known_hosts_file= path=, and writes them to DIR/env
#   sshd.sh stop DIR
# It lets in whoever started it, with the key in DIR, to SFTP alone; DIR/data is meant as the root. 77: its package is missing.
set -eu

fail() {
	echo "sshd: $*" >&2
	exit 1
}

free_port() {
	perl -MIO::Socket::INET -e \
	    'print IO::Socket::INET->new(Listen => 1, LocalAddr => "127.0.0.1", LocalPort => 0)->sockport'
}

answers() {
	perl -MIO::Socket::INET -e \
	    'exit(IO::Socket::INET->new(PeerAddr => "127.0.0.1", PeerPort => $ARGV[0]) ? 0 : 1)' "$port"
}

configuration() {
	cat <<-CONF
		ListenAddress 127.0.0.1
		Port $port
		HostKey $dir/host_key
		PidFile $dir/sshd.pid
		AuthorizedKeysFile $dir/authorized_keys
		StrictModes no
		UsePAM no
		PasswordAuthentication no
		KbdInteractiveAuthentication no
		PermitRootLogin prohibit-password
		PermitUserEnvironment no
		X11Forwarding no
		AllowTcpForwarding no
		MaxStartups 100
		MaxSessions 100
		Subsystem sftp internal-sftp
		ForceCommand internal-sftp
	CONF
}

start() {
	umask 077
	mkdir -p "$dir/data"
	[ "$(id -u)" != 0 ] || mkdir -p /run/sshd	# sshd's own place for its unprivileged half
	[ -e "$dir/host_key" ] || ssh-keygen -q -t ed25519 -N '' -C weir-test -f "$dir/host_key"
	[ -e "$dir/key" ] || ssh-keygen -q -t ed25519 -N '' -C weir-test -f "$dir/key"
	cp "$dir/key.pub" "$dir/authorized_keys"
	tries=0
	while :; do
		port=$(free_port)
		configuration >"$dir/sshd_config"
		"$sshd" -f "$dir/sshd_config" -E "$dir/sshd.log" && until_answers && break
		tries=$((tries + 1))
		[ $tries -lt 5 ] || fail "does not start: $(tail -n 3 "$dir/sshd.log")"
	done
	echo "[127.0.0.1]:$port $(cut -d' ' -f1,2 "$dir/host_key.pub")" >"$dir/known_hosts"
	{
		echo "host=127.0.0.1"
		echo "port=$port"
		echo "user=$(id -un)"
		echo "key_file=$dir/key"
		echo "known_hosts_file=$dir/known_hosts"
		echo "path=$dir/data"
	} >"$dir/env"
	cat "$dir/env"
}

until_answers() {
	n=0
	until answers 2>/dev/null; do
		n=$((n + 1))
		[ $n -lt 50 ] || return 1
		sleep 0.1
	done
}

stop() {
	[ -s "$dir/sshd.pid" ] || return 0
	pid=$(cat "$dir/sshd.pid")
	kill "$pid" 2>/dev/null || return 0
	n=0
	while kill -0 "$pid" 2>/dev/null; do
		n=$((n + 1))
		[ $n -lt 100 ] || {
			kill -9 "$pid"
			break
		}
		sleep 0.1
	done
	rm -f "$dir/sshd.pid"
}

[ $# -eq 2 ] || fail "usage: sshd.sh start DIR | stop DIR"
mkdir -p "$2"
dir=$(cd "$2" && pwd)
sshd=$(command -v sshd || echo /usr/sbin/sshd)
case $1 in
start)
	[ -x "$sshd" ] && command -v ssh-keygen >/dev/null || {
		echo "sshd: needs the package openssh-server" >&2
		exit 77
	}
	start
	;;
stop) stop ;;
*) fail "unknown verb '$1'" ;;
esac
