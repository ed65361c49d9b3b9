#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The test of a booted system, run in it by scripts/soak: 'prepare' before the first boot, then 'run' as a service at the end of each boot (its number: /soak.boot).
# The cloud is ncemu on the loopback; "the network" is the address 10.77.0.1, which exists only from net_up on: until then there is no route to it.
export LC_ALL=C.UTF-8 no_proxy='*'
DAV=http://10.77.0.1:8080/remote.php/dav/files/alice
_n=0
pass() { _n=$((_n + 1)); echo "ok $_n - $1"; }
fail() { _n=$((_n + 1)); echo "not ok $_n - $1"; shift; printf '%s\n' "$@" | head -c 2000 | sed 's/^/# /'; }
is() { if [ "$2" = "$3" ]; then pass "$1"; else fail "$1" "got:    $2" "wanted: $3"; fi; }
like() { if grep -qE -- "$3" <<< "$2"; then pass "$1"; else fail "$1" "got: $2" "wanted something like: $3"; fi; }
check() { local what=$1; shift; if timeout 60 "$@" > /tmp/check 2>&1; then pass "$what"; else fail "$what" "status $? of: $*" "$(cat /tmp/check)"; fi; }
wait_for() { local end=$((SECONDS + $1)); shift; until "$@" > /dev/null 2>&1; do [ $SECONDS -lt $end ] || return 1; sleep 0.1; done; }
ms() { echo $(($(date +%s%N) / 1000000)); }
unsent() { timeout 10 weir status --json "$1" | sed -n 's/^ *"unsent_files": \([0-9]*\).*/\1/p' | head -n 1; }
is_unsent() { [ "$(unsent /srv/unit)" = "$1" ]; }
net_up() {
	ip addr add 10.77.0.1/32 dev lo
	/pkg/ncemu --port 8081 --dir /srv/cloud --user alice --password secret > /dev/null 2>&1 & emu=$!
	socat TCP-LISTEN:8080,bind=10.77.0.1,fork,reuseaddr TCP:127.0.0.1:8081 & relay=$!
	wait_for 10 curl -sf -u alice:secret -X PROPFIND "$DAV/"
}
net_down() {
	kill $relay $emu
	wait $relay $emu 2> /dev/null
	ip addr del 10.77.0.1/32 dev lo
}
remote() { curl -sSf -u alice:secret "$DAV/$1"; }
remote_is() { [ "$(remote "$1" 2> /dev/null)" = "$2" ]; }
is_up() { wait_for 60 systemctl -q is-active multi-user.target; is "$1" "$(systemctl is-active multi-user.target)" active; }
main_pid() { systemctl show -P MainPID weir@data; }

