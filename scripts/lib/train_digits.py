# SPDX-License-Identifier: Apache-2.0
"""The demo's training job: reads a data set of images from some folders, writes a model to one and its metrics to another.

    train_digits.py DATA… MODEL METRICS     DATA/CLASS/NAME.pgm -> MODEL/model.pickle, METRICS/metrics.json

It knows nothing of weir: all of them are just folders.
"""
import concurrent.futures
import hashlib
import json
import os
import pickle
import sys
import time

import numpy
from sklearn import metrics, model_selection, svm


def read_pgm(path):
    with open(path, "rb") as f:
        raw = f.read()
    magic, width, height, depth = raw.split(maxsplit=4)[:4]
    if magic != b"P5":
        raise ValueError(f"{path}: not a PGM")
    n = int(width) * int(height)
    return len(raw), numpy.frombuffer(raw[-n:], dtype=numpy.uint8) * (16.0 / int(depth))


def write_whole(path, data):
    """As a careful program does it: beside, synced, then renamed over."""
    with open(path + ".part", "wb") as f:
        f.write(data)
        f.flush()
        os.fsync(f.fileno())
    os.rename(path + ".part", path)


def main(*folders):
    *data, out, notes = folders
    begin = time.monotonic()
    names = sorted((c, n, d) for d in data for c in os.listdir(d) for n in os.listdir(os.path.join(d, c)))
    print(f"job: {len(names)} images in {len({c for c, _, _ in names})} classes under {' and '.join(data)}", flush=True)
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        images = list(pool.map(read_pgm, (os.path.join(d, c, n) for c, n, d in names)))
    x = numpy.stack([pixels for _, pixels in images])
    y = numpy.array([int(c) for c, _, _ in names])
    read_s = time.monotonic() - begin
    size = sum(n for n, _ in images)
    print(f"job: read {size} bytes in {read_s:.1f} s", flush=True)

    begin = time.monotonic()
    x1, x2, y1, y2 = model_selection.train_test_split(x, y, test_size=0.3, random_state=0, stratify=y)
    model = svm.SVC(gamma=0.001, C=10).fit(x1, y1)
    accuracy = metrics.accuracy_score(y2, model.predict(x2))
    train_s = time.monotonic() - begin
    print(f"job: accuracy {accuracy:.4f} on {len(y2)} images it had not seen, trained in {train_s:.1f} s", flush=True)

    blob = pickle.dumps(model)
    os.makedirs(out, exist_ok=True)
    write_whole(os.path.join(out, "model.pickle"), blob)
    os.makedirs(notes, exist_ok=True)
    write_whole(os.path.join(notes, "metrics.json"), json.dumps({
        "accuracy": round(float(accuracy), 6), "images": len(names), "bytes_read": size, "seconds_reading": round(read_s, 3),
        "seconds_training": round(train_s, 3), "model_bytes": len(blob), "model_sha256": hashlib.sha256(blob).hexdigest(),
    }, indent=1).encode() + b"\n")
    print(f"job: wrote a model of {len(blob)} bytes to {out}, its metrics to {notes}", flush=True)


main(*sys.argv[1:])
