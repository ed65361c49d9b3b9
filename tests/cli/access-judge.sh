#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Tokens judged by weir and by PyJWT, which nobody here wrote: good ones, forged ones, changed ones. WEIR_TEST_TOKENS says how many, WEIR_TEST_SEED which.
# weir-test: timeout=240 asan=yes
. "$(dirname "$0")/../lib.sh"

PY=/usr/bin/python3	# Debian's own, which has Debian's modules
OIDC="$PY $WEIR_SRCDIR/tests/servers/oidc.py"
$PY -c 'import jwt, cryptography' 2> /dev/null || skip_all "python3-jwt is not installed"

mkdir -p "$T/o"
for k in r1 r2 stranger; do $OIDC key "$T/o" $k || bail "no key $k"; done
$OIDC drop "$T/o" stranger
$OIDC key "$T/o" e1 ec || bail "no key e1"
cat > "$CONF" << C
[access]
issuer = https://login.test/realms/demo
audience = account
token_file = $T/o/token
keys_file = $T/o/jwks.json
[project vo.demo.eu]
C

count=${WEIR_TEST_TOKENS:-300}
[ -z "${WEIR_TEST_QUICK:-}" ] || count=100
[ -z "${WEIR_TEST_FULL:-}" ] || count=3000
LIMIT=$((count + 60))
run $PY "$WEIR_SRCDIR/tests/cli/access-judge.py" "$WEIR" "$CONF" "$T/o" "$count" "${WEIR_TEST_SEED:-1}"
if [ $rc -eq 0 ]; then pass "PyJWT and weir judge $count tokens alike: $out"; else fail "PyJWT and weir judge $count tokens alike" "$out" "$err"; fi
done_testing
