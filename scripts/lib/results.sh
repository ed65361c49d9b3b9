# SPDX-License-Identifier: Apache-2.0
# Counts of scripts/test: points, not files. A test that ends before its plan, or without one, has failed.

PASSED=0 FAILED=0 SKIPPED=0
FAILURES=() SKIPS=() TIMES=() DETAILS=()

result_pass() { PASSED=$((PASSED + 1)); step "ok    $1"; }

# What a log says of a failure: each point that failed with what it got, or else its end.
result_why() {	# LOG LINES
	[ -n "$1" ] && [ -s "$1" ] || return 0
	if grep -q '^not ok\b' "$1"; then
		awk '/^not ok/ {n = 12} /ERROR: AddressSanitizer|runtime error:/ {n = 16} /^ok/ {n = 0} n-- > 0' "$1" | head -n "$2"
	else
		tail -n "$2" "$1"
	fi | cut -c -400 | sed 's/^/    | /'
}

result_show() {	# LABEL LOG LINES: now, and again at the end, where only the end of the output is kept
	local why
	why=$(result_why "$2" "$3")
	[ -n "$why" ] || return 0
	printf '%s\n' "$why"
	DETAILS+=("  $1"$'\n'"$(head -n 25 <<< "$why")")
}

result_fail() {	# LABEL LOG
	FAILED=$((FAILED + 1))
	FAILURES+=("$1")
	step "FAIL  $1"
	result_show "$1" "$2" 25
}

result_skip() {	# LABEL REASON
	SKIPPED=$((SKIPPED + 1))
	SKIPS+=("$1: $2")
	step "skip  $1: $2"
}

result_counts() {	# LABEL PASSED FAILED SKIPPED SECONDS LOG
	PASSED=$((PASSED + $2)) FAILED=$((FAILED + $3)) SKIPPED=$((SKIPPED + $4))
	[ -z "$5" ] || TIMES+=("$5 $1")
	if [ "$3" -gt 0 ]; then
		step "FAIL  $1: $2 passed, $3 failed, $4 skipped${5:+, $5 s}"
		result_show "$1" "$6" 40
	else
		step "ok    $1: $2 passed$([ "$4" -eq 0 ] || echo ", $4 skipped")${5:+, $5 s}"
	fi
}

tap_skips() {	# LABEL LOG: notes every "ok N - what # SKIP why"
	local line
	while IFS= read -r line; do
		SKIPS+=("$1: $line")
	done < <(sed -n 's/^ok [0-9]* *-* *\(.*\) # [Ss][Kk][Ii][Pp] *\(.*\)/\1: \2/p' "$2")
}

tap_failures() {
	local line
	while IFS= read -r line; do
		FAILURES+=("$1: $line")
	done < <(sed -n 's/^not ok *[0-9]* *-* *//p' "$2")
}

