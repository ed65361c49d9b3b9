# SPDX-License-Identifier: Apache-2.0
# The storages' own SDKs, which judge the emulators: pinned packages from npm, installed once into build/npm with their dependencies. Which
# registry they come from is npm's own configuration. Nothing of them is part of weir.
# npm_install: sets NPM_MODULES to the folder for NODE_PATH or imports; else NPM_WHY says what is missing (a skip, not a failure).

NPM_PACKAGES="googleapis@148 dropbox@10.34"

npm_install() {
	local top dir lock=
	top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
	dir=${WEIR_NPM_DIR:-$top/build/npm}
	NPM_MODULES=$dir/node_modules NPM_WHY=
	[ "$(cat "$dir/.packages" 2> /dev/null)" != "$NPM_PACKAGES" ] || return 0
	if ! command -v npm > /dev/null || ! command -v node > /dev/null; then
		NPM_WHY="node and npm are not installed"
		return 1
	fi
	if ! mkdir -p "$dir" 2> /dev/null || ! [ -w "$dir" ]; then
		NPM_WHY="no folder for npm's packages: $dir"
		return 1
	fi
	exec {lock}> "$dir/.lock"
	flock -w 300 "$lock" || { NPM_WHY="another npm does not end"; return 1; }
	if [ "$(cat "$dir/.packages" 2> /dev/null)" != "$NPM_PACKAGES" ]; then
		# shellcheck disable=SC2086
		if timeout 300 npm install --no-audit --no-fund --prefix "$dir" $NPM_PACKAGES > "$dir/install.log" 2>&1 < /dev/null; then
			echo "$NPM_PACKAGES" > "$dir/.packages"
		else
			NPM_WHY="npm cannot install $NPM_PACKAGES: $(grep -v '^$' "$dir/install.log" | tail -n 1)"
		fi
	fi
	exec {lock}>&-
	[ -z "$NPM_WHY" ]
}
