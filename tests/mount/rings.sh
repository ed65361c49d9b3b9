#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Names that wait for each other before anything of it is sent: a directory that goes into a new one of its own old name, a parent and a child that change
# places, a file whose name becomes its directory's. All arrives, as it is here.
# weir-test: timeout=180 asan=yes
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/remotes.sh"
[ -e /dev/fuse ] || skip_all "no /dev/fuse"
mkdir -p "$T/remote/local"
printf '[weir]\ncache_dir = %s\n[remote local]\ntype = local\npath = %s\n' "$T/cache" "$T/remote/local" > "$CONF"
remotes=local
if start_emu s3emu --access-key key --secret-key secret --bucket bucket; then
	printf '[remote s]\ntype = s3\nendpoint = %s\nregion = us-east-1\nbucket = bucket\naccess_key = key\nsecret_key = secret\n' "$url" >> "$CONF"
	remotes="local s"
fi
chmod 600 "$CONF"
start_mount
tree() { (cd "$1" && find . -type f -exec sha256sum {} + | sort -k 2); }
both() { "$@" "$MNT/$r" && "$@" "$T/model.$r"; }
seed() { mkdir -p "$1/p/sub" "$1/u/v" && echo 1 > "$1/p/sub/f" && echo f > "$1/f" && echo w > "$1/u/v/w" && echo a > "$1/a" && echo b > "$1/b"; }
into_itself() { (cd "$1" && mv p x && mkdir p && mv x p/b && echo new > p/new); }
file_to_dir() { (cd "$1" && mv f g && mkdir f && mv g f/h); }
parent_child() { (cd "$1" && mv u/v t && mv u t/u); }
three() { (cd "$1" && mv a z && mv b a && mv p b && mkdir p && mv z p/a); }
twice() { (cd "$1" && mv b q && mkdir -p b/c && mv q b/c/d && mv t s && mkdir t && mv s/u t/u && mv s t/u/s); }

for r in $remotes; do
	mkdir "$T/model.$r"
	both seed || bail "$r: seed"
	check "$r: seed" "$WEIR" flush "$MNT"
	for what in into_itself file_to_dir parent_child three twice; do
		both $what || bail "$r: $what"
		LIMIT=60 check "$r: $what" "$WEIR" flush "$MNT"
		is "$r: $what: here" "$(tree "$MNT/$r")" "$(tree "$T/model.$r")"
	done
done
unmounted "umount"
fresh_cache
start_mount
for r in $remotes; do
	is "$r: there" "$(tree "$MNT/$r")" "$(tree "$T/model.$r")"
done
is "nothing else is there" "$(find "$T/remote/local" -name '.weir-swap-*')" ""
done_testing
