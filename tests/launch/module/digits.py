# SPDX-License-Identifier: Apache-2.0
"""The test module's model: softmax regression on 8x8 images of digits, in plain Python (the image holds no numpy).

One PGM file per image; the training set is one folder per class.
"""
import json
import math
import os
import random

HERE = os.path.dirname(os.path.abspath(__file__))
MODEL = os.path.join(HERE, "model.json")


def read_pgm(raw):
    magic, width, height, depth = raw.split(maxsplit=4)[:4]
    if magic != b"P5":
        raise ValueError("not a PGM image")
    n = int(width) * int(height)
    if n != 64 or len(raw) < n:
        raise ValueError("not an image of 8x8 pixels")
    return [v / int(depth) for v in raw[-n:]]


def read_set(folder):
    rows = []
    for label in sorted(os.listdir(folder)):
        for name in sorted(os.listdir(os.path.join(folder, label))):
            with open(os.path.join(folder, label, name), "rb") as f:
                rows.append((read_pgm(f.read()), label))
    return rows


class Model:
    def __init__(self, labels, weights):
        self.labels, self.weights = labels, weights

    def scores(self, x):
        raw = [w[64] + sum(a * b for a, b in zip(w, x)) for w in self.weights]
        most = max(raw)
        up = [math.exp(r - most) for r in raw]
        total = sum(up)
        return [u / total for u in up]

    def predict(self, x, top=5):
        order = sorted(zip(self.scores(x), self.labels), reverse=True)[:top]
        return {"labels": [label for _, label in order], "probabilities": [round(p, 6) for p, _ in order]}

    def save(self, path):
        with open(path + ".part", "w", encoding="utf-8") as f:
            json.dump({"labels": self.labels, "weights": self.weights}, f)
        os.replace(path + ".part", path)

    @classmethod
    def load(cls, path=MODEL):
        with open(path, encoding="utf-8") as f:
            v = json.load(f)
        return cls(v["labels"], v["weights"])


def train(rows, epochs=4, rate=0.3, seed=0, say=print):
    """Returns the model and its accuracy on the fifth of the rows that it has not seen."""
    order = random.Random(seed)
    rows = list(rows)
    order.shuffle(rows)
    test, seen = rows[: len(rows) // 5], rows[len(rows) // 5:]
    labels = sorted({label for _, label in rows})
    model = Model(labels, [[0.0] * 65 for _ in labels])
    for epoch in range(epochs):
        order.shuffle(seen)
        for x, label in seen:
            for k, p in enumerate(model.scores(x)):
                step = rate * ((labels[k] == label) - p)
                if abs(step) > 1e-4:
                    w = model.weights[k]
                    for i, v in enumerate(x):
                        if v:
                            w[i] += step * v
                    w[64] += step
        say(f"epoch {epoch + 1} of {epochs}", flush=True)
    right = sum(model.predict(x, 1)["labels"][0] == label for x, label in test)
    return model, right / max(1, len(test))
