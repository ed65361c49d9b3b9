#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# git on a mount: clone, commit, fsck; and again from what the server alone has.
# weir-test: timeout=300
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/remotes.sh"
LIMIT=120
command -v git > /dev/null || skip_all "git is missing"
export GIT_AUTHOR_NAME=t GIT_AUTHOR_EMAIL=t@example.org GIT_COMMITTER_NAME=t GIT_COMMITTER_EMAIL=t@example.org GIT_CONFIG_NOSYSTEM=1
git config --global --add safe.directory '*'

origin=$T/origin
git init -q -b main "$origin"
for c in 1 2 3 4 5 6 7 8; do
	mkdir -p "$origin/dir$c"
	for f in $(seq 12); do seq $((c * f)) $((c * f + 400)) > "$origin/dir$c/file$f.txt"; done
	seq $c 300 > "$origin/changing.txt"
	git -C "$origin" add -A && git -C "$origin" commit -q -m "commit $c"
done

work() {	# REMOTE
	local r=$1 clone=$MNT/$1/clone head
	check "$r: git clone onto the mount" git clone -q --no-hardlinks "$origin" "$clone"
	check "$r: the clone has every file" diff -r --exclude .git "$origin" "$clone"
	echo changed > "$clone/changing.txt"
	rm "$clone/dir1/file1.txt"
	git -C "$clone" mv dir2 moved 2> "$T/err" || fail "$r: git mv of a folder" "$(cat "$T/err")"
	check "$r: git add" git -C "$clone" add -A
	check "$r: git commit" git -C "$clone" commit -q -m "on the mount"
	run git -C "$clone" status --porcelain
	is "$r: the work tree is clean" "$out" ""
	check "$r: git gc" git -C "$clone" gc -q
	check "$r: git fsck --full" git -C "$clone" fsck --full --strict
	head=$(git -C "$clone" rev-parse HEAD)
	flushed "$r: flush"
	unmounted "$r: umount"
	fresh_cache
	start_mount
	check "$r: git fsck --full of what the server has" git -C "$clone" fsck --full --strict
	is "$r: the commit is there" "$(git -C "$clone" rev-parse HEAD 2>&1)" "$head"
	run git -C "$clone" status --porcelain
	is "$r: the work tree is clean there too" "$out" ""
}

for r in local rgw dav; do
	if ! have_remote $r; then
		skip "$r: git" "$(why_not $r)"
		continue
	fi
	conf_remotes $r
	fresh_cache
	start_mount
	work $r
	unmounted "$r: umount at the end"
done
done_testing
