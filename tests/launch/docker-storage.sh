#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# contrib/docker-storage: the entry point of a storage sidecar, with the environment that the platform gives it, against the Nextcloud emulator.
# weir-test: timeout=240
. "$(dirname "$0")/../lib.sh"

command -v rclone > /dev/null || skip_all "rclone is not installed (it obscures the password)"
password='pa ss:$(touch pwned);"wörd%&'
start_emu ncemu --user alice --password "$password" || skip_all "ncemu is not built"
mkdir "$T/bin"
ln -s "$WEIR" "$T/bin/weir"
export PATH=$T/bin:$PATH
entry=$WEIR_SRCDIR/contrib/docker-storage/weir-storage
remote() { curl -sS -u "alice:$password" "$@"; }
dav=$url/remote.php/dav/files/alice
remote -X MKCOL "$dav/data" > /dev/null
echo far | remote -T - "$dav/data/there.txt" > /dev/null

export RCLONE_CONFIG=$T/rclone.conf RCLONE_CONFIG_RSHARE_TYPE=webdav RCLONE_CONFIG_RSHARE_URL=$dav RCLONE_CONFIG_RSHARE_VENDOR=nextcloud \
	RCLONE_CONFIG_RSHARE_USER=alice REMOTE_PATH=rshare:/data LOCAL_PATH="$T/my storage" WEIR_CACHE_DIR=$T/cache
: > "$RCLONE_CONFIG"
obscured=$(rclone obscure "$password")
_mounts+=("$LOCAL_PATH")

RCLONE_CONFIG_RSHARE_PASS=$(rclone obscure wrong) refuse "wrong credentials end it at once, in the server's words" ! 'refuses|401|[Pp]assword|credentials' "$entry"
RCLONE_CONFIG_RSHARE_PASS=$password refuse "a password that was not obscured is told" ! 'obscure' "$entry"
RCLONE_CONFIG_RSHARE_PASS=$obscured REMOTE_PATH=/data refuse "a REMOTE_PATH without a remote is told" 1 'not NAME:PATH' "$entry"
RCLONE_CONFIG_RSHARE_PASS= refuse "an empty value is told" 1 'RCLONE_CONFIG_RSHARE_PASS is empty' "$entry"
RCLONE_CONFIG_RSHARE_USER=$(printf 'alice\n[weir]\nquota = 0') RCLONE_CONFIG_RSHARE_PASS=$obscured \
	refuse "a value of several lines is refused" 1 'more than one line' "$entry"
is "nothing is mounted by any of them" "$(findmnt -n -t fuse.weir -o TARGET)" ""
export RCLONE_CONFIG_RSHARE_PASS=$obscured

up() { "$entry" > "$T/log" 2>&1 & pid=$!; wait_for 30 test -e "$LOCAL_PATH/there.txt" || bail "the entry point does not mount" "$(cat "$T/log")"; }
down() { kill -TERM $pid; wait $pid; rc=$?; }

up
is "the folder is there" "$(cat "$LOCAL_PATH/there.txt")" far
is "df tells rshare" "$(df -h -x tmpfs -x devtmpfs | grep -c rshare)" 1
is "the configuration is for its owner alone" "$(stat -c %a "$T/cache/.weir-storage/weir.conf")" 600
unlike "no process has the password on its command line" "$(tr '\0' ' ' < /proc/$pid/cmdline; cat /proc/[0-9]*/cmdline 2> /dev/null | tr '\0' ' ' | grep -o 'weir mount.*')" 'wörd'
head -c 3000000 /dev/urandom > "$T/x"
cp "$T/x" "$LOCAL_PATH/new.bin"
down
is "TERM ends it well" "$rc" 0
is "and takes the mount away" "$(findmnt -n -t fuse.weir -o TARGET)" ""
check "everything had arrived" cmp <(remote "$dav/data/new.bin") "$T/x"
is "no value ran as a command" "$(find "$T" -name pwned | wc -l)" 0

up
supervisor=$(supervisor_pid "$LOCAL_PATH")
worker=$(worker_pid "$LOCAL_PATH")
echo late > "$LOCAL_PATH/late.txt"
kill -9 "$supervisor" "$worker"
wait $pid
run ls "$LOCAL_PATH"
like "a killed one leaves a dead mount" "$err" 'not connected'
up
is "its successor takes that away and mounts" "$(cat "$LOCAL_PATH/late.txt")" late
down
is "and sends what was unsent" "$(remote "$dav/data/late.txt")" late

unset RCLONE_CONFIG_RSHARE_TYPE RCLONE_CONFIG_RSHARE_URL RCLONE_CONFIG_RSHARE_VENDOR RCLONE_CONFIG_RSHARE_USER RCLONE_CONFIG_RSHARE_PASS
printf '[other]\ntype = s3\n[rshare]\ntype = webdav\nurl = %s\nvendor = nextcloud\nuser = alice\npass = %s\n[third]\ntype = memory\n' "$dav" "$obscured" > "$RCLONE_CONFIG"
up
is "the remote may stand in the file RCLONE_CONFIG" "$(cat "$LOCAL_PATH/there.txt")" far
down
is "and ends as well" "$rc" 0
done_testing
