# SPDX-License-Identifier: Apache-2.0
"""The test module's IDE: a page behind a password that shows and writes files below /storage.

    ide.py PORT     password: jupyterPASSWORD, by HTTP basic authentication
"""
import base64
import http.server
import os
import sys

WANTED = "Basic " + base64.b64encode(("user:" + os.environ["jupyterPASSWORD"]).encode()).decode()


class Handler(http.server.BaseHTTPRequestHandler):
    def reply(self, status, body=b"", headers=()):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def handle_any(self):
        if self.headers.get("Authorization") != WANTED:
            return self.reply(401, headers=[("WWW-Authenticate", 'Basic realm="ide"')])
        if self.command == "PUT":
            with open("/storage" + self.path, "wb") as f:
                f.write(self.rfile.read(int(self.headers["Content-Length"])))
            return self.reply(201)
        return self.reply(200, "\n".join(sorted(os.listdir("/storage"))).encode())

    do_GET = do_PUT = handle_any


if len(os.environ["jupyterPASSWORD"]) < 9:
    sys.exit("ide: the password is shorter than 9 characters")
with http.server.ThreadingHTTPServer(("", int(sys.argv[1])), Handler) as server:
    server.serve_forever()
