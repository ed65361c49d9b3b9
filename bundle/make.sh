#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# make.sh PROGRAM VERSION OUT.tar.xz: what `make bundle` runs, in the build folder (completions, CC, CFLAGS by environment). Needs a C compiler with a static libc, ldd,
# strip, tar, xz. Names the folder inside like the archive.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
program=$1 version=$2 out=$3
src=$(dirname "$here")
name=$(basename "${out%.tar.xz}")
die() { echo "bundle: $*" >&2; exit 1; }

work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
top=$work/$name
mkdir -p "$top"/{bin,lib,share/{weir,completions,licenses},modulefiles/weir}

loader=$(readelf -l "$program" | sed -n 's/.*Requesting program interpreter: \(.*\)\]$/\1/p')
[ -n "$loader" ] || die "$program has no loader: is it linked statically?"
# NAME => PATH, or the loader's own PATH
ldd "$program" | awk '$2 == "=>" { print $3 } $1 ~ /^\// { print $1 }' | sort -u > "$work/libs"
! ldd "$program" | grep -F 'not found' >&2 || die "libraries are missing"
while read -r lib; do
	cp -L "$lib" "$top/lib/$(basename "$lib")"
done < "$work/libs"
[ -e "$top/lib/$(basename "$loader")" ] || cp -L "$loader" "$top/lib/"
chmod 755 "$top/lib"/*
strip -o "$top/lib/weir" "$program"
${CC:-cc} ${CFLAGS:--O2} -static -DSTUB_LOADER="\"$(basename "$loader")\"" -o "$top/bin/weir" "$here/stub.c" ||
    die "the static stub does not link (Debian: libc6-dev; Fedora: glibc-static)"
strip "$top/bin/weir"
ln -s weir "$top/bin/mount.weir"

for page in "$src"/man/*.[0-9]; do
	mkdir -p "$top/share/man/man${page##*.}"
	cp "$page" "$top/share/man/man${page##*.}/"
done
for shell in bash zsh fish; do cp "systemd/weir.$shell" "$top/share/completions/"; done
sed "s/@VERSION@/$version/g" "$here/modulefile.in" > "$top/modulefiles/weir/$version"
cp "$here/README" "$src/NEWS" "$top/"
mkdir "$top/share/licenses/weir" && cp "$src/LICENSE" "$top/share/licenses/weir/"
for ca in /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt /etc/ssl/ca-bundle.pem; do
	[ ! -s $ca ] || { cp -L $ca "$top/share/weir/ca-certificates.crt" && break; }
done
[ -e "$top/share/weir/ca-certificates.crt" ] || echo "bundle: no authorities of TLS here (package ca-certificates): hosts must have their own" >&2
# What the libraries' packages say about copying.
if command -v dpkg-query > /dev/null; then
	# dpkg knows /usr/lib/x of a merged /usr as /lib/x on Debian 12. One question for all, as each reads dpkg's whole list.
	xargs -n1 readlink -f < "$work/libs" | sed 'p; s,^/usr/,/,' | xargs dpkg-query -S 2> /dev/null | sed -n 's,^\([^:]*\).*: .*/,\1 ,p' > "$work/owners" || true
	while read -r lib; do
		p=$(awk -v file="$(basename "$(readlink -f "$lib")")" '$2 == file { print $1; exit }' "$work/owners")
		[ -n "$p" ] && [ -e "/usr/share/doc/$p/copyright" ] || { echo "bundle: no copyright file for $(basename "$lib")" >&2; continue; }
		mkdir -p "$top/share/licenses/$p" && cp -L "/usr/share/doc/$p/copyright" "$top/share/licenses/$p/"
	done < "$work/libs"
fi
chmod -R u=rwX,go=rX "$top"
tar -C "$work" --sort=name --owner=0 --group=0 --numeric-owner ${SOURCE_DATE_EPOCH:+--mtime=@$SOURCE_DATE_EPOCH} -cf - "$name" | xz -T0 > "$out.tmp"
mv "$out.tmp" "$out"
echo "$out: $(du -h "$out" | cut -f1), $(wc -l < "$work/libs") libraries"