result_tap() {	# LABEL LOG STATUS SECONDS
	local plan ok bad skip
	plan=$(sed -n 's/^1\.\.\([0-9]*\).*/\1/p' "$2" | tail -n 1)
	ok=$(grep -c '^ok\b' "$2")
	bad=$(grep -c '^not ok\b' "$2")
	skip=$(grep -ci '^ok\b.*# skip' "$2")
	if [ "$3" = 77 ] || { [ "$plan" = 0 ] && [ "$3" = 0 ]; }; then
		result_skip "$1" "$(grep . "$2" | tail -n 1 | sed 's/^1\.\.0 *# *[Ss][Kk][Ii][Pp] *//; s/^# *//')"
		return
	fi
	if [ $((ok + bad)) -eq 0 ] && [ -z "$plan" ] && [ "$3" = 0 ] && [[ $1 == emulators/* ]]; then
		result_pass "$1 ($4 s)"
		return
	fi
	tap_failures "$1" "$2"
	tap_skips "$1" "$2"
	if [ -z "$plan" ]; then
		bad=$((bad + 1))
		FAILURES+=("$1: ended without its plan (status $3)")
	elif [ $((ok + bad)) -lt "$plan" ]; then
		bad=$((bad + 1))
		FAILURES+=("$1: planned $plan points, ended after $((ok + $(grep -c '^not ok\b' "$2"))) (status $3)")
	elif [ "$3" != 0 ] && [ "$bad" -eq 0 ]; then
		bad=1
		FAILURES+=("$1: status $3")
	fi
	result_counts "$1" $((ok - skip)) "$bad" "$skip" "$4" "$2"
}

# From when its log was made to when its end was noted; nothing where the file system does not tell when a file was made.
unit_seconds() {
	local begin end
	begin=$(stat -c %W "$1.log" 2> /dev/null) end=$(stat -c %Y "$1.trs" 2> /dev/null)
	[ "${begin:-0}" -gt 0 ] && [ "${end:-0}" -ge "$begin" ] && echo $((end - begin))
}

# A program of `make check`: BASE.trs says how it ended; BASE.log holds CUnit's summary or TAP, or counts as one point.
result_unit() {	# PROGRAM BASE
	local label=${1#tests/} how row seconds ok=0 bad=0 skip=0
	how=$(sed -n 's/^:global-test-result: *//p' "$2.trs" 2> /dev/null)
	[ -n "$how" ] || how=$(sed -n 's/^:test-result: *\([A-Z]*\).*/\1/p' "$2.trs" 2> /dev/null | head -n 1)
	if [ -z "$how" ]; then
		result_fail "$label (was not built or not run)" "$LOGS/make-check.log"
		return
	fi
	if [ "$how" = SKIP ]; then
		result_skip "$label" "$(grep -v '^SKIP ' "$2.log" | grep . | tail -n 1)"
		return
	fi
	row=$(grep -E '^ *tests +[0-9]' "$2.log" | awk '{p += $4; f += $5; i += ($6 == "n/a" ? 0 : $6)} END {if (NR) print p + 0, f + 0, i + 0}')
	if [ -n "$row" ]; then
		read -r ok bad skip <<< "$row"
	elif grep -qE '^(not )?ok\b' "$2.log"; then
		skip=$(grep -ci '^ok\b.*# skip' "$2.log")
		ok=$(($(grep -c '^ok\b' "$2.log") - skip))
		bad=$(grep -c '^not ok\b' "$2.log")
		tap_skips "$label" "$2.log"
	elif [ "$how" = PASS ]; then
		ok=1
	fi
	[ "$how" = PASS ] || [ "$bad" -gt 0 ] || bad=1
	[ "$bad" -eq 0 ] || FAILURES+=("$label: $bad ($how)")
	result_counts "$label" "$ok" "$bad" "$skip" "$(unit_seconds "$2")" "$2.log"
}

times() {	# where the minutes went
	[ ${#TIMES[@]} -gt 5 ] || return 0
	say ""
	say "Longest, in seconds (make check runs four at a time, the second lane beside all):"
	printf '%s\n' "${TIMES[@]}" | sort -rn | head -n 12 | sed 's/^\([0-9]*\) /\t\1\t/'
}

# The contract leaves out, for each storage, what that storage cannot do: a line a storage (the log names each point).
skips_by_storage() {
	awk -F ': ' '$1 != "contract/contract.sh" {print "  " $0; next}
		{n[$2]++; why = $NF; if (!seen[$2, why]++) list[$2] = list[$2] (list[$2] == "" ? "" : ", ") why}
		END {for (k in n) print "  contract/contract.sh: " k ": " n[k] " points: " list[k]}'
}

summary() {	# ends the run
	local line
	times
	say ""
	if [ ${#SKIPS[@]} -gt 0 ]; then
		say "Skipped:"
		printf '%s\n' "${SKIPS[@]}" | skips_by_storage
	fi
	if [ ${#FAILURES[@]} -gt 0 ]; then
		say "Failed:"
		for line in "${FAILURES[@]}"; do say "  $line"; done
		printf '%s\n' "${DETAILS[@]}"
	fi
	if [ $PASSED -eq 0 ] && [ $FAILED -eq 0 ]; then
		say "nothing was tested: that is a failure"
		FAILED=1
	fi
	say "Took $(elapsed)."
	say "$PASSED passed, $FAILED failed, $SKIPPED skipped"
	[ $FAILED -eq 0 ] || exit 1
	exit 0
}
