#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# weir modules: a catalogue of 46 entries, five of them bad, from a folder, by HTTP and by git; kept for when the network is away; harmless whatever it says.
# weir-test: timeout=120 asan=yes
. "$(dirname "$0")/../lib.sh"

export XDG_CACHE_HOME=$T/xdg GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1
unset http_proxy https_proxy HTTP_PROXY HTTPS_PROXY all_proxy ALL_PROXY
PY=$WEIR_SRCDIR/tests/cli/modules.py
CAT=$T/www/c
mkdir -p "$T/www"
python3 "$PY" make "$CAT" || bail "cannot make a catalogue"

count() { json "$out" "len(v['modules'])"; }
names() { json "$out" "' '.join(m['name'] for m in v['modules'])"; }
invalid() { json "$out" "' '.join(m['name'] for m in v['modules'] if not m['valid'])"; }
BAD="../../evil module-07 module-13 module-21 module-33"
index() { echo "$XDG_CACHE_HOME"/weir/catalogue/*/index.json; }
age() { sed -i -E "s/\"(fetched|tried)\": [0-9]+/\"\\1\": $(($(date +%s) - $1))/" "$(index)"; }	# SECONDS: as if all had been fetched so long ago

# --- a folder

check "a folder is listed, without a configuration" "$WEIR" modules --offline --catalogue "$CAT"
like "all of it" "$out" '^46 modules, 5 invalid'
like "a good one with tasks, libraries and title" "$out" '^module-01 +Classification +TensorFlow +Module number 1, which sorts things$'
like "one without metadata is there" "$out" '^module-07 .*invalid: its metadata has not been fetched yet'
like "one that is no YAML is there, with the line" "$out" '^module-13 .*invalid: the file is no YAML: line 1[0-9]'
like "one that breaks two rules is there, with the first" "$out" '^module-21 .*invalid: libraries: .*and 1 more'
like "one that leads out of the catalogue is there" "$out" '^\.\./\.\./evil .*invalid: its name'
unlike "no escape sequence is shown" "$out" $'[\x01-\x08\x0b-\x1f\x7f]'
check "as JSON" "$WEIR" modules list --json --offline --catalogue "$CAT"
is "46" "$(count)" 46
is "the bad ones are marked" "$(invalid)" "$BAD"
is "every bad one says why" "$(json "$out" "all(m['problems'] for m in v['modules'] if not m['valid'])")" true

# --- looking for some

run "$WEIR" modules --json --offline --catalogue "$CAT" --library pytorch
is "by library, without case" "$(names)" "module-04 module-08 module-12 module-16 module-20 module-24 module-28 module-32 module-36 module-40 module-44"
run "$WEIR" modules --json --offline --catalogue "$CAT" --library pytorch --library keras --tag tag0
is "two libraries, and a tag" "$(names)" "module-10 module-20 module-30 module-40"
run "$WEIR" modules --json --offline --catalogue "$CAT" --task "Computer Vision" --data-type image --category "ai4 inference"
is "by task, type of data and category" "$(count)" 11
run "$WEIR" modules search --json --offline --catalogue "$CAT" COUNTS kelp4
is "by words" "$(names)" "module-04 module-40 module-42 module-44"
check "nothing is found" "$WEIR" modules search nowhere --offline --catalogue "$CAT"
like "and that is said" "$err" "none of the 46 modules"

# --- one of them

check "show" "$WEIR" modules show module-05 --offline --catalogue "$CAT"
like "its image" "$out" '^  image +example/module-05$'
like "its resources" "$out" '^  inference +6 CPUs, 1500 MB of memory, 0 GPUs$'
like "its verdict" "$out" '^  metadata +valid \(version 2\.1\.0\)$'
check "show a bad one" "$WEIR" modules show MODULE-21 --offline --catalogue "$CAT"
like "all that is wrong" "$out" "^    - libraries: 'tensorflow' is written 'TensorFlow'"
like "what could be read of it" "$out" '^  image +example/module-21$'
refuse "one that is not there" 1 "has no module 'modul-05'; did you mean 'module-05'\?" "$WEIR" modules show modul-05 --offline --catalogue "$CAT"

# --- a terminal

if out=$(LC_ALL=C.UTF-8 timeout 30 python3 "$PY" width 72 "$WEIR" modules --offline --catalogue "$CAT" 2>&1) && [ -n "$out" ]; then
	is "a table fits its terminal" "$(python3 -c 'import sys; print(max(len(l) for l in sys.argv[1].split("\n\n")[0].split("\n")))' "$out")" 72
	like "what is cut says so" "$out" '^module-12 .*…$'
else
	fail "a table fits its terminal" "$out"
fi

# --- by HTTP

python3 "$PY" serve "$T/www" "$T/port" "$T/log" 2> /dev/null &
server=$!
cleanup() { kill $server 2> /dev/null; }
wait_for 20 test -s "$T/port" || bail "no HTTP server"
HTTP=http://127.0.0.1:$(cat "$T/port")
requests() { wc -l < "$T/log"; }

refuse "offline, and never fetched" 1 "nothing of catalogue .* is kept here" "$WEIR" modules --offline --catalogue "$HTTP/c"
check "by HTTP" "$WEIR" modules list --json --catalogue "$HTTP/c"
is "46 again" "$(count)" 46
is "the same ones are bad, but for the module whose repository cannot be asked" "$(invalid)" "$BAD"
like "and that one says who did not answer" "$out" 'its metadata could not be fetched: git:'
n=$(requests)
if [ "$n" -ge 46 ]; then pass "list and metadata were asked for"; else fail "list and metadata were asked for" "$n requests"; fi
begin=$(date +%s%N)
check "again, from the cache" "$WEIR" modules list --catalogue "$HTTP/c"
end=$(date +%s%N)
echo "# 46 entries listed from the cache in $(((end - begin) / 1000000)) ms"
is "nobody was asked" "$(requests)" "$n"
like "all of it, and its age" "$out" '^46 modules, 5 invalid · .*, fetched just now$'
age 400
check "what failed is asked for again after five minutes" "$WEIR" modules list --catalogue "$HTTP/c"
is "and nothing else" "$(requests)" $((n + 1))
check "fetch of two" "$WEIR" modules fetch module-01 module-02 --catalogue "$HTTP/c"
is "asks for the list and these" "$(requests)" $((n + 4))
like "and counts" "$out" '^2 modules of .*: 2 valid, 0 invalid, 0 without metadata'
refuse "fetch of one that is not there" 1 "has no module 'nothing'" "$WEIR" modules fetch nothing --catalogue "$HTTP/c"
refuse "fetch of all says what failed" 1 "the metadata of 1 module could not be fetched" "$WEIR" modules fetch --catalogue "$HTTP/c"
age 25000
n=$(requests)
run "$WEIR" modules list --catalogue "$HTTP/c"
is "after six hours the list is asked for, metadata not" "$(requests)" $((n + 2))
if out=$(timeout 60 python3 "$PY" width 80 "$WEIR" modules fetch --catalogue "$HTTP/c" 2>&1); then
	like "progress on a terminal" "$out" 'fetching [0-9]+ of 45'
fi

# --- answers that nobody wants

mkdir -p "$T/www/odd"
for m in moved loop outside broken large none; do
	printf '[submodule "%s"]\n\tpath = %s\n\turl = %s/raw/o/%s\n' $m $m "$HTTP" $m
done > "$T/www/odd/.gitmodules"
printf '[catalogue]\nurl = %s/odd\nraw = %s/none/{owner}/{repo}/{branch}\n' "$HTTP" "$HTTP" > "$CONF"
check "odd answers" "$WEIR" modules -c "$CONF" --json
is "a redirect is followed, nothing else is taken" "$(invalid)" "broken large loop none outside"
like "too large" "$out" 'it has more than [0-9]+ bytes'
like "no end of redirects" "$out" 'too many redirects'
like "an error of the server" "$out" 'HTTP 500'
like "none" "$out" 'its repository has no ai4-metadata.yml'
unlike "no file of this machine" "$out" "$(hostname | sed 's/[^a-z0-9]/./g')"

# --- a folder whose submodules are not checked out, and a forge of one's own

mkdir -p "$T/www/forge/example" "$T/bare"
for i in 01 02; do
	mkdir -p "$T/www/forge/example/module-$i/main" "$T/bare/module-$i"
	cp "$CAT/module-$i/ai4-metadata.yml" "$T/www/forge/example/module-$i/main/"
done
head -8 "$CAT/.gitmodules" > "$T/bare/.gitmodules"
printf '[catalogue]\nurl = %s\nraw = %s/forge/{owner}/{repo}/{branch}\nregistry = registry.example.org:5000\n' "$T/bare" "$HTTP" > "$CONF"
check "submodules by the forge's addresses" "$WEIR" modules -c "$CONF" --json
is "both are good" "$(names):$(invalid)" "module-01 module-02:"
like "the registry stands before the image" "$out" '"image": "registry.example.org:5000/example/module-01"'

# --- the network goes away

export XDG_CACHE_HOME=$T/xdg2
run "$WEIR" modules fetch --catalogue "$HTTP/c"
kill $server
wait $server 2> /dev/null
check "young enough: nobody need answer" "$WEIR" modules list --catalogue "$HTTP/c"
unlike "nothing is said about the list" "$err" "this is what it was"
age 90000
check "an old one is used when nobody answers" "$WEIR" modules list --json --catalogue "$HTTP/c"
is "all of it" "$(count)" 46
like "with a word" "$err" "^weir: catalogue $HTTP/c: .*; this is what it was 1 day ago"
check "so is one module" "$WEIR" modules show module-03 --catalogue "$HTTP/c"
refuse "but fetch fails" 1 "^weir: catalogue $HTTP/c: " "$WEIR" modules fetch --catalogue "$HTTP/c"
check "offline says nothing" "$WEIR" modules list --offline --catalogue "$HTTP/c"
is "nothing" "$err" ""

# --- by git

if ! command -v git > /dev/null; then
	skip "by git" "there is no git"
else
	export XDG_CACHE_HOME=$T/xdg3
	g() { git -c user.name=t -c user.email=t@example.org -c init.defaultBranch=main "$@" > /dev/null 2>&1; }
	repo() {	# NAME: what is in $T/git/NAME becomes a repository
		(cd "$T/git/$1" && g init && g add -A && g commit -m x) || bail "git cannot make a repository"
	}
	mkdir -p "$T/git/a" "$T/git/empty" "$T/git/cat/inside" "$T/git/cat/deep/er"
	cp "$CAT/module-01/ai4-metadata.yml" "$T/git/a/"
	cp "$CAT/module-02/ai4-metadata.yml" "$T/git/cat/inside/"
	cp "$CAT/module-02/ai4-metadata.yml" "$T/git/cat/deep/er/"
	touch "$T/git/empty/x"
	ln -s /etc/hostname "$T/git/cat/hostname"
	{
		printf '[submodule "a"]\n\tpath = a\n\turl = ../a\n\tbranch = main\n'
		printf '[submodule "abs"]\n\tpath = abs\n\turl = file://%s/git/a\n' "$T"
		printf '[submodule "b"]\n\tpath = b\n\turl = ../a\n\tbranch = nobranch\n'
		printf '[submodule "empty"]\n\tpath = empty\n\turl = ../empty\n'
		printf '[submodule "gone"]\n\tpath = gone\n\turl = ../gone\n'
		printf '[submodule "run"]\n\tpath = run\n\turl = "ext::touch %s/owned"\n' "$T"
	} > "$T/git/cat/.gitmodules"
	repo a
	repo empty
	repo cat
	check "by git" "$WEIR" modules --json --catalogue "file://$T/git/cat"
	is "submodules, and what lies in the repository itself" "$(names)" "a abs b empty gone inside run"
	is "the bad ones" "$(invalid)" "b empty gone run"
	like "no such branch" "$out" 'its metadata could not be fetched: git: .*nobranch'
	like "no metadata" "$out" 'its repository has no ai4-metadata.yml'
	is "nothing was run, nothing is left" "$(ls -d "$T/owned" "$XDG_CACHE_HOME"/weir/catalogue/*/clone.* 2> /dev/null)" ""
	mv "$T/git/cat" "$T/git/was"
	check "it is kept" "$WEIR" modules --json --catalogue "file://$T/git/cat"
	is "all of it" "$(names)" "a abs b empty gone inside run"
	git clone -q --bare "$T/git/was" "$T/git/bare.git" 2> /dev/null
	check "a bare repository's folder" "$WEIR" modules --json --catalogue "$T/git/bare.git"
	is "has the same" "$(names)" "a abs b empty gone inside run"
	printf '[submodule "local"]\n\tpath = local\n\turl = file://%s/git/a\n[submodule "p"]\n\tpath = p\n\turl = %s/git/a\n' "$T" "$T" > "$T/list"
	mkdir -p "$T/www/far"
	cp "$T/list" "$T/www/far/.gitmodules"
	python3 "$PY" serve "$T/www" "$T/port2" "$T/log" 2> /dev/null &
	server=$!
	wait_for 20 test -s "$T/port2" || bail "no HTTP server"
	check "a catalogue from elsewhere" "$WEIR" modules --json --catalogue "http://127.0.0.1:$(cat "$T/port2")/far"
	is "names no repositories of this machine" "$(invalid)" "local p"
	kill $server
