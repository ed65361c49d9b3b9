#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# weir completion: bash, zsh and fish themselves judge it.
. "$(dirname "$0")/../lib.sh"
mkdir "$T/bin"
ln -s "$WEIR" "$T/bin/weir"
PATH=$T/bin:$PATH
verbs=$("$WEIR" --help | sed -n 's/^  \([a-z]*\) .*/\1/p')
for s in bash zsh fish; do
	check "$s: is printed" "$WEIR" completion $s
	echo "$out" > "$T/$s"
	missing=
	for v in $verbs; do grep -qE "(^|[^a-z])$v([^a-z]|$)" "$T/$s" || missing="$missing $v"; done
	is "$s: knows every verb" "$missing" ""
done
refuse "another shell" 2 "not a shell that it knows" "$WEIR" completion tcsh
refuse "no shell" 2 "something is missing" "$WEIR" completion

# --- bash --------------------------------------------------------------------------------------------------------------
cat > "$T/try" <<'END'
source "$1"
shift
COMP_WORDS=("$@")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_weir
printf '%s\n' "${COMPREPLY[@]}" | sort | tr '\n' ' '
END
tab() { is "bash: weir $1" "$(bash "$T/try" "$T/bash" weir "${@:3}" 2>&1)" "$2"; }
cd "$T" && mkdir folder && touch file && mkdir "$T/c" && cd "$T/c" && mkdir folder && touch file
tab "mo" "modules mount " mo
tab "train --storage-mode" "mount stage " train --storage-mode ""
tab "run --engine po" "podman " run --engine po
tab "umount --no" "--now " umount --no
tab "modules se" "search " modules se
tab "mount FILE" "file folder " mount f
tab "mount --config" "file folder " mount --config f
tab "run --workdir: folders" "folder " run --workdir f
tab "run -- FILE" "file " run -- fi
tab "run --cpus: nothing" " " run --cpus ""
tab "help ru" "run " help ru
bash -c 'trap "" TERM; "$0" run -d --name tabbed -- sleep 20' "$WEIR" > /dev/null 2>&1
tab "stop: jobs" "tabbed " stop ""
"$WEIR" stop --grace 1s tabbed > /dev/null 2>&1
check "the job ends" "$WEIR" rm --all

# --- zsh and fish ------------------------------------------------------------------------------------------------------
if command -v zsh > /dev/null; then
	check "zsh: it is zsh's" zsh -n "$T/zsh"
	run zsh -f -c 'autoload -Uz compinit; compinit -u -D; source "$0"; echo "${_comps[weir]}"' "$T/zsh"
	is "zsh: it is bound to weir" "$out$err" _weir
else
	skip "zsh" "zsh is not installed"
fi
if command -v fish > /dev/null; then
	fish_tab() { is "fish: weir $1" "$(fish --no-config -c 'source $argv[1]; complete -C $argv[2]' "$T/fish" "weir $1" | cut -f 1 | sort | tr '\n' ' ')" "$2"; }
	fish_tab mo "modules mount "
	fish_tab "train --storage-mode " "mount stage "
	fish_tab "umount --no" "--now "
	fish_tab "run --workdir f" "folder/ "
else
	skip "fish" "fish is not installed"
fi
done_testing
