#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The proof for a fresh Debian: a new root from debootstrap, a fresh clone of this repository in it, and there scripts/demo and
# scripts/test, as root. Not part of scripts/test (it needs a mirror, 15 GB of disk and the time of both).
#
#   scripts/lib/chroot-test.sh bookworm|trixie [--dir DIR] [--keep] [--again] [--mirror URL] [demo | test [TEST-OPTIONS…]]
#
# --keep leaves the root, --again takes the one that was left, with its packages and builds, and the newest commit.
# Without demo or test: both. Output goes to the terminal and to DIR-SUITE.log; the last line of each is repeated at the end.
# This machine's apt configuration (a proxy, a certificate) is used inside while it runs, nothing of it stays.
set -uo pipefail
TOP=$(cd "$(dirname "$0")/../.." && pwd)
export PATH=/usr/sbin:/usr/bin:/sbin:/bin:$PATH
die() { echo "chroot-test.sh: $*" >&2; exit 1; }

SUITE=${1:-} DIR='' KEEP=no AGAIN=no MIRROR= WHAT=both
case $SUITE in bookworm | trixie) shift ;; *) die "which Debian: bookworm or trixie?" ;; esac
while [ $# -gt 0 ]; do
	case $1 in
	--dir) DIR=$2; shift ;;
	--keep) KEEP=yes ;;
	--again) AGAIN=yes ;;
	--mirror) MIRROR=$2; shift ;;
	demo | test) WHAT=$1; shift; break ;;
	*) die "unknown option '$1'" ;;
	esac
	shift
done
[ "$(id -u)" = 0 ] || die "needs root"
command -v debootstrap > /dev/null || die "needs the package debootstrap"
DIR=${DIR:-/var/tmp/weir-chroot}
ROOT=$DIR-$SUITE LOG=$DIR-$SUITE.log

# Everything happens in a mount namespace of its own, so that nothing stays mounted whatever happens.
if [ -z "${WEIR_CHROOT_NS:-}" ]; then
	export WEIR_CHROOT_NS=1
	args=(--dir "$DIR" ${MIRROR:+--mirror "$MIRROR"})
	[ $KEEP = no ] || args+=(--keep)
	[ $AGAIN = no ] || args+=(--again)
	[ "$WHAT" = both ] || args+=("$WHAT")
	exec unshare -m --propagation private "$0" "$SUITE" "${args[@]}" "$@"
fi

prepare() {
	if [ $AGAIN = yes ] && [ -d "$ROOT/root/weir" ]; then
		git -C "$ROOT/root/weir" fetch -q "$TOP" HEAD && git -C "$ROOT/root/weir" reset -q --hard FETCH_HEAD || die "the clone cannot be brought up to date"
		return
	fi
	rm -rf --one-file-system "$ROOT"
	mkdir -p "$ROOT"
	debootstrap --variant=minbase "$SUITE" "$ROOT" ${MIRROR:+"$MIRROR"} > "$LOG" 2>&1 || { tail -n 5 "$LOG"; die "debootstrap failed"; }
	[ ! -s /etc/ssl/certs/ca-certificates.crt ] || { mkdir -p "$ROOT/etc/ssl/certs" && cp /etc/ssl/certs/ca-certificates.crt "$ROOT/etc/ssl/certs/"; }
	cp /etc/apt/apt.conf.d/*proxy* "$ROOT/etc/apt/apt.conf.d/" 2> /dev/null
	cp -L /etc/resolv.conf /etc/hosts "$ROOT/etc/"
	git clone -q --no-hardlinks "$TOP" "$ROOT/root/weir" || die "no clone"
}

enter() {
	mount --bind "$ROOT" "$ROOT" && mount --make-private "$ROOT"
	mount -t proc proc "$ROOT/proc"
	mount --rbind /sys "$ROOT/sys" && mount --make-rprivate "$ROOT/sys"
	mount -t tmpfs -o mode=755 dev "$ROOT/dev"	# over what debootstrap made
	local d
	for d in null zero full random urandom tty fuse; do
		[ ! -e "/dev/$d" ] || { touch "$ROOT/dev/$d" && mount --bind "/dev/$d" "$ROOT/dev/$d"; }
	done
	mkdir "$ROOT/dev/pts" "$ROOT/dev/shm"
	mount -t devpts -o newinstance,ptmxmode=0666 devpts "$ROOT/dev/pts"
	ln -s pts/ptmx "$ROOT/dev/ptmx"
	mount -t tmpfs shm "$ROOT/dev/shm"
	ln -s /proc/self/fd "$ROOT/dev/fd"
}

inside() {	# NAME COMMAND…: in the clone; last line kept
	local name=$1 begin=$SECONDS r=0
	shift
	echo "== $SUITE: $*"
	env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=dumb LC_ALL=C.UTF-8 chroot "$ROOT" /bin/bash -c 'cd /root/weir && exec "$@"' - "$@" 2>&1 |
	    tee "$LOG.$name"
	r=${PIPESTATUS[0]}
	RESULTS+=("$SUITE $name: status $r after $((SECONDS - begin)) s: $(grep . "$LOG.$name" | tail -n 1)")
	[ "$r" -eq 0 ] || FAILED=1
}

RESULTS=() FAILED=0
prepare
enter
[ $WHAT = test ] || inside demo scripts/demo
[ $WHAT = demo ] || inside test scripts/test "$@"
[ $KEEP = yes ] || { umount -R -l "$ROOT"; rm -rf --one-file-system "$ROOT"; }
printf '%s\n' "" "${RESULTS[@]}"
exit $FAILED
