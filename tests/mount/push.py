#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# How soon a change made on the far side is seen through the mount, kernel caches included: everything is read before it changes, so that the kernel has
# it. usage: push.py SERVER USER FOLDER ROUNDS LIMIT_S
# Prints "seen MEDIAN MOST" in milliseconds; fails when something is not seen within the limit.
import os
import statistics
import sys
import time
import urllib.parse
import urllib.request

server, user, folder, rounds, limit = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), float(sys.argv[5])


def far(method, path, body=None, **headers):
    url = f"{server}/_emu/raw/remote.php/dav/files/{user}/{urllib.parse.quote(path)}"
    with urllib.request.urlopen(urllib.request.Request(url, data=body, method=method, headers=headers), timeout=30):
        pass


def holds(path, text):
    try:
        with open(f"{folder}/{path}", "rb") as f:
            return f.read() == text
    except FileNotFoundError:
        return text is None


def seen(path, text):
    """Changes one by one, not in bursts: the daemon and weir both look at a burst once."""
    start = time.monotonic()
    while not holds(path, text):
        if time.monotonic() - start > limit:
            sys.exit(f"{path} is not {text!r} after {limit} s")
        time.sleep(0.005)
    ms = 1000 * (time.monotonic() - start)
    time.sleep(1.6)
    return ms


took = []
deep = "push/deep/er/still"
for part in ("push", "push/deep", "push/deep/er", deep):
    if not os.path.isdir(f"{folder}/{part}"):
        far("MKCOL", part)
for n in range(rounds):
    name = f"{deep}/{time.time_ns()}"
    far("PUT", name, b"one")
    took.append(seen(name, b"one"))
    os.listdir(f"{folder}/{deep}")
    far("PUT", name, b"number two")
    took.append(seen(name, b"number two"))
    far("MOVE", name, Destination=f"{server}/remote.php/dav/files/{user}/push/moved")
    took.append(seen(name, None))
    seen("push/moved", b"number two")
    far("DELETE", "push/moved")
    took.append(seen("push/moved", None))
print(f"seen {statistics.median(took):.0f} {max(took):.0f}")
