# SPDX-License-Identifier: Apache-2.0
"""The measurements of scripts/bench: weir, rclone mount, s3fs, curl and the raw disk on one S3 server, in alternation.

Every measurement starts with nothing: a fresh mount with an empty cache folder, the kernel's page cache dropped. What is
compared is always the same command on the same data; only the thing behind the path differs. Times are only comparable
inside one run on one machine, so ratios are what is printed. A contender over the limit is noted as such and not asked again.
"""
import argparse
import datetime
import json
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time

import s3

CONTENDERS = ["weir", "rclone", "s3fs", "curl", "disk", "podman"]
# What weir is measured against: row, other contender, how many times faster weir has to be.
GOALS = [
    ("cold-seq", "curl", 0.6),
    ("warm-seq", "rclone", 2),
    ("small-cold-20ms", "rclone", 15),
    ("find-10k", "rclone", 20),
    ("untar", "rclone", 5),
]
MEMORY_GOAL_MIB = 256
CATALOGUE_GOAL_S = 1		# 46 modules from the cache
JOB_GOAL_S = 0.15		# what weir run may add to podman run


class OverLimit(Exception):
    pass


class Broken(Exception):
    pass


def say(*words):
    t = int(time.monotonic() - BEGIN)
    print(f"[{t // 60}:{t % 60:02d}]", *words, flush=True)


BEGIN = time.monotonic()


def drop_caches():
    os.sync()
    with open("/proc/sys/vm/drop_caches", "w") as f:
        f.write("3")


def timed(limit, *argv, shell=False, **kw):
    """Seconds a command took. The command is killed at the limit, and must succeed."""
    begin = time.monotonic()
    with subprocess.Popen(argv[0] if shell else argv, shell=shell, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          start_new_session=True, **kw) as p:
        try:
            out, err = p.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            os.killpg(p.pid, signal.SIGKILL)
            ABORT()     # what waits inside the kernel ends with the connection
            p.communicate()
            raise OverLimit from None
    took = time.monotonic() - begin
    if p.returncode:
        raise Broken(f"{argv[0]}: status {p.returncode}: {err.decode(errors='replace').strip()[-300:]}")
    timed.out = out.decode(errors="replace")
    return took


