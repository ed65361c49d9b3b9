# SPDX-License-Identifier: Apache-2.0
"""What watch.sh does through a mount while the far side changes under it.

    watch.py KIND FOLDER LIMIT    changes of every sort are made on the far side, then FOLDER (of the mount) is looked at as programs do it until it
                                  shows each; LIMIT: seconds within which it must

Lines for watch.sh: "PASS promise", "FAIL promise", "# comment".
"""
import os
import sys
import time

from far import far

kind, mnt, limit = sys.argv[1], sys.argv[2], float(sys.argv[3])
there = far(kind)


def at(path):
    return os.path.join(mnt, path)


def read(path):
    with open(at(path), "rb") as f:
        return f.read()


def holds(path, data):
    try:
        return read(path) == data and os.stat(at(path)).st_size == len(data)
    except FileNotFoundError:
        return False


def say(ok, text):
    print("PASS" if ok else "FAIL", text, flush=True)


def prepare():
    old = {"a.txt": b"one\n", "big.bin": b"old " * 100000, "open.txt": b"the old version\n", "d/b.txt": b"b\n", "d/gone.txt": b"gone\n", "d/sub/deep.txt": b"deep\n"}
    for d in ("d", "d/sub"):
        there.mkdir(d)
    for path, data in old.items():
        there.put(path, data)
    end = time.monotonic() + 60
    while not all(holds(p, d) for p, d in old.items()):  # now the kernel has names, attributes and pages of all of it
        if time.monotonic() > end:
            raise SystemExit("FAIL the first look shows what is there")
        time.sleep(0.2)
    assert not os.path.exists(at("d/new.txt")) and sorted(os.listdir(at("d"))) == ["b.txt", "gone.txt", "sub"]


def watch(wanted):
    """wanted: promise -> test. Looks until all are seen or the time is over."""
    began, seen = time.monotonic(), {}
    while len(seen) < len(wanted) and time.monotonic() - began < limit * 2 + 20:
        for what, test in wanted.items():
            if what not in seen and test():
                seen[what] = time.monotonic() - began
        time.sleep(0.05)
    for what in wanted:
        t = seen.get(what)
        print(f"# {kind}: {what}: " + ("never" if t is None else f"{t:.2f} s"))
        say(t is not None and t <= limit, f"{kind}: {what}")


def main():
    prepare()
    held = os.open(at("open.txt"), os.O_RDONLY)
    time.sleep(2)  # beyond what a folder calls the same moment
    there.put("a.txt", b"two, and longer\n")
    there.put("big.bin", b"new!" * 100000)  # the same size
    there.put("open.txt", b"a new version, which is longer\n")
    there.put("d/new.txt", b"new\n")
    there.rm("d/gone.txt")
    there.mv("d/sub", "moved")
    watch({
        "a change is seen, with its size": lambda: holds("a.txt", b"two, and longer\n"),
        "so is one of the same size (cached pages)": lambda: holds("big.bin", b"new!" * 100000),
        "a new file is seen": lambda: "new.txt" in os.listdir(at("d")) and holds("d/new.txt", b"new\n"),
        "a removal is seen": lambda: not os.path.exists(at("d/gone.txt")) and "gone.txt" not in os.listdir(at("d")),
        "a folder renamed elsewhere is seen": lambda: holds("moved/deep.txt", b"deep\n") and not os.path.exists(at("d/sub")),
        "the name of an open file shows the new version": lambda: holds("open.txt", b"a new version, which is longer\n"),
    })
    say(os.pread(held, 100, 0) == b"the old version\n", f"{kind}: the open descriptor keeps the old one")
    os.close(held)
    # A file that was seen and never read, read right after it changed.
    there.put("unread.txt", b"first\n")
    end = time.monotonic() + limit + 10
    while not os.path.exists(at("unread.txt")) and time.monotonic() < end:
        time.sleep(0.1)
    time.sleep(1.1)
    there.put("unread.txt", b"second, much longer than the first\n")
    try:
        got = read("unread.txt")
    except OSError as e:
        got = repr(e).encode()
    say(got == b"second, much longer than the first\n", f"{kind}: a file nobody has read yet is read as it is now ({got[:60]!r})")


main()