prepare() {
	rm -rf /etc/weir /srv /var/cache/weir /home/alice/cache	# a system that is used again
	mkdir -p /etc/weir /srv/{cloud,unit,fstab,far,alice,alice-far,strict,broken} /var/log/journal
	id alice > /dev/null 2>&1 || useradd -m alice
	cat > /etc/weir/data.conf << 'C'
[weir]
mountpoint = /srv/unit
[remote cloud]
type = nextcloud
url = http://10.77.0.1:8080
user = alice
password = secret
C
	printf '[remote far]\ntype = local\npath = /srv/far\n' > /etc/weir/tab.conf
	sed 's/alice$/alice/' /etc/weir/data.conf | sed '/^mountpoint/d; s|^\[weir\]|[weir]\ncache_dir = /var/cache/weir/away|; s/\[remote cloud\]/[remote away]/' > /etc/weir/away.conf
	echo 'this is no configuration' > /etc/weir/broken.conf
	printf '[weir]\ncache_dir = /home/alice/cache\n[remote far]\ntype = local\npath = /srv/alice-far\n' > /home/alice/alice.conf
	chown alice: /home/alice/alice.conf /srv/alice-far /srv/alice
	chmod 600 /etc/weir/*.conf /home/alice/alice.conf
	# fuse's own word for: a user's mount may be seen by others
	sed -i 's/^#user_allow_other/user_allow_other/' /etc/fuse.conf
	cat > /etc/fstab << 'F'
/etc/weir/tab.conf	/srv/fstab	weir	_netdev,nofail,allow_other,uid=1000,gid=1000,umask=027	0 0
/etc/weir/away.conf	/srv/strict	weir	ro,_netdev,nofail,x-systemd.mount-timeout=60	0 0
/etc/weir/broken.conf	/srv/broken	weir	_netdev,nofail	0 0
/home/alice/alice.conf	/srv/alice	weir	noauto,user	0 0
F
	systemctl -q enable weir@data.service
	echo first > /srv/far/file
}

# ---- boot 1: nothing is cached, and the network comes late ----
boot_1() {
	is_up "the system is up, without a network"
	is "the unit runs before there is a network" "$(systemctl is-active weir@data)" active
	like "mounted" "$(findmnt -n -o FSTYPE,SOURCE /srv/unit)" '^fuse.weir +rshare:/etc/weir/data.conf'
	like "fstab's line is mounted" "$(findmnt -n -o FSTYPE,SOURCE,OPTIONS /srv/fstab)" '^fuse.weir +/etc/weir/tab.conf +rw,nosuid,nodev,.*allow_other'
	is "with its uid and gid" "$(stat -c '%u %g %a' /srv/fstab/far/file)" "1000 1000 644"
	is "readable for those" "$(setpriv --reuid alice --regid alice --init-groups cat /srv/fstab/far/file)" first
	like "one whose server is away is mounted, too, read-only" "$(findmnt -n -o OPTIONS /srv/strict)" '^ro,'
	like "a broken one is not, and says why in the journal" "$(findmnt -n /srv/broken; journalctl -b --no-pager -u srv-broken.mount)" 'broken.conf:1:'
	is "nothing else failed" "$(systemctl --failed --no-legend --plain | awk '{print $1}' | tr '\n' ' ')" "srv-broken.mount "
	net_up || fail "the network comes"
	remote_put seen "seen by the cache"
	wait_for 60 test -e /srv/unit/cloud/seen
	is "and the tree" "$(cat /srv/unit/cloud/seen)" "seen by the cache"
	echo written > /srv/unit/cloud/written
	wait_for 60 remote_is written written
	is "what is written arrives" "$(remote written)" written
	like "systemctl status has the state" "$(systemctl status weir@data --no-pager)" 'Status: ".*(cloud|sent|remote)'
	like "the journal has its fields" "$(journalctl -u weir@data -o verbose --no-pager)" 'WEIR_MOUNTPOINT=/srv/unit'

	# As any file system.
	like "df -t fuse.weir" "$(df -t fuse.weir)" '/srv/unit'
	check "mount -a with all mounted" sh -c 'umount /srv/fstab; mount -a -t weir; findmnt /srv/fstab'
	check "mount DIRECTORY finds its line" sh -c 'umount /srv/fstab && mount /srv/fstab && cat /srv/fstab/far/file'
	check "mount -t weir FILE DIR -o ro" sh -c 'umount /srv/fstab && mount -t weir /etc/weir/tab.conf /srv/fstab -o ro && ! touch /srv/fstab/far/no && umount /srv/fstab && mount /srv/fstab'
	alice() { timeout 60 setpriv --reuid alice --regid alice --init-groups env -i HOME=/home/alice PATH="$PATH" LC_ALL=C.UTF-8 "$@"; }
	is "a user mounts what has the option user" "$(alice mount /srv/alice 2>&1; findmnt -n -o FSTYPE /srv/alice)" fuse.weir
	is "works in it" "$(alice sh -c 'echo mine > /srv/alice/far/f; cat /srv/alice/far/f' 2>&1)" mine
	is "has it sent" "$(alice weir flush /srv/alice 2>&1; cat /srv/alice-far/f)" mine
	is "and unmounts it" "$(alice umount /srv/alice 2>&1; findmnt -n /srv/alice)" ""
	like "but not what fstab does not give to users" "$(alice mount /srv/strict 2>&1)" 'only root|superuser|permitted|[Pp]ermission|already mounted'
	like "nor what it does not name" "$(alice mount /home/alice/alice.conf /srv/broken 2>&1)" 'only root|superuser|permitted|[Pp]ermission|find'

	# reload
	pid=$(main_pid)
	exec 5< /srv/unit/cloud/seen
	mkdir -p /srv/far2 && echo second > /srv/far2/file
	printf '[remote second]\ntype = local\npath = /srv/far2\n' >> /etc/weir/data.conf
	check "systemctl reload" systemctl reload weir@data
	is "has the new remote" "$(cat /srv/unit/second/file)" second
	is "under the same mount" "$(main_pid) $(cat <&5)" "$pid seen by the cache"
	cp /etc/weir/data.conf /tmp/good.conf
	echo 'nonsense' >> /etc/weir/data.conf
	if systemctl reload weir@data > /tmp/reload 2>&1; then fail "a bad file is refused"; else pass "a bad file is refused"; fi
	cat /tmp/good.conf > /etc/weir/data.conf
	is "and the mount goes on" "$(systemctl is-active weir@data) $(cat /srv/unit/second/file)" "active second"

	# kill -9 of everything
	begin=$(ms)
	systemctl kill -s KILL weir@data
	wait_for 20 cat /srv/unit/cloud/seen
	took=$(($(ms) - begin))
	echo "# back $took ms after kill -9 of everything"
	is "kill -9 of everything: the unit is back within 5 s" "$([ $took -le 5000 ]; echo $?)" 0
	check "nothing is unsent" weir flush /srv/unit
}
remote_put() { curl -sSf -o /dev/null -u alice:secret -T - "$DAV/$1" <<< "$2"; }

# ---- boot 2: cached files without a network; upgrade; shutdown with unsent data ----
boot_2() {
	is "mounted before there is a network" "$(systemctl is-active weir@data) $(findmnt -n -o FSTYPE /srv/unit) $(findmnt -n -o FSTYPE /srv/fstab)" "active fuse.weir fuse.weir"
	is "what the cache holds is served" "$(timeout 20 cat /srv/unit/cloud/seen)" "seen by the cache"
	echo offline > /srv/unit/cloud/offline
	wait_for 20 is_unsent 1
	is "what is written waits" "$(unsent /srv/unit)" 1
	net_up
	begin=$(ms)
	wait_for 90 remote_is offline offline
	is "and is sent when the network comes" "$(remote offline)" offline
	echo "# $(($(ms) - begin)) ms after it came"

	exec 5< /srv/unit/cloud/seen 6>> /srv/unit/cloud/log
	echo one >&6
	pid=$(main_pid)
	check "an upgrade with files open" dpkg -i /pkg/weir-next.deb
	is "leaves the mount alone" "$(main_pid)" "$pid"
	is "a reader reads on" "$(cat <&5)" "seen by the cache"
	echo two >&6
	exec 6>&- 5<&-
	check "a writer writes on" weir flush /srv/unit
	is "and all arrives" "$(remote log)" $'one\ntwo'
	check "a restart takes the new program" systemctl restart weir@data
	is "and serves" "$(cat /srv/unit/cloud/seen)" "seen by the cache"

	net_down
	echo at shutdown > /srv/unit/cloud/late
	wait_for 20 is_unsent 1
	begin=$(ms)
	check "stop with unsent data" systemctl stop weir@data
	took=$(($(ms) - begin))
	echo "# stopped in $took ms"
	is "within TimeoutStopSec" "$([ $took -lt 60000 ]; echo $?)" 0
	is "unmounted" "$(findmnt -n /srv/unit)" ""
	check "start again" systemctl start weir@data
	is "the unsent file is there" "$(cat /srv/unit/cloud/late)" "at shutdown"
	# The real shutdown follows, with it unsent.
}

# ---- boot 3: after that shutdown; purge ----
boot_3() {
	like "the shutdown before ended the unit in time" "$(journalctl -b -1 -u weir@data --no-pager | tail -n 5)" 'Stopped|Deactivated successfully'
	is "no unit ran into its limit then" "$(journalctl -b -1 --no-pager | grep -c 'Stopping timed out')" 0
	net_up
	wait_for 90 remote_is late "at shutdown"
	is "what was unsent at the shutdown is sent after the boot" "$(remote late)" "at shutdown"
	net_down
	echo at purge > /srv/unit/cloud/purged
	wait_for 20 is_unsent 1
	umount /srv/fstab /srv/strict
	dpkg -P weir > /tmp/purge 2>&1
	is "purge" $? 0
	like "says where unsent data is" "$(cat /tmp/purge)" "/var/cache/weir/data is kept"
	is "the mount is gone" "$(findmnt -n -t fuse.weir)" ""
	is "so is the program, with all its files" "$(command -v weir; ls /usr/sbin/mount.weir /usr/lib/systemd/system/weir@.service /usr/share/man/man1/weir.1.gz 2> /dev/null)" ""
	is "the cache is not" "$(ls /var/cache/weir/data/meta.db)" /var/cache/weir/data/meta.db
	is "nor is the configuration" "$(ls /etc/weir/data.conf)" /etc/weir/data.conf
}

# ---- boot 4: without the package; then with it again ----
boot_4() {
	is_up "a system whose fstab names weir boots without it"
	net_up
	check "installed again" dpkg -i /pkg/weir-next.deb
	check "the unit starts" systemctl start weir@data
	wait_for 90 remote_is purged "at purge"
	is "what was unsent at the purge is sent" "$(remote purged)" "at purge"
	check "all is sent" weir flush /srv/unit
	check "fstab's lines mount" sh -c 'mount /srv/fstab && cat /srv/fstab/far/file'
	check "and off" umount /srv/fstab
}

case $1 in
prepare) prepare ;;
run)
	trap 'systemctl --no-block poweroff' EXIT
	"boot_$(cat /soak.boot)"
	echo "1..$_n"
	;;
esac
