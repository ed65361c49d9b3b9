#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""For modules.sh.   make FOLDER: a catalogue of 46 entries, five of them bad.   serve FOLDER PORTFILE LOG: its files by HTTP, with some answers that
nobody wants.   width COLUMNS COMMAND…: runs it on a terminal so wide; prints what it wrote there."""
import fcntl
import http.server
import os
import pty
import struct
import sys
import termios

LIBRARIES = ["PyTorch", "TensorFlow", "Keras", "Scikit-learn"]
TASKS = ["Computer Vision", "Classification", "Time Series", "Natural Language Processing"]
TYPES = ["Image", "Text", "Audio", "Tabular"]

GOOD = """metadata_version: 2.{minor}.0
title: Module number {i}, which {verb} things
summary: A summary with the word kelp{i}
description: |-
  What it does,
  in {i} steps.
dates:
  created: '2024-01-{day:02d}'
  updated: '2024-12-31'
links:
  source_code: https://github.com/example/{name}
  docker_image: example/{name}
tags: [tag{tag}, deep learning]
tasks: [{task}]
categories: [AI4 trainable, AI4 inference]
libraries: [{library}]
data-type: [{type}]
resources:
  inference: {{cpu: {cpu}, gpu: 0, memory_MB: {memory}}}
"""


def text(i, name):
    return GOOD.format(i=i, name=name, minor=i % 4, verb="sorts" if i % 2 else "counts", day=i % 28 + 1, tag=i % 5, task=TASKS[i % 4],
                       library=LIBRARIES[i % 4], type=TYPES[i % 4], cpu=i % 8 + 1, memory=1000 + 100 * i)


def make(top):
    os.makedirs(top)
    with open(os.path.join(top, ".gitmodules"), "w") as f:
        for i in range(1, 46):
            name = f"module-{i:02d}"
            f.write(f'[submodule "{name}"]\n\tpath = {name}\n\turl = https://github.invalid/example/{name}.git\n\tbranch = main\n')
            os.mkdir(os.path.join(top, name))
            body = text(i, name)
            if i == 7:
                continue
            if i == 13:
                body = body.replace("tags: [", "tags: [[")
            if i == 21:
                body = body.replace("'2024-12-31'", "2024-12-31").replace("[TensorFlow]", "[tensorflow]")
            if i == 33:
                body = body.replace(f"title: Module number {i}, which", 'title: "\\e]0;owned\\a\\e[2JModule"\nkeywords: ["\\e[31m"]\nx:')
            with open(os.path.join(top, name, "ai4-metadata.yml"), "w") as m:
                m.write(body)
        f.write('[submodule "evil"]\n\tpath = ../../evil\n\turl = https://github.invalid/example/evil.git\n')


def serve(top, portfile, log):
    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self):
            with open(log, "a") as f:
                f.write(self.path + "\n")
            if "/odd/" not in self.path or self.path.endswith(".gitmodules"):
                return super().do_GET()
            kind = self.path.split("/odd/")[1].split("/")[0]
            places = {"moved": "/c/module-01/ai4-metadata.yml", "loop": self.path, "outside": "file:///etc/hostname"}
            if kind in places:
                self.send_response(302)
                self.send_header("Location", places[kind])
                self.send_header("Content-Length", "0")
                self.end_headers()
            elif kind == "broken":
                self.send_error(500)
            elif kind == "large":
                self.send_response(200)
                self.end_headers()
                try:
                    for _ in range(64):
                        self.wfile.write(b"# more\n" * 65536)
                except OSError:
                    pass
            else:
                self.send_error(404)

        def log_message(self, *_):
            pass

    os.chdir(top)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    with open(portfile + ".tmp", "w") as f:
        f.write(str(server.server_address[1]))
    os.rename(portfile + ".tmp", portfile)
    server.serve_forever()


def width(columns, argv):
    pid, fd = pty.fork()
    if pid == 0:
        fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", 40, int(columns), 0, 0))
        os.execvp(argv[0], argv)
    out = b""
    while True:
        try:
            piece = os.read(fd, 65536)
        except OSError:
            break
        if not piece:
            break
        out += piece
    os.waitpid(pid, 0)
    sys.stdout.buffer.write(out.replace(b"\r\n", b"\n"))


if sys.argv[1] == "make":
    make(sys.argv[2])
elif sys.argv[1] == "serve":
    serve(*sys.argv[2:5])
else:
    width(sys.argv[2], sys.argv[3:])
