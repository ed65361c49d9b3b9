# SPDX-License-Identifier: Apache-2.0
"""Edit races: the far side and the mount change the same things before either knows of the other.

    races.py KIND FOLDER COUNT SEED

Each race has a folder of its own with a file f and a folder s with a file s/x; one change is made through the mount, one on the far side, in either
order, with no time in between for the one to be sent or the other to be seen. Then everything is sent, and it is looked at what is where.

  - no version lost: every content written and closed here, and every content written there, is found on the far side in the end, under its name or
    another (a version whose overwriting its writer had seen before does not count)
  - what was removed on purpose and changed by nobody does not matter
  - no conflict copy where the two changes do not concern the same thing
  - the mount shows what is there

Lines for races.sh: "PASS promise", "FAIL promise", "# comment".
"""
import os
import random
import subprocess
import sys
import time

from far import Gone, far

kind, mnt, count, seed = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
there = far(kind)
rnd = random.Random(seed)
BATCH = 50
# What an endpoint cannot tell apart, and `weir check` says so: changes of one size within one second.
SAME_SIZE = "put f" if kind == "rclone-sftp" else "put, as long, f"
failures = []
copies_made = 0


def local_write(path, data):
    """As an editor that keeps the file: what it replaces, it has not looked at."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.write(fd, data)
    os.close(fd)


class Race:
    def __init__(self, number):
        self.n, self.dir = number, f"r{number:05d}"
        self.wanted, self.notes = {}, []
        self.here = rnd.choice(["write f", "write f twice", "save f", "append f", "rename f", "unlink f", "write s/x", "new in s", "rename s", "rm s", "nothing"])
        self.away = rnd.choice(["put f", SAME_SIZE, "mv f", "rm f", "put s/x", "new in s", "mv s", "rm s", "nothing"])
        self.here_first = rnd.random() < 0.5

    def at(self, path=""):
        return os.path.join(mnt, self.dir, path)

    def content(self, what):
        return f"{what} of race {self.n}, seed {seed}\n".encode() * rnd.choice([1, 1, 1, 300])

    def prepare(self):
        os.mkdir(self.at())
        os.mkdir(self.at("s"))
        self.first = {"f": self.content("the first f"), "s/x": self.content("the first s/x")}
        for path, data in self.first.items():
            local_write(self.at(path), data)

    def want(self, data, what):
        self.wanted[data] = what

    def run_here(self):
        try:
            self.do_here()
        except (FileNotFoundError, OSError) as e:
            # The far side was seen already: then this change did not happen, and nobody was told that it had.
            self.notes.append(f"here: {e!r}")

    def overwrite(self, path, data):
        """What its writer sees right before is overwritten knowingly."""
        try:
            with open(self.at(path), "rb") as f:
                seen = f.read()
        except FileNotFoundError:
            seen = None
        local_write(self.at(path), data)
        self.wanted.pop(seen, None)
        self.want(data, f"written here to {path}")

    def do_here(self):
        what = self.here
        if what in ("write f", "write f twice"):
            self.overwrite("f", self.content("ours"))
            if what == "write f twice":
                self.overwrite("f", self.content("ours again"))
        elif what == "save f":
            data = self.content("ours, saved")
            with open(self.at("f"), "rb") as f:
                seen = f.read()
            local_write(self.at(".f.tmp"), data)
            os.rename(self.at(".f.tmp"), self.at("f"))
            self.wanted.pop(seen, None)
            self.want(data, "saved here as f")
        elif what == "append f":
            with open(self.at("f"), "r+b") as f:
                old = f.read()
                f.write(b"appended here\n")
            self.wanted.pop(old, None)
            self.want(old + b"appended here\n", "appended here to f")
        elif what == "rename f":
            os.rename(self.at("f"), self.at("g"))
        elif what == "unlink f":
            with open(self.at("f"), "rb") as f:
                seen = f.read()
            os.unlink(self.at("f"))
            self.wanted.pop(seen, None)
        elif what == "write s/x":
            self.overwrite("s/x", self.content("ours in s"))
        elif what == "new in s":
            self.overwrite("s/new", self.content("new of ours"))
        elif what == "rename s":
            os.rename(self.at("s"), self.at("t"))
        elif what == "rm s":
            for name in os.listdir(self.at("s")):
                with open(self.at("s/" + name), "rb") as f:
                    seen = f.read()
                os.unlink(self.at("s/" + name))
                self.wanted.pop(seen, None)
            os.rmdir(self.at("s"))

    def run_away(self):
        d = self.dir + "/"
        try:
            if self.away in ("put f", "put, as long, f"):
                data = self.content("theirs")
                if self.away != "put f":  # time alone, or a sum, tells it from what was there
                    data = (data * (len(self.first["f"]) // len(data) + 1))[:len(self.first["f"])]
                there.put(d + "f", data)
                self.want(data, "put there as f")
            elif self.away == "mv f":
                there.mv(d + "f", d + "h")
            elif self.away == "rm f":
                there.rm(d + "f")
            elif self.away == "put s/x":
                data = self.content("theirs in s")
                there.put(d + "s/x", data)
                self.want(data, "put there as s/x")
            elif self.away == "new in s":
                data = self.content("new of theirs")
                there.put(d + "s/theirs", data)
                self.want(data, "put there as s/theirs")
            elif self.away == "mv s":
                there.mv(d + "s", d + "u")
            elif self.away == "rm s":
                there.rm(d + "s")
        except Gone as e:
            self.notes.append(f"there: {e}")

    def run(self):
        for step in [self.run_here, self.run_away] if self.here_first else [self.run_away, self.run_here]:
            step()

    def touches_same(self):
        f_here, f_away = self.here.endswith((" f", "f twice")), self.away.endswith(" f")
        return (f_here and f_away) or (not f_here and not f_away and "nothing" not in (self.here, self.away))

    def judge(self, tree):
        mine = {p[len(self.dir) + 1:]: d for p, d in tree.items() if p.startswith(self.dir + "/")}
        contents = set(mine.values())
        what = f"race {self.n}: here {self.here}, there {self.away}, {'here' if self.here_first else 'there'} first {self.notes or ''}"
        for data, which in self.wanted.items():
            if data not in contents:
                failures.append(f"lost: what was {which}: {what}: left: {sorted(mine)}")
        copies = [p for p in mine if "(conflict " in p]
        global copies_made
        copies_made += len(copies)
        if copies and not self.touches_same():
            failures.append(f"a needless conflict copy {copies}: {what}")
        # Untouched things stay as they were.
        if "f" not in (self.here.split()[-1], self.away.split()[-1]) and "twice" not in self.here and mine.get("f") != self.first["f"]:
            failures.append(f"f is not what it was: {what}: {sorted(mine)}")
        return mine


def weir(*args, limit=200):
    return subprocess.run([os.environ["WEIR"], *args], capture_output=True, text=True, timeout=limit, check=False)


def mount_tree():
    out = {}
    for d, _, files in os.walk(mnt):
        for name in files:
            path = os.path.join(d, name)
            with open(path, "rb") as f:
                out[os.path.relpath(path, mnt)] = f.read()
    return out


def flush(what):
    r = weir("flush", mnt)
    if r.returncode:
        failures.append(f"{what}: flush: {r.stderr.strip()[:300]}")
        return False
    return True


def batch(first, n):
    races = [Race(first + i) for i in range(n)]
    for r in races:
        r.prepare()
    if not flush("before"):
        return
    for r in races:
        r.run()
    flush("after")
    weir("refresh", mnt)
    end = time.monotonic() + 40
    while True:
        if not flush("settled"):
            return
        tree = there.tree()
        shown = mount_tree()
        if shown == tree or time.monotonic() > end:
            break
        time.sleep(1)  # a listing may still be on its way
        weir("refresh", mnt)
    for r in races:
        r.judge(tree)
    if shown != tree:
        odd = sorted(p for p in shown.keys() | tree.keys() if shown.get(p) != tree.get(p))
        failures.append(f"the mount does not show what is there: {odd[:6]} shown {[p in shown for p in odd[:6]]} there {[p in tree for p in odd[:6]]}")
    for r in races:
        try:
            there.rm(r.dir)
        except Gone:
            pass


def main():
    began = time.monotonic()
    done = 0
    while done < count and len(failures) < 20:
        n = min(BATCH, count - done)
        batch(done, n)
        done += n
    for f in failures[:20]:
        print("#", f)
    print(f"# {kind}: {done} races, seed {seed}, {copies_made} conflict copies, {time.monotonic() - began:.0f} s")
    if count >= 60:  # else these were no races
        print("PASS" if copies_made else "FAIL", f"{kind}: both sides did meet")
    for promise, begin in (("no version is lost", "lost"), ("no conflict copy without a conflict", "a needless"), ("what nobody touched stays", "f is not"),
                           ("the mount shows what is there", "the mount"), ("everything is sent", ("before", "after", "settled"))):
        print("FAIL" if any(f.startswith(begin) for f in failures) else "PASS", f"{kind}: {promise}")


main()
