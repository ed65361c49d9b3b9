#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The bundle, in a root that has nothing: no library, no shell, no libfuse, no /etc. There it mounts, and runs a job. And its modulefile, as module systems read it.
# weir-test: timeout=300 beside=yes
. "$(dirname "$0")/../lib.sh"
[ -e /dev/fuse ] || skip_all "no /dev/fuse"
[ "$(id -u)" = 0 ] || skip_all "not root"
printf 'int main(void) { return 0; }\n' | gcc -static -x c -o "$T/static" - 2> /dev/null || skip_all "no static libc"

LIMIT=240 XZ_OPT=-1 check "make bundle" make -s -C "$WEIR_BUILDDIR" bundle "BUNDLE=$T/weir-test.tar.xz"
R=$T/root
mkdir -p "$R"/{dev,proc,tmp,data,mnt,elsewhere,jobs}
tar -C "$R/elsewhere" -xJf "$T/weir-test.tar.xz" || bail "it does not unpack"
B=/elsewhere/weir-test
like "its programs are linked statically" "$(file "$R$B/bin/weir")" 'statically linked'
is "no library is left to the host" "$(comm -13 <(ls "$R$B/lib" | sort) <(for f in "$R$B"/lib/*; do readelf -d "$f" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p'; done | sort -u))" ""
is "of each library it says how it may be copied" "$([ "$(ls "$R$B/share/licenses" | wc -l)" -gt 10 ] && find "$R$B/share/licenses" -mindepth 1 -maxdepth 1 -type d -empty)" ""

# The job's command: a static program, which reads and writes in /storage.
cat > "$T/job.c" << 'C'
#include <stdio.h>
#include <sys/stat.h>
int main(int argc, char **argv)
{
	char line[100];
	FILE *in = fopen("/storage/a/in", "r"), *out = fopen("/storage/a/out", "w");
	if (in == NULL || out == NULL || fgets(line, sizeof(line), in) == NULL)
		return 9;
	fprintf(out, "the job read %s", line);
	return fclose(out) == 0 ? argc - 1 : 8;
}
C
gcc -static -O -o "$R/jobs/job" "$T/job.c" || bail "the job does not compile"
echo hello > "$R/data/in"
printf '[weir]\ncache_dir = /tmp/cache\n[remote a]\ntype = local\npath = /data\n' > "$R/weir.conf"

# Only /dev and /proc, in a mount namespace of this test.
mount --bind "$R" "$R" && mount -t tmpfs dev "$R/dev" || bail "cannot make the root"
for d in null zero urandom fuse; do touch "$R/dev/$d" && mount --bind "/dev/$d" "$R/dev/$d"; done
mount -t proc proc "$R/proc" || bail "no /proc"
cleanup() { umount -l "$R/mnt" "$R/proc" "$R/dev"/* "$R/dev" "$R" 2> /dev/null; }
there=(env -i HOME=/tmp PATH=/bin /usr/sbin/chroot "$R")

check "it starts in a root without anything" "${there[@]}" $B/bin/weir --version
is "there is no shell" "$("${there[@]}" /bin/sh -c true 2> /dev/null; echo $?)" 127
check "it mounts" "${there[@]}" $B/bin/weir mount -c /weir.conf /mnt
is "the tree is there" "$(cat "$R/mnt/a/in")" hello
check "and is written to" dd if="$WEIR" of="$R/mnt/a/prog" bs=1M status=none
check "status" "${there[@]}" $B/bin/weir status
like "knows it" "$out" '/mnt from /weir.conf'
is "its processes are called weir" "$(ps -o comm= -p "$(json "$("${there[@]}" $B/bin/weir status --json)" 'v["supervisor_pid"]')")" weir
check "umount sends all" "${there[@]}" $B/bin/weir umount /mnt
check "byte for byte" cmp "$WEIR" "$R/data/prog"
"${there[@]}" $B/bin/weir run --engine none -c /weir.conf -- /jobs/job one two > "$T/run" 2>&1
is "a job runs, with its own exit code" "$?" 2
is "what it wrote is at the storage" "$(cat "$R/data/out")" "the job read hello"
check "mount.weir, as mount(8) calls it" "${there[@]}" $B/bin/mount.weir /weir.conf /mnt -o ro
refuse "heeds its options" ! "Read-only" touch "$R/mnt/a/no"
check "and off again" "${there[@]}" $B/bin/weir umount /mnt

# ---- TLS: this root has no authorities, so the bundle's own count ----
start_emu ncemu --user alice --password secret || bail "no ncemu"
mkdir "$T/front"
python3 "$WEIR_SRCDIR/tests/emulators/tlsfront.py" "$T/front" "${url##*:}" cloud.example.test > "$T/front/log" 2>&1 &
_emus+=($!)
wait_for 30 grep -q '^listening on' "$T/front/log" || bail "tlsfront does not start" "$(cat "$T/front/log")"
printf '[weir]\ncache_dir = /tmp/c2\n[remote s]\ntype = nextcloud\nurl = https://cloud.example.test/\nuser = alice\npassword = secret\nproxy = http://%s\n' \
    "$(sed -n 's/^listening on //p' "$T/front/log")" > "$R/tls.conf"
chmod 600 "$R/tls.conf"
run "${there[@]}" $B/bin/weir check -c /tls.conf
is "an authority that is not among them is refused" "$rc" 1
like "by name" "$out$err" "certificate problem"
cat "$T/front/ca.pem" >> "$R$B/share/weir/ca-certificates.crt"
check "one that is" "${there[@]}" $B/bin/weir check -c /tls.conf
mkdir -p "$R/etc/pki/tls/certs" && cp "$R$B/share/weir/ca-certificates.crt" "$R/etc/pki/tls/certs/ca-bundle.crt" && rm "$R$B/share/weir/ca-certificates.crt"
check "the host's own, where another distribution keeps them" "${there[@]}" $B/bin/weir check -c /tls.conf

# ---- the modulefile ----
module_path=$R/elsewhere/weir-test/modulefiles
real=$(readlink -f "$module_path/..")
modulecmd=$(ls /usr/lib/*/modulecmd.tcl /usr/lib/modulecmd.tcl /usr/lib/*/modulecmd-compat /usr/lib/modulecmd 2> /dev/null | head -n 1)
if [ -n "$modulecmd" ]; then
	loaded=$(MODULEPATH=$module_path tclsh "$modulecmd" bash load weir 2>&1)
	like "Environment Modules load it" "$loaded" "PATH=['\"]?$real/bin"
	like "with the manual" "$loaded" "MANPATH=['\"]?$real/share/man"
else
	skip "Environment Modules load it" "not installed (package environment-modules)"
fi
if [ -x /usr/share/lmod/lmod/libexec/lmod ]; then
	loaded=$(MODULEPATH=$module_path /usr/share/lmod/lmod/libexec/lmod bash load weir 2>&1)
	like "Lmod loads it" "$loaded" "PATH=['\"]?$real/bin"
else
	skip "Lmod loads it" "not installed (package lmod)"
fi
done_testing
