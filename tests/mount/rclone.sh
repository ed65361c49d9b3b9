#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A mount through a real rclone: written, edited and renamed like any other, compared through rclone itself; an rclone that is
# killed under load comes back and nothing is lost; no rclone outlives the mount, or a worker that is killed.
# weir-test: timeout=240
. "$(dirname "$0")/../lib.sh"
command -v rclone > /dev/null || skip_all "rclone is not installed"

far=$T/far
mkdir -p "$far" "$T/plain"
export RCLONE_CONFIG=$T/rclone.conf
rclone config create dark crypt remote "$far" password "a word" --obscure > /dev/null 2>&1 || skip_all "rclone makes no configuration"
cat > "$CONF" <<- C
	[weir]
	cache_dir = $T/cache
	[remote dark]
	type = rclone
	remote = dark:
	config = $RCLONE_CONFIG
	[remote plain]
	type = local
	path = $T/plain
C
chmod 600 "$CONF"

rclones() { pgrep -f "^rclone serve webdav .* dark:" | sort -n; }
try() {	# PROMISE FUNCTION…
	local what=$1
	shift
	if "$@" > "$T/try" 2>&1; then pass "$what"; else fail "$what" "$(tail -n 5 "$T/try")"; fi
}
sent() { timeout 120 "$WEIR" flush "$MNT"; }
far_is() { timeout 60 rclone cat "dark:$1" | cmp - "$2"; }	# PATH FILE

start_mount
mkdir -p "$T/src"
head -c 3000000 /dev/urandom > "$T/src/big"
echo "first" > "$T/src/small"
check "files are written" cp -r "$T/src" "$MNT/dark/dir"
try "they are sent" sent
try "rclone sees the large one" far_is dir/big "$T/src/big"
try "rclone sees the small one" far_is dir/small "$T/src/small"
unlike "the far side holds no plain name" "$(ls -R "$far")" "small|big"

echo "second" >> "$T/src/small"
printf 'XY' | dd of="$T/src/big" bs=1 seek=1000000 conv=notrunc 2> /dev/null
check "one is edited" bash -c "echo second >> '$MNT/dark/dir/small'"
check "the other in its middle" bash -c "printf XY | dd of='$MNT/dark/dir/big' bs=1 seek=1000000 conv=notrunc"
check "the folder is renamed" mv "$MNT/dark/dir" "$MNT/dark/moved"
check "a file is renamed over another one" bash -c "echo gone > '$MNT/dark/target' && mv '$MNT/dark/moved/small' '$MNT/dark/target'"
try "all is sent" sent
try "rclone sees the edited one" far_is moved/big "$T/src/big"
try "rclone sees the renamed one" far_is target "$T/src/small"
run rclone lsf -R dark:
is "and nothing else" "$(sort <<< "$out" | tr '\n' ' ')" "moved/ moved/big target "

first=$(rclones)
is "one rclone serves it" "$(wc -w <<< "$first")" 1
unlike "no password on its command line" "$(tr '\0' ' ' < "/proc/$first/cmdline")" "(pass|user)[= ]"

# Under load: every file is written once, some twice; rclone is killed again and again meanwhile.
mkdir -p "$T/load"
for i in $(seq 40); do head -c $((i * 20000)) /dev/urandom > "$T/load/f$i"; done
mkdir "$MNT/dark/load"
kills=0 wrote=0
for round in 0 1 2 3 4; do	# each time some are just being sent
	for i in $(seq $((round * 8 + 1)) $((round * 8 + 8))); do cp "$T/load/f$i" "$MNT/dark/load/f$i" && wrote=$((wrote + 1)); done
	wait_for 40 bash -c "pgrep -f '^rclone serve webdav .* dark:' > /dev/null" || break
	p=$(rclones)
	[ -z "$p" ] || { kill -9 $p && kills=$((kills + 1)); }
done
cp "$T/load/f7" "$T/load/f9" && cp "$T/load/f7" "$MNT/dark/load/f9"
is "writing goes on while rclone is killed" $wrote 40
is "it was killed each time" $kills 5
try "in the end all is sent" sent
unlike "by another rclone" " $(rclones) " " $first "
bad=0
rclone copy dark:load "$T/back" 2> "$T/copy.err"
for i in $(seq 40); do cmp "$T/load/f$i" "$T/back/f$i" > /dev/null 2>&1 || { bad=$((bad + 1)); echo "# f$i differs"; }; done
is "every file is there, whole" "$bad" 0
run bash -c "ls '$MNT/dark/load' | grep -v '^f[0-9]*$'"
is "no conflict copy, no temporary name" "$out" ""

# A change on the far side is seen.
echo "from elsewhere" > "$T/else"
rclone copyto "$T/else" dark:load/elsewhere
check "refresh" "$WEIR" refresh "$MNT/dark/load"
try "what somebody else put there is seen" wait_for 30 cmp "$T/else" "$MNT/dark/load/elsewhere"

kill -9 "$(worker_pid)"
wait_for 30 bash -c "cmp '$T/load/f1' '$MNT/dark/load/f1'"
check "the next worker serves it again" cmp "$T/load/f2" "$MNT/dark/load/f2"
echo more > "$MNT/dark/more"
try "and sends" sent
is "no rclone of the dead worker is left" "$(rclones | wc -l)" 1

try "umount" stop_mount
is "no rclone is left" "$(rclones)" ""

sed -i 's/^remote = dark:$/remote = nosuch:/' "$CONF"
refuse "an unknown remote is refused in rclone's own words" ! "nosuch.*didn't find section in config file" "$WEIR" mount -c "$CONF" "$MNT"
sed -i 's/^remote = nosuch:$/&\nrclone = \/nonexistent\/rclone/' "$CONF"
refuse "a missing rclone is named" ! "/nonexistent/rclone.*(install|rclone = PATH)" "$WEIR" mount -c "$CONF" "$MNT"
done_testing
