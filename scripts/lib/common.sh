# SPDX-License-Identifier: Apache-2.0
# What scripts/test, demo and bench share: messages, long commands with a sign of life, the build.
# Before sourcing: TOP is the top of the sources.

export PATH=/usr/sbin:/usr/bin:/sbin:/bin:$PATH	# Debian's own programs first: they are what the package list means
BUILD=${WEIR_BUILD:-$TOP/build}
LOGS=$BUILD/test-logs
STARTED=$SECONDS

say() { printf '%s\n' "$*"; }
die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }
elapsed() { printf '%d:%02d' $(((SECONDS - STARTED) / 60)) $(((SECONDS - STARTED) % 60)); }
step() { printf '[%s] %s\n' "$(elapsed)" "$*"; }

# watched SECONDS LOG LABEL COMMAND…: run it with a time limit, output to LOG, a line every half minute. Its status; 124 when over the limit.
# BEFORE_KILL and AFTER_KILL may name functions that are called with its process id around the end by force.
# The command is a function or a program; it runs in a process group of its own, which ends with the limit.
watched() {
	local limit=$1 log=$2 label=$3 pid begin=$SECONDS next=30 r=0
	shift 3
	set -m
	"$@" > "$log" 2>&1 < /dev/null &
	pid=$!
	set +m
	WATCHED_PID=$pid
	while kill -0 $pid 2> /dev/null; do
		if [ $((SECONDS - begin)) -ge "$limit" ]; then
			"${BEFORE_KILL:-:}" $pid
			kill -TERM -- -$pid 2> /dev/null
			sleep 2
			kill -KILL -- -$pid 2> /dev/null
			"${AFTER_KILL:-:}" $pid
			wait $pid 2> /dev/null
			echo "over its limit of $limit s, ended" >> "$log"
			WATCHED_PID=
			return 124
		fi
		if [ $((SECONDS - begin)) -ge $next ]; then
			step "  … $label (${next} s): $(tail -c 300 "$log" | tr -d '\r' | grep -v '^$' | tail -n 1 | cut -c -100)"
			next=$((next + 30))
		fi
		sleep 0.2
	done
	wait $pid || r=$?
	WATCHED_PID=
	return $r
}

# logged LABEL COMMAND…: for steps that must succeed; on failure the end of the log is shown.
logged() {
	local label=$1 log r=0
	shift
	mkdir -p "$LOGS"
	log=$LOGS/$(tr -c 'a-zA-Z0-9\n' - <<< "$label").log
	watched "${LIMIT:-1200}" "$log" "$label" "$@" || r=$?
	if [ $r -ne 0 ]; then
		say "--- $label failed ($r); the end of $log:"
		tail -n 40 "$log"
		say "---"
	fi
	return $r
}

build_configure() {	# DIR OPTIONS…
	local dir=$1
	shift
	mkdir -p "$dir"
	if [ ! -x "$TOP/configure" ] || [ -n "$(find "$TOP" -path "$TOP/build*" -prune -o \( -name '*.am' -o -name configure.ac \) -newer "$TOP/configure" -print -quit)" ]; then
		(cd "$TOP" && autoreconf -fi) || return 1
	fi
	if [ ! -e "$dir/Makefile" ] || [ "$TOP/configure" -nt "$dir/config.status" ] || [ "$(cat "$dir/.options" 2> /dev/null)" != "$*" ]; then
		(cd "$dir" && "$TOP/configure" -C "$@") || return 1
		echo "$*" > "$dir/.options"
	fi
}

build_make() { make -C "$1" -j"$(nproc)" "${@:2}"; }

# build_tree DIR LABEL TARGETS OPTIONS…: configured and built out of tree; TARGETS is a list in one word ("all check-programs").
build_tree() {
	local dir=$1 label=$2 targets=$3
	shift 3
	step "build $label in ${dir#"$TOP"/}"
	logged "configure $label" build_configure "$dir" "$@" || return 1
	# shellcheck disable=SC2086
	logged "make $label" build_make "$dir" $targets || return 1
}
