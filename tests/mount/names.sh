#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Names that are hard, through a mount and back on every storage: each comes back as it was after a fresh start, or is refused with an error at once
# and nothing is left of it.
# weir-test: timeout=300
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/remotes.sh"

cat > "$T/names.py" <<'P'
import errno, os, sys, unicodedata
verb, top, form = sys.argv[1:]
top = os.fsencode(top)
long_ascii, long_utf8 = b"l" * 251 + b".txt", ("\u00e9" * 127).encode() + b"x"
NAMES = [b"plain", b"trailing dot.", b"trailing space ", b" leading space", b"-rf", b"--help", b"new\nline", b"tab\there", b"a%2Fb", b"%2F", b"%", b"100%25",
         "emoji \U0001f600".encode(), "\u00e9 NFC".encode(), "e\u0301 NFD".encode(), "\u65e5\u672c\u8a9e".encode(), b"q?u=e&r#y", b"back\\slash",
         b"co:lon", b"semi;colon", b"quo'te\"s", b"<angle>", b"pipe|star*", b"..two", b"...", b".hidden", b"~tilde~", b"$HOME", b"`x`", b"nul.txt", b"con",
         b"x.rclonelink.txt", b"not utf-8 \xff", long_ascii, long_utf8, b"a", b"A"]
REFUSALS = (errno.EINVAL, errno.ENAMETOOLONG, errno.EEXIST)
MAY_REFUSE = {b"not utf-8 \xff", b"new\nline", b"tab\there", long_ascii, long_utf8, b"A", "e\u0301 NFD".encode(), b"back\\slash"}

def text(n, kind): return kind + b" " + n

if verb == "write":
    for n in NAMES:
        try:
            fd = os.open(os.path.join(top, n), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
            os.write(fd, text(n, b"file")); os.close(fd)
            d = os.path.join(top, b"d-" + n)[:255 + len(top) + 1]
            if n in (long_ascii, long_utf8): d = os.path.join(top, b"D" + n[1:] if n == long_ascii else b"dd" + n[2:])
            os.mkdir(d)
            with open(os.path.join(d, b"in it"), "wb") as f: f.write(text(n, b"dir"))
            print("ok", os.fsencode(repr(n)).decode())
        except OSError as e:
            word = "refused" if e.errno in REFUSALS and n in MAY_REFUSE else "BROKEN"
            if os.path.lexists(os.path.join(top, n)) and n != b"A": word = "LEFT"
            print(word, repr(n), errno.errorcode[e.errno])
else:
    here = {}
    for n in os.listdir(top):
        p = os.path.join(top, n)
        here[n] = open(os.path.join(p, b"in it"), "rb").read() if os.path.isdir(p) else open(p, "rb").read()
    if form == "composed":
        here = {os.fsencode(unicodedata.normalize("NFC", os.fsdecode(n))): b for n, b in here.items()}
    for n, b in sorted(here.items()): print(repr(n), repr(b))
P

one_remote() {	# NAME
	local r=$1 D=$MNT/$1/names form=exact
	[ $r != dropbox ] || form=composed	# it holds names in NFC: weir.conf(5) says so
	start_mount
	mkdir -p "$D" || bail "$r: no folder"
	run python3 "$T/names.py" write "$D" $form
	is "$r: every name is taken, or refused with a reason it may have" "$(grep -vE '^(ok|refused) ' <<< "$out")$err" ""
	grep '^refused' <<< "$out" | diag
	like "$r: most are taken" "$(grep -c '^ok' <<< "$out")" '^(2[5-9]|3[0-9])$'
	python3 "$T/names.py" read "$D" $form > "$T/before.$r"
	flushed "$r: flush"
	unmounted "$r: umount"
	fresh_cache
	start_mount
	python3 "$T/names.py" read "$D" $form > "$T/after.$r"
	check "$r: after a fresh start all are as they were" diff "$T/before.$r" "$T/after.$r"
	# A name that the server alone forbids: said by flush, with all behind it, and mended by a rename. (Refused at once, it would break who writes
	# beside under such a name and renames then.)
	case $r in
	ncemu) forbidden=x.part said="x.part.*: the server forbids names that end in '.part'" ;;
	dropbox) forbidden=desktop.ini said="desktop.ini: Dropbox keeps no file of the name 'desktop.ini'" ;;
	*) forbidden= ;;
	esac
	if [ -n "$forbidden" ]; then
		if [ $r = ncemu ]; then mkdir "$D/$forbidden" && echo waits > "$D/$forbidden/f"; else echo waits > "$D/$forbidden"; fi
		refuse "$r: a name that the server forbids is named by flush" 5 "$said" "$WEIR" flush "$MNT"
		mv "$D/$forbidden" "$D/x.whole"
		flushed "$r: and goes under another name"
	fi
	# Renamed from one to another and removed, all of them.
	check "$r: each can be renamed" python3 - "$D" <<-'P'
	import os, sys
	top = os.fsencode(sys.argv[1])
	for i, n in enumerate(sorted(os.listdir(top))):
	    os.rename(os.path.join(top, n), os.path.join(top, b"renamed %d" % i))
	P
	check "$r: and removed" rm -r "$D"
	flushed "$r: flush of that"
	unmounted "$r: umount again"
	fresh_cache
}

for r in ${WEIR_TEST_KINDS:-local rgw s3emu dav ncemu drive dropbox}; do
	if ! have_remote $r; then
		skip "$r" "$(why_not $r)"
		continue
	fi
	conf_remotes $r
	one_remote $r
done
done_testing
