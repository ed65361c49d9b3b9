#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The bundle in an older Debian, run there by scripts/soak: a mount, a job, as root and as somebody without fusermount3.
n=0
say() { n=$((n + 1)); if [ "$2" = 0 ]; then echo "ok $n - $1"; else echo "not ok $n - $1"; sed 's/^/# /' /tmp/out; fi; }
try() { local what=$1; shift; timeout 60 "$@" > /tmp/out 2>&1; say "$what" $?; }
B=/opt/weir-bundle/bin/weir
. /etc/os-release
echo "# $PRETTY_NAME, $(ldd --version | head -n 1)"
mkdir -p /data /mnt/w && echo hello > /data/in
printf '[weir]\ncache_dir = /var/tmp/bundle-cache\n[remote a]\ntype = local\npath = /data\n' > /etc/weir-bundle.conf
try "it starts" $B --version
try "it mounts" $B mount -c /etc/weir-bundle.conf /mnt/w
try "and is read" grep -qx hello /mnt/w/a/in
try "and written" cp /bin/bash /mnt/w/a/bash
try "umount sends all" $B umount /mnt/w
try "byte for byte" cmp /bin/bash /data/bash
timeout 60 $B run --engine none -c /etc/weir-bundle.conf -- sh -c 'read x < /storage/a/in; echo "job: $x" > /storage/a/out; exit 7' > /tmp/out 2>&1
[ $? -eq 7 ]; say "a job keeps its exit code" $?
try "and what it wrote" grep -qx 'job: hello' /data/out
try "a command of the host still has the host's libraries" $B run --engine none -c /etc/weir-bundle.conf -- sh -c '! grep -q /opt/weir-bundle /proc/self/maps'
# A cluster's user: no root, no fusermount3.
id soak > /dev/null 2>&1 || useradd -m soak
mkdir -p /home/soak/data && echo mine > /home/soak/data/in
printf '[weir]\ncache_dir = /home/soak/cache\n[remote a]\ntype = local\npath = /home/soak/data\n' > /home/soak/weir.conf
chown -R soak: /home/soak
timeout 60 setpriv --reuid soak --regid soak --init-groups env HOME=/home/soak $B run --engine none -c /home/soak/weir.conf -- sh -c 'cp /storage/a/in /storage/a/out' > /tmp/out 2>&1
say "a user's job without fusermount3" $?
try "wrote, too" grep -qx mine /home/soak/data/out
echo "1..$n"
