# SPDX-License-Identifier: Apache-2.0
"""make_digits.py FOLDER: the UCI handwritten digits that scikit-learn ships, one PGM file per image, one folder per class."""
import os
import sys

from sklearn import datasets

digits = datasets.load_digits()
for i, (image, label) in enumerate(zip(digits.images, digits.target)):
    folder = os.path.join(sys.argv[1], str(label))
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, f"digit-{i:04d}.pgm"), "wb") as f:
        f.write(b"P5\n%d %d\n16\n" % image.shape[::-1] + bytes(int(v) for v in image.flat))
