#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The command line by itself: help, wrong words, exit statuses. Nothing is mounted.
# weir-test: timeout=60 asan=yes
. "$(dirname "$0")/../lib.sh"

VERBS="mount umount status flush refresh reload du verify check run try train develop modules"
JOBS="predict jobs logs attach exec stop again rm gc"	# without -c
pages() {	# VERB: its manual
	case $1 in
	run) echo weir-run.1 ;;
	try | train | develop | predict) echo weir-run.1 weir-try.1 ;;
	jobs | logs | attach | exec | stop | again | rm | gc) echo weir-jobs.1 ;;
	modules) echo weir-modules.1 ;;
	*) echo weir.1 ;;
	esac
}
usage_status() { case $1 in run | try | train | develop) echo 240 ;; *) echo 2 ;; esac; }

check "--version" "$WEIR" --version
like "it names program and number" "$out" '^weir [0-9]+\.[0-9]+'
check "--help" "$WEIR" --help
for v in $VERBS $JOBS; do like "--help names $v" "$out" "^  $v "; done
for v in $JOBS; do
	check "$v --help" "$WEIR" "$v" --help
	like "$v --help shows its usage" "$out" "^usage: weir $v "
done
for v in $VERBS; do
	check "$v --help" "$WEIR" "$v" --help
	like "$v --help shows its usage" "$out" "^usage: weir $v "
	like "$v --help explains -c" "$out" '-c, --config FILE'
	is "$v --help says nothing on standard error" "$err" ""
done
check "help VERB is VERB --help" "$WEIR" help mount
like "help mount" "$out" '^usage: weir mount'

# Every option of every verb is in its manual.
cd "$WEIR_SRCDIR/man" || bail "no man pages"
for v in $VERBS $JOBS; do
	missing=
	for o in $("$WEIR" $v --help | sed -n 's/^  [ -][a-zA-Z ]*,* *--\([a-z-]*\).*/\1/p'); do
		grep -qE -- "(Fl|Ar|Op|,) .*-$o\b" $(pages $v) || missing="$missing --$o"
	done
	is "the manual has every option of $v" "$missing" ""
done
cd "$T" || bail "no folder"

refuse "no verb" 2 "^weir: what to do\? see 'weir --help'$" "$WEIR"
refuse "an unknown verb" 2 "^weir: unknown verb 'frobnicate'; see 'weir --help'$" "$WEIR" frobnicate
refuse "an unknown option before the verb" 2 "^weir: unknown option '--frob'" "$WEIR" --frob
for v in $VERBS; do
	status=$(usage_status $v)
	refuse "$v: an unknown long option" $status "^weir: $v: unknown option '--frob'; see 'weir $v --help'$" "$WEIR" $v --frob
	refuse "$v: an unknown letter" $status "^weir: $v: unknown option '-Z'" "$WEIR" $v -Z
	refuse "$v: -c without a file" $status "^weir: $v: option needs a value: '-c'" "$WEIR" $v -c
done
refuse "a flag with a value" 2 "^weir: status: option takes no value: '--json=yes'" "$WEIR" status --json=yes
refuse "refresh without a path" 2 "wants 'PATH'" "$WEIR" refresh
refuse "too many operands" 2 "^weir: umount: too much: 'b'" "$WEIR" umount a b
refuse "an unknown verb for help" 2 "unknown verb 'frob'" "$WEIR" help frob

conf_local a
refuse "status with nothing mounted" 4 "^weir: nothing is mounted from this configuration" "$WEIR" status -c "$CONF"
refuse "flush with nothing mounted" 4 "nothing is mounted" "$WEIR" flush -c "$CONF"
refuse "umount with nothing mounted" 4 "^weir: nothing is mounted from $CONF" "$WEIR" umount -c "$CONF"
refuse "status of a path in no mount" 4 "^weir: '/' is not in a weir mount" "$WEIR" status /
refuse "du of a path in no mount" 4 "is not in a weir mount" "$WEIR" du "$T"
refuse "umount of what is no mount" 4 "^weir: '$T' is not a weir mount" "$WEIR" umount "$T"
refuse "no configuration at all" 3 "there is no configuration: neither $HOME/.config/weir/weir.conf nor .*; give one with -c FILE" "$WEIR" check
mkdir -p "$HOME/.config/weir"
cp "$CONF" "$HOME/.config/weir/weir.conf"
check "the default configuration is found" "$WEIR" check
like "and named" "$out" "^$HOME/.config/weir/weir.conf: OK, 1 remote"

run bash -c '"$WEIR" --help > /dev/full'
is "a full standard output is a failure" "$rc" 1
like "and said" "$err" "cannot write to standard output"
done_testing
