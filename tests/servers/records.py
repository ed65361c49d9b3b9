#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A DOI resolver and a repository of records that answers as Zenodo's REST API does, for tests of data sets, on a port of 127.0.0.1 that the kernel chooses.

usage: records.py FOLDER      FOLDER/N/NAME are the files of record N; FOLDER/plain/NAME files without a record.
Prints "listening on 127.0.0.1:PORT". Control: GET /_set?NAME=VALUE, GET /_log (requests), GET /_reset.
  cut=N        bodies of files break off after N bytes, this many times: times=K
  noranges=1   Range is ignored
  etag=TEXT    ETag of plain files (default: of size and time)
  wrongsum=1   records tell another checksum than the files have
  status=N     files answer with this status, times=K
"""
import hashlib, http.server, json, os, sys, threading, time, urllib.parse

folder, state, log = sys.argv[1], {}, []


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *a):
        pass

    def answer(self, status, body=b"", **head):
        self.send_response(status)
        for k, v in head.items():
            self.send_header(k.replace("_", "-"), v)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def json(self, status, value):
        self.answer(status, json.dumps(value).encode(), Content_Type="application/json")

    def take(self, name):
        """A fault that strikes `times` times."""
        if name not in state or int(state.get("times", 1 << 30)) <= 0:
            return None
        state["times"] = int(state.get("times", 1 << 30)) - 1
        return int(state[name])

    def send_file(self, path, etag=None):
        if not os.path.isfile(path):
            return self.json(404, {"status": 404, "message": "The requested URL was not found on the server."})
        status = self.take("status")
        if status:
            return self.answer(status, b"", Retry_After="0")
        data = open(path, "rb").read()
        etag = etag or '"%x-%x"' % (len(data), os.stat(path).st_mtime_ns)
        wanted, first = self.headers.get("Range"), 0
        if wanted and not state.get("noranges") and self.headers.get("If-Range", etag) == etag:
            first = int(wanted.split("=")[1].split("-")[0])
            if first >= len(data):
                return self.answer(416, b"", Content_Range="bytes */%d" % len(data))
            self.send_response(206)
            self.send_header("Content-Range", "bytes %d-%d/%d" % (first, len(data) - 1, len(data)))
        else:
            self.send_response(200)
        body = data[first:]
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("ETag", etag)
        self.end_headers()
        cut = self.take("cut") if "cut" in state else None
        slow = float(state.get("slow", 0))
        part = body[:cut] if cut is not None and cut < len(body) else body
        for i in range(0, len(part), 65536):
            self.wfile.write(part[i : i + 65536])
            time.sleep(slow)
        if len(part) < len(body):
            self.wfile.flush()
            self.close_connection = True
            self.connection.shutdown(2)

    def record(self, number):
        d = os.path.join(folder, number)
        if not number.isdigit() or not os.path.isdir(d):
            return self.json(404, {"status": 404, "message": "PID does not exist."})
        if os.path.exists(os.path.join(d, ".newest")):  # the number of all versions: the newest one
            return self.answer(301, b"", Location="/api/records/" + open(os.path.join(d, ".newest")).read().strip())
        if os.path.exists(os.path.join(d, ".restricted")):
            return self.json(200, {"id": int(number), "metadata": {"access_right": "restricted"}, "files": []})
        files = []
        for name in sorted(os.listdir(d)):
            data = open(os.path.join(d, name), "rb").read()
            md5 = hashlib.md5(data + (b"x" if state.get("wrongsum") else b"")).hexdigest()
            files.append({"id": "f-" + name, "key": name, "size": len(data), "checksum": "md5:" + md5,
                "links": {"self": "http://%s/api/records/%s/files/%s/content" % (self.headers["Host"], number, urllib.parse.quote(name))}})
        if state.get("entries"):
            files = {"enabled": True, "entries": {f["key"]: {"key": f["key"], "size": f["size"], "checksum": f["checksum"], "links": {"content": f["links"]["self"]}} for f in files}}
        self.json(200, {"id": int(number), "doi": "10.5281/zenodo." + number, "metadata": {"title": "record " + number, "access_right": "open"}, "files": files})

    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        path = urllib.parse.unquote(url.path)
        parts = path.strip("/").split("/")
        if path == "/_set":
            state.update(urllib.parse.parse_qsl(url.query))
            return self.answer(200)
        if path == "/_reset":
            state.clear()
            log.clear()
            return self.answer(200)
        if path == "/_log":
            return self.answer(200, "".join(l + "\n" for l in log).encode())
        log.append("%s %s" % (path, self.headers.get("Range", "-")))
        if path.startswith("/10."):  # the resolver
            if not path.startswith("/10.5281/zenodo.") and not path.startswith("/10.1234/"):
                return self.answer(404, b"<h1>DOI Not Found</h1>", Content_Type="text/html")
            where = "/records/" + path.rsplit(".", 1)[1] if "paper" not in path else "/paper.html"
            return self.answer(302, b"", Location="http://%s%s" % (self.headers["Host"], where))
        if path == "/paper.html" or (parts[0] == "records" and len(parts) == 2):
            return self.answer(200, b"<html>a page</html>" * 1000, Content_Type="text/html")
        if parts[:2] == ["api", "records"] and len(parts) == 3:
            return self.record(parts[2])
        if parts[:2] == ["api", "records"] and len(parts) == 6 and parts[5] == "content":
            return self.send_file(os.path.join(folder, parts[2], parts[4]))
        if parts[0] == "moved":
            return self.answer(302, b"", Location="/plain/" + "/".join(parts[1:]))
        return self.send_file(os.path.join(folder, *parts), state.get("etag"))


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *a):
        pass


server = Server(("127.0.0.1", 0), Handler)
print("listening on 127.0.0.1:%d" % server.server_port, flush=True)
server.serve_forever()
