#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# make install: what it puts where, the units as systemd reads them, and that make uninstall leaves nothing.
# weir-test: timeout=120
. "$(dirname "$0")/../lib.sh"
[ -e "$WEIR_BUILDDIR/Makefile" ] || skip_all "no build folder here"
D=$T/root
make_it() { run make -s -C "$WEIR_BUILDDIR" "$@" DESTDIR="$D" prefix=/usr sbindir=/usr/sbin; }
make_it install
is "make install" "$rc" 0
for f in bin/weir share/bash-completion/completions/weir share/zsh/vendor-completions/_weir share/fish/vendor_completions.d/weir.fish \
    lib/systemd/system/weir@.service lib/systemd/user/weir@.service share/man/man1/weir.1 share/man/man5/weir.conf.5 share/man/man8/mount.weir.8; do
	check "$f" test -s "$D/usr/$f"
done
is "mount(8)'s helper is weir itself" "$(readlink "$D/usr/sbin/mount.weir")" /usr/bin/weir
is "and ask it for a reload" "$(grep -h ^ExecReload= "$D"/usr/lib/systemd/*/weir@.service | sed 's/ -c .*//' | sort -u)" "ExecReload=/usr/bin/weir reload -q"
is "the units start the program that was installed" "$(grep -h ^ExecStart= "$D"/usr/lib/systemd/*/weir@.service | sed 's/ .*//' | sort -u)" ExecStart=/usr/bin/weir
if command -v systemd-analyze > /dev/null; then
	for kind in system user; do
		sed 's|^Exec\([A-Za-z]*\)=[^ ]*|Exec\1=/bin/true|; /^Documentation=/d' "$D/usr/lib/systemd/$kind/weir@.service" > "$T/weir@$kind.service"
		run systemd-analyze --man=no verify "$T/weir@$kind.service"
		unlike "systemd has nothing to say of the $kind unit" "$out$err" "weir@$kind"
	done
else
	skip "the units as systemd reads them" "no systemd-analyze"
fi
if command -v bash > /dev/null; then check "bash takes its completion" bash -n "$D/usr/share/bash-completion/completions/weir"; fi
make_it uninstall
is "make uninstall" "$rc" 0
is "leaves nothing" "$(find "$D" ! -type d)" ""
done_testing
