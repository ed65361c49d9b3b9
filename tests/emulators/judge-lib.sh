# SPDX-License-Identifier: Apache-2.0
# Sourced by the judges: TAP, and an emulator on a port of the kernel's choice in a folder of its own.
# shellcheck shell=bash
set -u
unset AWS_CA_BUNDLE AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN http_proxy https_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY
export LC_ALL=C.UTF-8

judge_n=0
judge_failed=0
judge_pid=
judge_dir=$(mktemp -d "${TMPDIR:-/tmp}/judge.XXXXXX")

judge_end() {
	[ -n "$judge_pid" ] && kill "$judge_pid" 2>/dev/null
	rm -rf "$judge_dir"
}
trap judge_end EXIT
trap 'exit 1' INT TERM

judge_skip() {
	echo "1..0 # SKIP $*"
	exit 77
}

judge_need() {
	for tool; do
		command -v "$tool" >/dev/null || judge_skip "$tool is not installed"
	done
}

# check NAME COMMAND...: one test point; what the command said is shown when it fails.
check() {
	local name=$1
	shift
	judge_n=$((judge_n + 1))
	if timeout "${JUDGE_TIMEOUT:-120}" "$@" >"$judge_dir/said" 2>&1; then
		echo "ok $judge_n - $name"
	else
		echo "not ok $judge_n - $name"
		sed 's/^/# /' "$judge_dir/said" | tail -n 40
		judge_failed=$((judge_failed + 1))
	fi
}

judge_done() {
	echo "1..$judge_n"
	[ "$judge_failed" -eq 0 ]
	exit
}

# emu_start PROGRAM ARGS...: sets emu_url.
emu_start() {
	local line=
	: >"$judge_dir/listening" # what an earlier one said there is not this one's
	"$@" --port "${emu_port:-0}" --die-with-parent >"$judge_dir/listening" 2>>"$judge_dir/emu.err" &
	judge_pid=$!
	for _ in $(seq 100); do
		read -r line <"$judge_dir/listening" && break
		kill -0 "$judge_pid" 2>/dev/null || break
		sleep 0.05
	done
	case $line in
	"listening on "*) emu_url=http://${line#listening on } ;;
	*)
		echo "Bail out! $1 does not start: $(cat "$judge_dir/emu.err")"
		exit 1
		;;
	esac
}

emu_stop() {
	kill "$judge_pid" && wait "$judge_pid"
	judge_pid=
}

# Functions as arguments of check run under timeout, which needs a program: hand them to a shell.
in_shell() {
	local name=$1
	shift
	export -f "${judge_functions[@]}"
	check "$name" bash -c "$*"
}