class Memory(threading.Thread):
    """Peak memory of a process and its descendants: the sum of PSS (what is shared is counted once), sampled."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid, self.peak_pss, self.peak_rss, self.ended = pid, 0, 0, threading.Event()
        self.start()

    @staticmethod
    def tree(pid):
        todo, seen = [pid], []
        while todo:
            p = todo.pop()
            seen.append(p)
            try:
                for t in os.listdir(f"/proc/{p}/task"):
                    with open(f"/proc/{p}/task/{t}/children") as f:
                        todo += [int(c) for c in f.read().split()]
            except OSError:
                pass
        return seen

    def sample(self):
        pss = rss = 0
        for p in self.tree(self.pid):
            try:
                with open(f"/proc/{p}/smaps_rollup") as f:
                    for line in f:
                        if line.startswith("Pss:"):
                            pss += int(line.split()[1])
                        elif line.startswith("Rss:"):
                            rss += int(line.split()[1])
            except OSError:
                pass
        self.peak_pss, self.peak_rss = max(self.peak_pss, pss), max(self.peak_rss, rss)

    def run(self):
        while not self.ended.wait(0.1):
            self.sample()

    def result(self):
        self.sample()
        self.ended.set()
        self.join()
        return round(self.peak_pss / 1024, 1), round(self.peak_rss / 1024, 1)


class Mount:
    """One contender's mount of one bucket in the foreground, with an empty cache; gone at the end, whatever happened."""

    def __init__(self, kind, world, bucket, endpoint):
        self.kind, self.world, self.bucket, self.endpoint = kind, world, bucket, endpoint
        self.base = os.path.join(world.work, "mounts", kind)
        self.path = os.path.join(self.base, "mnt")

    def command(self):
        w, b = self.world, self.base
        if self.kind == "weir":
            conf = os.path.join(b, "weir.conf")
            with open(conf, "w") as f:
                f.write(f"[weir]\ncache_dir = {b}/cache\n[remote s3]\ntype = s3\nendpoint = {self.endpoint}\nregion = us-east-1\n"
                        f"bucket = {self.bucket}\naccess_key = {w.access}\nsecret_key = {w.secret}\n[namespace]\n/ = s3\n")
            os.chmod(conf, 0o600)
            return [w.weir, "mount", "-f", "-c", conf, self.path]
        if self.kind == "rclone":
            conf = os.path.join(b, "rclone.conf")
            with open(conf, "w") as f:
                f.write(f"[s3]\ntype = s3\nprovider = Ceph\nendpoint = {self.endpoint}\naccess_key_id = {w.access}\n"
                        f"secret_access_key = {w.secret}\nregion = us-east-1\n")
            os.chmod(conf, 0o600)
            return ["rclone", "mount", f"s3:{self.bucket}", self.path, "--config", conf, "--cache-dir", f"{b}/cache",
                    "--vfs-cache-mode", "full"]
        password = os.path.join(b, "passwd")
        with open(password, "w") as f:
            f.write(f"{w.access}:{w.secret}\n")
        os.chmod(password, 0o600)
        return ["s3fs", self.bucket, self.path, "-f", "-o", f"passwd_file={password},url={self.endpoint},use_path_request_style,use_cache={b}/cache"]

    def __enter__(self):
        shutil.rmtree(self.base, ignore_errors=True)
        os.makedirs(self.path)
        os.makedirs(os.path.join(self.base, "cache"))
        self.log = open(os.path.join(self.world.work, f"{self.kind}.log"), "ab")
        env = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
        self.process = subprocess.Popen(self.command(), stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL, env=env, start_new_session=True)
        end = time.monotonic() + 30
        while not os.path.ismount(self.path):
            if self.process.poll() is not None or time.monotonic() > end:
                self.__exit__()
                raise Broken(f"{self.kind} did not mount, see {self.log.name}")
            time.sleep(0.02)
        device = os.stat(self.path).st_dev
        self.control = f"/sys/fs/fuse/connections/{os.minor(device)}/abort"
        self.memory = Memory(self.process.pid)
        global ABORT
        ABORT = self.abort
        return self

    def abort(self):
        try:
            with open(self.control, "w") as f:
                f.write("1")
        except OSError:
            pass

    def finish(self):
        """Peak memory, read before the end."""
        return self.memory.result()

    def __exit__(self, *_):
        global ABORT
        ABORT = lambda: None
        if hasattr(self, "memory"):
            self.memory.ended.set()
        subprocess.run(["umount", "-l", self.path], stderr=subprocess.DEVNULL)
        try:
            self.process.terminate()
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.abort() if hasattr(self, "control") else None
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        self.log.close()
        shutil.rmtree(self.base, ignore_errors=True)


ABORT = lambda: None


class World:
    """The server, the data, the folders."""

    def __init__(self, args):
        e = os.environ
        self.endpoint, self.access, self.secret = e["S3_ENDPOINT"], e["S3_ACCESS_KEY"], e["S3_SECRET_KEY"]
        self.weir, self.work = args.weir, args.work
        self.delayed = args.delayed
        self.podman = None
        self.limit = args.limit
        self.seq_bytes = (64 if args.quick else 1024) << 20
        self.small = 200 if args.quick else 2000
        self.found = (20, 50) if args.quick else (200, 50)
        self.untar = 150 if args.quick else 1500
        self.data = os.path.join(self.work, "data")
        shutil.rmtree(self.work, ignore_errors=True)
        os.makedirs(self.data)

    def client(self, bucket):
        c = s3.Client(self.endpoint, bucket, self.access, self.secret)
        c.mkbucket()
        return c

    def random_file(self, path, size):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as f:
            while size > 0:
                size -= f.write(os.urandom(min(size, 1 << 20)))

    def prepare(self, rows):
        if {"cold-seq", "warm-seq"} & set(rows):
            say(f"data: one file of {self.seq_bytes >> 20} MiB")
            self.random_file(f"{self.data}/seq/big", self.seq_bytes)
            self.client("bench-seq").put(f"{self.data}/seq/big", "big")
        if {"small-cold", "small-cold-20ms"} & set(rows):
            say(f"data: {self.small} files of 100 kB")
            for i in range(self.small):
                self.random_file(f"{self.data}/small/d{i // 100:02d}/f{i:04d}", 100_000)
            self.client("bench-small").puttree(f"{self.data}/small")
        if {"find-10k", "find-10k-20ms"} & set(rows):
            d, n = self.found
            say(f"data: {d * n} files in {d} folders")
            for i in range(d):
                for j in range(n):
                    self.random_file(f"{self.data}/find/d{i:03d}/f{j:02d}", 20 + j)
            self.client("bench-find").puttree(f"{self.data}/find")
        if "untar" in rows:
            say(f"data: a tar of {self.untar} files")
            for i in range(self.untar):
                self.random_file(f"{self.data}/untar/d{i // 30:02d}/f{i:04d}", 1000 + (i * 7919) % 30000)
            subprocess.run(["tar", "cf", f"{self.data}/untar.tar", "-C", f"{self.data}/untar", *sorted(os.listdir(f"{self.data}/untar"))], check=True)


