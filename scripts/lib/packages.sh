# SPDX-License-Identifier: Apache-2.0
# What weir needs from Debian 12 or 13: the one list. Sourced by scripts/test, demo and bench after common.sh.
# Installs only what is missing. A package that this Debian does not have is named; what needs it becomes a named skip.

PACKAGES_build="gcc make autoconf automake pkg-config libc6-dev xz-utils
	libfuse3-dev fuse3 libcurl4-openssl-dev libssl-dev libxxhash-dev libsqlite3-dev libjansson-dev libexpat1-dev libutf8proc-dev libyaml-dev libwslay-dev
	libmicrohttpd-dev libcunit1-dev libs3-dev"
PACKAGES_test="$PACKAGES_build ca-certificates curl git python3 perl sqlite3 attr rclone s3cmd s3fs litmus nextcloud-desktop-cmd
	apache2 ceph-mon ceph-osd radosgw ceph-common util-linux procps openssl file strace openssh-server openssh-client
	python3-websockets python3-jwt python3-cryptography zsh fish environment-modules"
# A node from elsewhere brings its own npm, and Debian's would not fit beside it.
command -v npm > /dev/null || PACKAGES_test="$PACKAGES_test nodejs npm"
PACKAGES_demo="$PACKAGES_build ca-certificates curl python3 python3-sklearn s3cmd util-linux procps"
# charliecloud brings ch-run and ch-image; docker-registry is the registry that images are pulled from, on loopback.
PACKAGES_container="podman runc conmon nftables iproute2 busybox-static python3-sklearn charliecloud docker-registry apache2-utils"
PACKAGES_soak="$PACKAGES_build debootstrap systemd-container"
PACKAGES_bench="$PACKAGES_build ca-certificates curl python3 rclone s3fs ceph-mon ceph-osd radosgw ceph-common util-linux procps"

packages_missing() {	# PACKAGE… -> those that are not installed
	local p have
	have=$(dpkg-query -W -f '${db:Status-Abbrev} ${Package}\n${db:Status-Abbrev} ${Provides}\n' 2> /dev/null | sed -n 's/^ii  *//p' |
	    tr ',' '\n' | sed 's/ *(.*//; s/^ *//')
	for p in "$@"; do
		grep -qxF -- "$p" <<< "$have" || echo "$p"
	done
}

packages_apt() {	# apt-get, quietly, and without starting the servers it installs
	local policy=/usr/sbin/policy-rc.d r=0 mine=no
	if [ ! -e $policy ]; then
		mine=yes
		printf '#!/bin/sh\nexit 101\n' > $policy
		chmod +x $policy
	fi
	DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300 "$@" || r=$?
	[ $mine = no ] || rm -f $policy
	return $r
}

# packages_install SET…: what of PACKAGES_SET is missing. Never silent for long; fails only if apt itself does.
packages_install() {
	local wanted="" s missing have absent="" usable="" p
	for s in "$@"; do
		s=PACKAGES_$s
		wanted="$wanted ${!s}"
	done
	# shellcheck disable=SC2086
	missing=$(packages_missing $(printf '%s\n' $wanted | sort -u))
	[ -n "$missing" ] || return 0
	if [ "$(id -u)" != 0 ] || ! command -v apt-get > /dev/null; then
		say "missing, and only root on Debian can install them:" $missing
		return 0
	fi
	logged "apt-get update" packages_apt update || die "apt-get update failed"
	# shellcheck disable=SC2086
	have=$(LC_ALL=C apt-cache policy $missing 2> /dev/null | awk '/^[^ ].*:$/ {p = substr($0, 1, length($0) - 1)} /^  Candidate: [^(]/ {print p}')
	for p in $missing; do
		if grep -qxF -- "$p" <<< "$have"; then usable="$usable $p"; else absent="$absent $p"; fi
	done
	[ -z "$absent" ] || say "not in this Debian:$absent (what needs them is skipped)"
	[ -n "$usable" ] || return 0
	say "installing:$usable"
	# shellcheck disable=SC2086
	logged "apt-get install" packages_apt install -y --no-install-recommends $usable || die "apt-get install failed"
}
