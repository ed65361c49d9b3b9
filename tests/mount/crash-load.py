# SPDX-License-Identifier: Apache-2.0
"""The load and the judge of crash-all.sh.

    crash-load.py load TREE LOG      four threads of mixed changes under TREE until something fails; what began and what ended goes to LOG
    crash-load.py judge TREE LOG     the tree must hold everything whose call returned; a change that was under way may or may not be there.
                                     LOG is then rewritten as what is there now, for the next round
"""
import hashlib
import json
import os
import random
import sys
import threading
import time

LOCK = threading.Lock()


def content(seed, size):
    return random.Random(seed).randbytes(size)


def digest(data):
    return hashlib.sha256(data).hexdigest()


class Worker(threading.Thread):
    """Changes one folder of its own, and knows what is in it: name -> (seed, size) of every version's bytes."""

    def __init__(self, tree, number, log, files):
        super().__init__(daemon=True)
        self.top = os.path.join(tree, f"w{number}")
        self.number, self.log, self.files = number, log, files
        self.random = random.Random(time.time_ns() + number)

    def note(self, what, **more):
        with LOCK:
            self.log.write(json.dumps({"worker": self.number, "what": what, **more}) + "\n")
            self.log.flush()

    def write(self, name, data, flags):
        fd = os.open(os.path.join(self.top, name), flags, 0o644)
        try:
            done = 0
            step = self.random.choice([4096, 50000, 1 << 20])
            while done < len(data):
                done += os.write(fd, data[done:done + step])
        finally:
            os.close(fd)

    def step(self):
        names = sorted(self.files)
        kind = self.random.choice(["new", "new", "over", "append", "rename", "replace", "unlink", "truncate"])
        if len(names) < 3:
            kind = "new"
        if len(names) > 60 and kind == "new":
            kind = "unlink"
        name = self.random.choice(names) if names else None
        if kind in ("new", "over"):
            if kind == "new":
                name = f"f{self.random.randrange(1 << 40):x}"
            data = content(self.random.random(), self.random.choice([0, 10, 5000, 130000, 131072, 400000]))
            self.note("begin", touches=[name])
            self.write(name, data, os.O_WRONLY | os.O_CREAT | (os.O_EXCL if kind == "new" else os.O_TRUNC))
            self.files[name] = digest(data)
        elif kind == "append":
            with open(os.path.join(self.top, name), "rb") as f:
                old = f.read()
            if digest(old) != self.files[name]:
                raise AssertionError(f"{name}: wrong bytes under a living mount")
            data = content(self.random.random(), 3000)
            self.note("begin", touches=[name])
            self.write(name, data, os.O_WRONLY | os.O_APPEND)
            self.files[name] = digest(old + data)
        elif kind == "truncate":
            with open(os.path.join(self.top, name), "rb") as f:
                old = f.read()
            self.note("begin", touches=[name])
            os.truncate(os.path.join(self.top, name), len(old) // 2)
            self.files[name] = digest(old[:len(old) // 2])
        elif kind in ("rename", "replace"):
            other = self.random.choice(names) if kind == "replace" else f"r{self.random.randrange(1 << 40):x}"
            if other == name:
                return
            self.note("begin", touches=[name, other])
            os.rename(os.path.join(self.top, name), os.path.join(self.top, other))
            self.files[other] = self.files.pop(name)
        else:
            self.note("begin", touches=[name])
            os.unlink(os.path.join(self.top, name))
            del self.files[name]
        self.note("end", files=self.files)

    def run(self):
        try:
            while True:
                self.step()
        except OSError as e:
            self.note("stopped", why=str(e))
        except AssertionError as e:
            self.note("wrong", why=str(e))


def states(path):
    """Per worker: the last files known, and the names that an unfinished change touches."""
    files, open_names, wrong = {}, {}, []
    if os.path.exists(path):
        with open(path) as f:
            for line in f:
                try:
                    r = json.loads(line)
                except ValueError:
                    continue    # the last line of a killed process
                w = r["worker"]
                if r["what"] == "begin":
                    open_names[w] = r["touches"]
                elif r["what"] == "end":
                    files[w], open_names[w] = r["files"], []
                elif r["what"] == "wrong":
                    wrong.append(r["why"])
    return files, open_names, wrong


def load(tree, path):
    files, _, _ = states(path)
    with open(path, "a") as log:
        workers = [Worker(tree, n, log, files.get(n, {})) for n in range(4)]
        for w in workers:
            os.makedirs(w.top, exist_ok=True)
        for w in workers:
            w.start()
        for w in workers:
            w.join()


def judge(tree, path):
    files, unfinished, bad = states(path)
    checked, now = 0, {}
    for w, known in files.items():
        top = os.path.join(tree, f"w{w}")
        there = {}
        for name in os.listdir(top):
            with open(os.path.join(top, name), "rb") as f:
                there[name] = digest(f.read())
        loose = set(unfinished.get(w, []))
        for name, want in known.items():
            if name in loose:
                continue
            checked += 1
            if name not in there:
                bad.append(f"w{w}/{name}: closed, and not there")
            elif there[name] != want:
                bad.append(f"w{w}/{name}: other bytes than when it was closed")
        bad += [f"w{w}/{n}: nobody made it" for n in there if n not in known and n not in loose]
        now[w] = there
    with open(path, "w") as log:
        for w, there in now.items():
            log.write(json.dumps({"worker": w, "what": "end", "files": there}) + "\n")
    for b in bad[:20]:
        print(b)
    print(f"{checked} files checked, {len(bad)} wrong")
    sys.exit(1 if bad else 0)


{"load": load, "judge": judge}[sys.argv[1]](*sys.argv[2:])