# Every row: measure(world, contender) -> {"seconds": …, "warm": …, "pss_mib": …, "rss_mib": …}; Broken and OverLimit as they happen.
# None: the contender has no such row.

def curl_signed(world):
    return ["curl", "-sSf", "--aws-sigv4", "aws:amz:us-east-1:s3", "-u", f"{world.access}:{world.secret}", "-H", "x-amz-content-sha256: UNSIGNED-PAYLOAD"]


def read_all(world, path):
    drop_caches()
    return timed(world.limit, "dd", f"if={path}", "of=/dev/null", "bs=1M", "status=none")


def seq(world, who, first):
    local = f"{world.data}/seq/big"
    if who == "disk":
        return {"seconds": read_all(world, local), "warm": read_all(world, local)}
    if who == "curl":
        to = f"{world.work}/curl.out"
        drop_caches()
        took = timed(world.limit, *curl_signed(world), "-o", to, f"{world.endpoint}/bench-seq/big")
        warm = read_all(world, to)
        os.unlink(to)
        return {"seconds": took, "warm": warm}
    with Mount(who, world, "bench-seq", world.endpoint) as m:
        r = {"seconds": read_all(world, f"{m.path}/big")}
        r["warm"] = read_all(world, f"{m.path}/big")
        r["pss_mib"], r["rss_mib"] = m.finish()
        if first:
            timed(world.limit, "cmp", local, f"{m.path}/big")
    return r


def tar_of(world, folder):
    drop_caches()
    took = timed(world.limit, f"tar cf - -C '{folder}' . | wc -c", shell=True)
    if int(timed.out) < world.small * 100_000:
        raise Broken(f"tar of {folder} is too small: {timed.out.strip()} bytes")
    return took


def small(world, who, endpoint):
    if who == "disk":
        return {"seconds": tar_of(world, f"{world.data}/small")}
    if who == "curl":
        conf, to = f"{world.work}/urls", f"{world.work}/curl.d"
        with open(conf, "w") as f:
            for i in range(world.small):
                name = f"d{i // 100:02d}/f{i:04d}"
                f.write(f'url = "{endpoint}/bench-small/{name}"\noutput = "{to}/{name}"\n')
        drop_caches()
        took = timed(world.limit, *curl_signed(world), "--create-dirs", "-Z", "--parallel-max", "64", "--no-progress-meter", "-K", conf)
        shutil.rmtree(to)
        return {"seconds": took}
    with Mount(who, world, "bench-small", endpoint) as m:
        r = {"seconds": tar_of(world, m.path)}
        r["pss_mib"], r["rss_mib"] = m.finish()
    return r


def find_in(world, folder):
    drop_caches()
    took = timed(world.limit, f"find '{folder}' -type f -printf '%s %T@ %p\\n' | wc -l", shell=True)
    if int(timed.out) != world.found[0] * world.found[1]:
        raise Broken(f"find saw {timed.out.strip()} files")
    return took


def find(world, who, endpoint):
    if who == "disk":
        return {"seconds": find_in(world, f"{world.data}/find")}
    if who == "curl":
        return None
    with Mount(who, world, "bench-find", endpoint) as m:
        r = {"seconds": find_in(world, m.path)}
        r["pss_mib"], r["rss_mib"] = m.finish()
    return r


