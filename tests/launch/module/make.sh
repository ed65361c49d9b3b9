#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# make.sh FOLDER [DIGITS]: the root file system of the test module's image: busybox, this host's python3, deep-start, deepaas-cli and a model trained on
# the UCI digits (DIGITS: one folder per class; made with scripts/lib/make_digits.py when it is not there). No network.
set -eu
HERE=$(cd "$(dirname "$0")" && pwd)
ROOT=$1 DIGITS=${2:-}
busybox=$(command -v busybox)
python=$(readlink -f /usr/bin/python3)
lib=$("$python" -c 'import os; print(os.path.dirname(os.__file__))')
mkdir -p "$ROOT"/{bin,tmp,etc,srv/module,usr/bin,root,run,var/tmp,"$lib"}
cp "$busybox" "$ROOT/bin/busybox"
for a in sh cat ls echo sleep id env touch dd md5sum mkdir true date mount df cp rm grep nproc hostname; do ln -sf busybox "$ROOT/bin/$a"; done
cp "$python" "$ROOT/usr/bin/python3"
tar -C "$lib" -c --exclude=test --exclude=tests --exclude=idlelib --exclude=ensurepip --exclude=tkinter --exclude=lib2to3 --exclude=pydoc_data --exclude='config-*' \
    --exclude='__pycache__' --exclude=dist-packages --exclude=site-packages . | tar -C "$ROOT$lib" -x
{ echo "$python"; find "$lib/lib-dynload" -name '*.so'; } | xargs -n 1 ldd 2> /dev/null | awk '/=> \// { print $3 } $1 ~ /^\// { print $1 }' | sort -u | while read -r so; do
	mkdir -p "$ROOT$(dirname "$so")"
	cp -L "$so" "$ROOT$so"
done
ln -sf ../../bin/busybox "$ROOT/usr/bin/env"
echo 'root:x:0:0:root:/root:/bin/sh' > "$ROOT/etc/passwd"
cp "$HERE"/{digits,server,ide}.py "$ROOT/srv/module/"
cp "$HERE"/deep-start "$HERE"/deepaas-cli "$ROOT/usr/bin/"
if [ -z "$DIGITS" ]; then
	DIGITS=$(mktemp -d)
	/usr/bin/python3 "$HERE/../../../scripts/lib/make_digits.py" "$DIGITS"
fi
/usr/bin/python3 - "$HERE" "$DIGITS" "$ROOT/srv/module/model.json" << 'END'
import sys
sys.path.insert(0, sys.argv[1])
sys.dont_write_bytecode = True
import digits
model, accuracy = digits.train(digits.read_set(sys.argv[2]), say=lambda *a, **k: None)
assert accuracy > 0.9, accuracy
model.save(sys.argv[3])
print(f"model: accuracy {accuracy:.4f}")
END
