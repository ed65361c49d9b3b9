# SPDX-License-Identifier: Apache-2.0
"""A small Google Drive client on Python's standard library alone: the far side of the demo.

It shares nothing with weir.   drive.py puttree FOLDER PATH   puts a folder of small files under PATH (made anew) in My Drive;
drive.py rmtree NAME   removes a folder of the root.
With DRIVE_API (https://www.googleapis.com), DRIVE_TOKEN_URL, DRIVE_CLIENT_ID, DRIVE_CLIENT_SECRET and DRIVE_REFRESH_TOKEN in the environment.
"""
import concurrent.futures
import http.client
import json
import os
import sys
import threading
import urllib.parse

FOLDER = "application/vnd.google-apps.folder"


class Drive:
    def __init__(self, env):
        self.api = urllib.parse.urlsplit(env["DRIVE_API"])
        self.local = threading.local()
        token = self.post_form(env["DRIVE_TOKEN_URL"], {
            "grant_type": "refresh_token", "refresh_token": env["DRIVE_REFRESH_TOKEN"],
            "client_id": env["DRIVE_CLIENT_ID"], "client_secret": env["DRIVE_CLIENT_SECRET"]})
        self.auth = "Bearer " + token["access_token"]

    def connection(self, url):
        kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
        c = getattr(self.local, "c", None)
        if c is None or self.local.host != url.netloc:
            c, self.local.host = kind(url.netloc, timeout=60), url.netloc
            self.local.c = c
        return c

    def post_form(self, where, fields):
        url = urllib.parse.urlsplit(where)
        c = self.connection(url)
        c.request("POST", url.path, urllib.parse.urlencode(fields), {"Content-Type": "application/x-www-form-urlencoded"})
        return self.answer(c)

    @staticmethod
    def answer(c):
        r = c.getresponse()
        body = r.read()
        if r.status >= 300:
            sys.exit(f"drive.py: HTTP {r.status}: {body[:300].decode(errors='replace')}")
        return json.loads(body) if body else None

    def call(self, method, path, query, body=None, kind="application/json; charset=UTF-8"):
        c = self.connection(self.api)
        head = {"Authorization": self.auth}
        if body is not None:
            head["Content-Type"] = kind
        c.request(method, path + "?" + urllib.parse.urlencode(query), body, head)
        return self.answer(c)

    def mkdir(self, name, parent):
        return self.call("POST", "/drive/v3/files", {"fields": "id"}, json.dumps({"name": name, "parents": [parent], "mimeType": FOLDER}).encode())["id"]

    def find(self, name, parent):
        q = f"name = '{name}' and '{parent}' in parents and trashed = false"
        return [f["id"] for f in self.call("GET", "/drive/v3/files", {"q": q, "fields": "files(id)"})["files"]]

    def put(self, path, parent):
        with open(path, "rb") as f:
            data = f.read()
        meta = json.dumps({"name": os.path.basename(path), "parents": [parent]})
        body = (f"--weir-demo\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n{meta}\r\n--weir-demo\r\nContent-Type: application/octet-stream\r\n\r\n"
                .encode() + data + b"\r\n--weir-demo--")
        self.call("POST", "/upload/drive/v3/files", {"uploadType": "multipart", "fields": "id"}, body, "multipart/related; boundary=weir-demo")
        return len(data)

    def puttree(self, folder, path):
        parent = "root"
        for name in path.split("/"):
            there = self.find(name, parent)
            parent = there[0] if there else self.mkdir(name, parent)
        ids, jobs = {folder: parent}, []
        for top, dirs, names in sorted(os.walk(folder)):
            for d in sorted(dirs):
                ids[os.path.join(top, d)] = self.mkdir(d, ids[top])
            jobs += [(os.path.join(top, n), ids[top]) for n in sorted(names)]
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            sizes = list(pool.map(lambda j: self.put(*j), jobs))
        print(len(sizes), sum(sizes))

    def rmtree(self, name):
        for i in self.find(name, "root"):
            self.call("DELETE", f"/drive/v3/files/{i}", {})


if __name__ == "__main__":
    verb, *args = sys.argv[1:]
    getattr(Drive(os.environ), verb)(*args)