def untar(world, who, first):
    tar = f"{world.data}/untar.tar"
    if who == "disk":
        to = f"{world.work}/untar.d"
        os.makedirs(to)
        drop_caches()
        took = timed(world.limit, f"tar xf '{tar}' -C '{to}' && sync -f '{to}'", shell=True)
        shutil.rmtree(to)
        return {"seconds": took}
    c = world.client("bench-untar")
    c.rmtree()
    if who == "curl":   # the wire's and the server's own floor: the same files, 32 PUTs at a time, nothing unpacked
        with open(f"{world.work}/puts", "w") as f:
            for d, _, names in os.walk(f"{world.data}/untar"):
                for name in names:
                    path = os.path.join(d, name)
                    f.write(f'upload-file = "{path}"\nurl = "{world.endpoint}/bench-untar/{os.path.relpath(path, world.data + "/untar")}"\n')
        return {"seconds": timed(world.limit, *curl_signed(world), "-Z", "--parallel-max", "32", "-K", f"{world.work}/puts")}
    with Mount(who, world, "bench-untar", world.endpoint) as m:
        drop_caches()
        begin = time.monotonic()
        timed(world.limit, "tar", "xf", tar, "-C", m.path)
        flush = subprocess.Popen([world.weir, "flush", m.path], stdout=m.log, stderr=m.log) if who == "weir" else None
        while sum(1 for k, _ in c.ls() if not k.endswith("/")) < world.untar:
            if time.monotonic() - begin > world.limit:
                if flush:
                    flush.kill()
                raise OverLimit
            time.sleep(0.1)
        r = {"seconds": time.monotonic() - begin}
        if flush and flush.wait(world.limit):
            raise Broken(f"weir flush: status {flush.returncode}")
        r["pss_mib"], r["rss_mib"] = m.finish()
        if first:
            check_untar(world, c)
    return r