fi

# --- judging a file of one's own

check "a good file" "$WEIR" modules check "$CAT/module-01/ai4-metadata.yml"
like "is valid" "$out" ': valid$'
run "$WEIR" modules check "$CAT/module-01/ai4-metadata.yml" "$CAT/module-21/ai4-metadata.yml"
is "a bad one beside it: status 1" "$rc" 1
like "and sentences" "$out" "^  - libraries: 'tensorflow' is written 'TensorFlow'"
refuse "a file that is not there" 1 "No such file" "$WEIR" modules check "$T/none"

# --- wrong command lines and configurations

refuse "an unknown command" 2 "'lst' is none of list, search, show, fetch, check" "$WEIR" modules lst
refuse "show without a module" 2 "modules show: something is missing: it wants 'MODULE…'" "$WEIR" modules show
refuse "list takes no word" 2 "modules list: too much: 'x'" "$WEIR" modules list x
refuse "a folder that is not there" 1 "catalogue: '/nowhere': No such file" "$WEIR" modules --catalogue /nowhere
refuse "a folder that is no catalogue" 1 "is no catalogue: it has neither a .gitmodules nor a folder with ai4-metadata.yml" "$WEIR" modules --catalogue "$T/home"
refuse "an address that is none" 3 "catalogue: 'ftp://x/y' is neither a folder nor an address" "$WEIR" modules --catalogue ftp://x/y
refuse "a password in an address" 3 "an address with a password in it" "$WEIR" modules --catalogue https://u:p@example.org/c
for row in "url = somewhere|url: 'somewhere' is neither a folder" "registry = https://x/|registry: 'https://x/' is no registry" "raw = ftp://x|raw: 'ftp://x' must be like" \
    "where = x|unknown key 'where' in \[catalogue\]"; do
	printf '[catalogue]\n%s\n' "${row%%|*}" > "$CONF"
	refuse "[catalogue] ${row%%|*}" 3 "$CONF:2: .*${row#*|}" "$WEIR" modules -c "$CONF"
	refuse "[catalogue] ${row%%|*}: check says so too" 3 "$CONF:2: .*${row#*|}" "$WEIR" check -c "$CONF"
done
done_testing