class Podman:
    """A podman with a store of its own and one tiny image. Where limits may not be raised and only runc runs, it is told so."""

    def __init__(self, world):
        base = os.path.join(world.work, "podman")
        root = os.path.join(base, "image")
        os.makedirs(os.path.join(root, "bin"))
        shutil.copy(shutil.which("busybox"), os.path.join(root, "bin/busybox"))
        os.symlink("busybox", os.path.join(root, "bin/true"))
        self.command = ["podman", "--root", f"{base}/root", "--runroot", f"{base}/runroot", "--storage-driver", "vfs"]
        with open(f"{base}/containers.conf", "w") as f:
            f.write('[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]\n')
        subprocess.run(f"tar -C '{root}' -c . | {' '.join(self.command)} import - weir-bench", shell=True, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if not self.runs():
            os.environ["CONTAINERS_CONF"] = f"{base}/containers.conf"
            self.command += ["--runtime", "runc"]
            if not self.runs():
                raise Broken("podman cannot run a container here")
        os.environ["WEIR_PODMAN"] = " ".join(self.command)
        os.environ["XDG_STATE_HOME"] = f"{base}/state"

    def runs(self):
        return subprocess.run([*self.command, "run", "--rm", "weir-bench", "true"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0


JOBS = 5


def job(world, who, first):
    """One container of one tiny image, from the command to its end: podman run, and weir run with the namespace at /storage, its check, refresh and flush."""
    if who not in ("weir", "podman"):
        return None
    if world.podman is None:
        world.podman = Podman(world)
    if who == "podman":
        return {"seconds": statistics.median(timed(world.limit, *world.podman.command, "run", "--rm", "weir-bench", "true") for _ in range(JOBS))}
    world.client("bench-job")
    with Mount(who, world, "bench-job", world.endpoint) as m:
        conf = os.path.join(m.base, "weir.conf")
        r = {"seconds": statistics.median(timed(world.limit, world.weir, "run", "-q", "-c", conf, "--image", "weir-bench", "--", "true") for _ in range(JOBS))}
        r["pss_mib"], r["rss_mib"] = m.finish()
    return r


def catalogue(world, who, first):
    """weir modules list of 46 entries, five of them bad, once they are in the cache."""
    if who != "weir":
        return None
    script = os.path.join(os.path.dirname(__file__), "../../tests/cli/modules.py")
    base = tempfile.mkdtemp(dir=world.work)
    env = dict(os.environ, XDG_CACHE_HOME=f"{base}/cache")
    subprocess.run([sys.executable, script, "make", f"{base}/www/c"], check=True)
    server = subprocess.Popen([sys.executable, script, "serve", f"{base}/www", f"{base}/port", f"{base}/log"])
    try:
        end = time.monotonic() + 20
        while not os.path.exists(f"{base}/port"):
            if time.monotonic() > end:
                raise Broken("no HTTP server")
            time.sleep(0.05)
        with open(f"{base}/port") as f:
            argv = [world.weir, "modules", "list", "--catalogue", f"http://127.0.0.1:{f.read()}/c"]
        out = subprocess.run(argv, env=env, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=world.limit).stdout
        if "\n46 modules, 5 invalid" not in out:
            raise Broken("the catalogue is not whole")
        return {"seconds": statistics.median(timed(world.limit, *argv, env=env) for _ in range(5))}
    finally:
        server.kill()
        server.wait()
        shutil.rmtree(base)


def check_untar(world, c):
    """Every byte is on the server, seen by a client of its own."""
    keys = [k for k, _ in c.ls() if not k.endswith("/")]
    for k in keys[::max(1, len(keys) // 50)]:
        with open(f"{world.data}/untar/{k}", "rb") as f:
            if f.read() != c.get_bytes(k):
                raise Broken(f"untar: {k} on the server differs")


ROWS = {
    "cold-seq": lambda w, who, first: seq(w, who, first),
    "small-cold": lambda w, who, first: small(w, who, w.endpoint),
    "small-cold-20ms": lambda w, who, first: small(w, who, w.delayed),
    "find-10k": lambda w, who, first: find(w, who, w.endpoint),
    "find-10k-20ms": lambda w, who, first: find(w, who, w.delayed),
    "untar": lambda w, who, first: untar(w, who, first),
    "job": job,
    "catalogue-list": catalogue,
}
DEFAULT_ROWS = ["cold-seq", "small-cold", "small-cold-20ms", "find-10k", "untar", "job", "catalogue-list"]


def measure_row(world, row, contenders, runs, results):
    over = set()
    for run in range(runs):
        for who in contenders:
            if who in over:
                continue
            entry = results.setdefault(row, {}).setdefault(who, {"seconds": []})
            begin = time.monotonic()
            try:
                r = None if who == "podman" and row != "job" else ROWS[row](world, who, run == 0)
            except OverLimit:
                entry["over"] = world.limit
                over.add(who)
                say(f"{row:16} {who:7} > {world.limit} s")
                continue
            except (Broken, s3.Error, OSError) as e:
                entry["error"] = str(e)
                over.add(who)
                say(f"{row:16} {who:7} failed: {e}")
                continue
            if r is None:
                del results[row][who]
                over.add(who)
                continue
            entry["seconds"].append(round(r["seconds"], 3))
            warm = ""
            if "warm" in r:
                results.setdefault("warm-seq", {}).setdefault(who, {"seconds": []})["seconds"].append(round(r["warm"], 3))
                warm = f", warm {r['warm']:.2f} s"
            for k in ("pss_mib", "rss_mib"):
                if k in r:
                    entry[k] = max(entry.get(k, 0), r[k])
            say(f"{row:16} {who:7} run {run + 1}: {r['seconds']:.2f} s{warm}" + (f", {r['pss_mib']:.0f} MiB" if "pss_mib" in r else "")
                + (f" (and {time.monotonic() - begin - r['seconds'] - r.get('warm', 0):.0f} s around it)" if time.monotonic() - begin - r["seconds"] > 20 else ""))


def summarize(results, contenders):
    for row in results.values():
        for e in row.values():
            if e["seconds"] and "over" not in e and "error" not in e:
                e["median"] = round(statistics.median(e["seconds"]), 3)
    print()
    print(f"{'median seconds':18}" + "".join(f"{c:>12}" for c in contenders))
    for row in ["cold-seq", "warm-seq", "small-cold", "small-cold-20ms", "find-10k", "find-10k-20ms", "untar", "job", "catalogue-list"]:
        if row in results:
            print(f"{row:18}" + "".join(f"{cell(results[row].get(c)):>12}" for c in contenders))
    print()
    print(f"{'peak memory, MiB':18}" + "".join(f"{c:>12}" for c in contenders))
    for row, r in results.items():
        if any("pss_mib" in e for e in r.values()):
            print(f"{row:18}" + "".join(f"{r[c]['pss_mib'] if c in r and 'pss_mib' in r[c] else '-':>12}" for c in contenders))
    print()
    return goals(results)


def cell(e):
    if e is None:
        return "-"
    if "error" in e:
        return "failed"
    return f"> {e['over']}" if "over" in e else f"{e['median']:.2f}"


def goals(results):
    out = []
    for row, other, factor in GOALS:
        w, o = results.get(row, {}).get("weir"), results.get(row, {}).get(other)
        if not w or not o or ("median" not in o and "over" not in o):
            continue
        if "median" not in w:
            out.append({"row": row, "against": other, "wanted": factor, "got": None, "met": False})
            continue
        at_least = "median" not in o
        got = (o["over"] if at_least else o["median"]) / w["median"]
        out.append({"row": row, "against": other, "wanted": factor, "got": round(got, 2), "at_least": at_least, "met": got >= factor})
    w, o = results.get("job", {}).get("weir"), results.get("job", {}).get("podman")
    if w and o and "median" in w and "median" in o:
        got = w["median"] - o["median"]
        out.append({"row": "job", "against": "podman", "wanted": JOB_GOAL_S, "got": round(got, 3), "met": got <= JOB_GOAL_S})
    w = results.get("catalogue-list", {}).get("weir")
    if w and "median" in w:
        out.append({"row": "catalogue-list", "against": "limit", "wanted": CATALOGUE_GOAL_S, "got": w["median"], "met": w["median"] <= CATALOGUE_GOAL_S})
    for row, r in results.items():
        if "weir" in r and "pss_mib" in r["weir"]:
            out.append({"row": row, "against": "memory", "wanted": MEMORY_GOAL_MIB, "got": r["weir"]["pss_mib"],
                        "met": r["weir"]["pss_mib"] <= MEMORY_GOAL_MIB})
    for g in out:
        verdict = "met" if g["met"] else "MISSED"
        if g["against"] == "memory":
            print(f"{g['row']:18} memory of weir {g['got']} MiB, limit {g['wanted']} MiB: {verdict}")
        elif g["row"] == "job":
            print(f"{g['row']:18} weir run adds {g['got']} s to podman run, limit {g['wanted']} s: {verdict}")
        elif g["against"] == "limit":
            print(f"{g['row']:18} {g['got']} s, limit {g['wanted']} s: {verdict}")
        elif g["got"] is None:
            print(f"{g['row']:18} weir did not finish: {verdict}")
        else:
            print(f"{g['row']:18} weir is {'at least ' if g.get('at_least') else ''}{g['got']} x {g['against']}, goal {g['wanted']} x: {verdict}")
    return out


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))     # through every __exit__: nothing stays mounted
    p = argparse.ArgumentParser(prog="scripts/bench")
    p.add_argument("--runs", type=int, default=3)
    p.add_argument("--rows", default=",".join(DEFAULT_ROWS))
    p.add_argument("--contenders", default=",".join(CONTENDERS))
    p.add_argument("--quick", action="store_true")
    p.add_argument("--limit", type=int, default=200)
    p.add_argument("--weir", required=True)
    p.add_argument("--work", required=True)
    p.add_argument("--delayed", default="")
    p.add_argument("--out", required=True)
    args = p.parse_args()
    rows = ["cold-seq" if r == "warm-seq" else r for r in args.rows.split(",")]
    rows = list(dict.fromkeys(rows))
    for r in rows:
        if r not in ROWS:
            sys.exit(f"bench: no row '{r}' (there are: {', '.join(ROWS)}, warm-seq)")
    contenders = args.contenders.split(",")
    for c in contenders:
        if c not in CONTENDERS:
            sys.exit(f"bench: no contender '{c}' (there are: {', '.join(CONTENDERS)})")
    world = World(args)
    world.prepare(rows)
    results = {}
    for row in rows:
        measure_row(world, row, contenders, args.runs, results)
    met = summarize(results, contenders)
    with open(args.out, "w") as f:
        json.dump({"date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"), "kernel": platform.release(),
                   "processors": os.cpu_count(), "quick": args.quick, "runs": args.runs, "limit_seconds": args.limit,
                   "rows": results, "goals": met}, f, indent=1)
        f.write("\n")
    shutil.rmtree(args.work, ignore_errors=True)
    print(f"\nWritten to {args.out}. Took {int(time.monotonic() - BEGIN)} s.")
    if any("error" in e for r in results.values() for w, e in r.items() if w == "weir"):
        sys.exit(1)


main()
