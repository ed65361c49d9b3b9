# SPDX-License-Identifier: Apache-2.0
"""The far side of a mount for tests that change things there: one small client a storage, on Python's standard library alone. It shares nothing
with weir. far(KIND) reads the variables of tests/README, OWN (the test's folder or bucket) and, for a folder, T.

Paths are relative to the test's own folder. put(path, bytes) makes or replaces; rm(path) removes a file or a folder with all in it; mv(old, new)
renames either; mkdir(path); tree() is {path: bytes} of all files. What is not there raises Gone.
"""
import base64
import http.client
import json
import os
import shutil
import sys
import threading
import time
import urllib.parse
import xml.etree.ElementTree as xml

sys.path.insert(0, os.path.join(os.environ["WEIR_SRCDIR"], "scripts/lib"))
import s3  # noqa: E402


class Gone(Exception):
    pass


class Folder:
    def __init__(self, top):
        self.top, self.n = top, 0

    def at(self, path):
        return os.path.join(self.top, path)

    def put(self, path, data):
        self.n += 1
        tmp = os.path.join(os.path.dirname(self.at(path)), f".weir-tmp-far{self.n}")
        try:
            with open(tmp, "wb") as f:
                f.write(data)
            os.replace(tmp, self.at(path))
        except FileNotFoundError as e:
            raise Gone(path) from e

    def get(self, path):
        try:
            with open(self.at(path), "rb") as f:
                return f.read()
        except FileNotFoundError as e:
            raise Gone(path) from e

    def rm(self, path):
        try:
            if os.path.isdir(self.at(path)):
                shutil.rmtree(self.at(path))
            else:
                os.unlink(self.at(path))
        except FileNotFoundError as e:
            raise Gone(path) from e

    def mv(self, old, new):
        try:
            os.rename(self.at(old), self.at(new))
        except FileNotFoundError as e:
            raise Gone(old) from e

    def mkdir(self, path):
        os.makedirs(self.at(path), exist_ok=True)

    def tree(self):
        out = {}
        for d, _, files in os.walk(self.top):
            for name in files:
                if not name.startswith(".weir-tmp-"):
                    path = os.path.relpath(os.path.join(d, name), self.top)
                    out[path] = self.get(path)
        return out


class Http:
    """One connection a thread, made again when the server has closed it."""

    def __init__(self, url):
        self.url, self.local = urllib.parse.urlsplit(url), threading.local()

    def ask(self, method, path, body=None, head=None, want=(200, 201, 204, 207)):
        for attempt in range(8):
            c = getattr(self.local, "c", None)
            if c is None:
                c = self.local.c = http.client.HTTPConnection(self.url.netloc, timeout=60)
            try:
                c.request(method, path, body, head or {})
                r = c.getresponse()
                data = r.read()
            except (http.client.HTTPException, OSError):
                c.close()
                self.local.c = None
                if attempt == 7:
                    raise
                continue
            if r.status in (423, 429, 500, 503) and attempt < 7:
                time.sleep(0.05 * (attempt + 1))
                continue
            if r.status in (404, 409):
                raise Gone(f"{method} {path}: {r.status} {data[:200]!r}")
            if r.status not in want:
                raise RuntimeError(f"{method} {path}: {r.status} {data[:300]!r}")
            return r, data
        raise RuntimeError(f"{method} {path}: no answer")


class Dav(Http):
    def __init__(self, url, user, password):
        super().__init__(url)
        self.auth = {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}

    def at(self, path):
        return self.url.path.rstrip("/") + "/" + urllib.parse.quote(path)

    def do(self, method, path, body=None, **head):
        r, data = self.ask(method, self.at(path), body, {**self.auth, **head}, want=(200, 201, 204, 207, 301))
        if r.status == 301:  # Apache wants the slash of a folder
            if "Destination" in head:
                head["Destination"] += "/"
            r, data = self.ask(method, self.at(path) + "/", body, {**self.auth, **head})
        return data

    def put(self, path, data):
        self.do("PUT", path, data)

    def get(self, path):
        return self.do("GET", path)

    def rm(self, path):
        self.do("DELETE", path)

    def mv(self, old, new):
        self.do("MOVE", old, None, Destination=f"{self.url.scheme}://{self.url.netloc}{self.at(new)}", Overwrite="T")

    def mkdir(self, path):
        try:
            self.ask("MKCOL", self.at(path), None, self.auth, want=(201, 405))
        except Gone:
            self.mkdir(os.path.dirname(path))
            self.mkdir(path)

    def tree(self, path=""):
        out = {}
        here = self.at(path).rstrip("/")
        body = b'<?xml version="1.0"?><propfind xmlns="DAV:"><prop><resourcetype/></prop></propfind>'
        answer = self.ask("PROPFIND", here + "/", body, {**self.auth, "Depth": "1", "Content-Type": "application/xml"})[1]
        for r in xml.fromstring(answer).findall("{DAV:}response"):
            href = urllib.parse.unquote(urllib.parse.urlsplit(r.find("{DAV:}href").text).path).rstrip("/")
            rel = href[len(urllib.parse.unquote(self.url.path).rstrip("/")):].strip("/")
            if rel == path.strip("/"):
                continue
            if r.find(".//{DAV:}collection") is not None:
                out.update(self.tree(rel))
            else:
                out[rel] = self.get(rel)
        return out


class Bucket:
    """Folders are prefixes here: they come and go with what is in them."""

    def __init__(self, client):
        self.c = client

    def put(self, path, data):
        self.c.put_bytes(data, path)

    def get(self, path):
        try:
            return self.c.get_bytes(path)
        except s3.Error as e:
            raise Gone(path) from e

    def keys(self, path):
        names = [n[0] if isinstance(n, tuple) else n for n in self.c.ls(path)]
        return [n for n in names if n == path or n.startswith(path + "/")]

    def rm(self, path):
        keys = self.keys(path)
        if not keys:
            raise Gone(path)
        for k in keys:
            self.c.rm(k)

    def mv(self, old, new):
        keys = self.keys(old)
        if not keys:
            raise Gone(old)
        for k in keys:
            data = b"" if k.endswith("/") else self.get(k)
            self.c.put_bytes(data, new + k[len(old):])
            self.c.rm(k)

    def mkdir(self, path):
        self.c.put_bytes(b"", path.rstrip("/") + "/")

    def tree(self):
        names = [n[0] if isinstance(n, tuple) else n for n in self.c.ls("")]
        return {n: self.get(n) for n in names if not n.endswith("/")}


class Token(Http):
    """A signed-in API: its access token comes from the refresh token, as for any program."""

    def __init__(self, url, where, prefix):
        super().__init__(url)
        env = os.environ
        form = {"grant_type": "refresh_token", "refresh_token": env[prefix + "_REFRESH_TOKEN"], "client_id": env[prefix + "_CLIENT_ID"],
                "client_secret": env[prefix + "_CLIENT_SECRET"]}
        data = self.ask("POST", where, urllib.parse.urlencode(form), {"Content-Type": "application/x-www-form-urlencoded"})[1]
        self.auth = {"Authorization": "Bearer " + json.loads(data)["access_token"]}


class Drive(Token):
    FOLDER = "application/vnd.google-apps.folder"

    def __init__(self):
        super().__init__(os.environ["WEIR_TEST_DRIVEEMU"], "/token", "WEIR_TEST_DRIVEEMU")
        self.own = os.environ["OWN"]

    def api(self, method, path, body=None, **query):
        head = {**self.auth, "Content-Type": "application/json"}
        q = urllib.parse.urlencode(query)
        data = self.ask(method, f"/drive/v3/{path}" + ("?" + q if q else ""), json.dumps(body) if body is not None else None, head)[1]
        return json.loads(data) if data else {}

    def below(self, parent, name=None):
        q = f"'{parent}' in parents and trashed = false"
        if name is not None:
            name = name.replace("\\", "\\\\").replace("'", "\\'")
            q += f" and name = '{name}'"
        out, token = [], None
        while True:
            more = {"pageToken": token} if token else {}
            a = self.api("GET", "files", q=q, fields="nextPageToken,files(id,name,mimeType)", pageSize=1000, **more)
            out += a["files"]
            token = a.get("nextPageToken")
            if not token:
                return out

    def find(self, path):
        f = {"id": "root", "mimeType": self.FOLDER}
        for part in [p for p in f"{self.own}/{path}".split("/") if p]:
            got = self.below(f["id"], part)
            if not got:
                raise Gone(path)
            f = got[0]
        return f

    def put(self, path, data):
        try:
            fid = self.find(path)["id"]
        except Gone:
            fid = self.api("POST", "files", {"name": os.path.basename(path), "parents": [self.find(os.path.dirname(path))["id"]]}, fields="id")["id"]
        self.ask("PATCH", f"/upload/drive/v3/files/{fid}?uploadType=media", data, {**self.auth, "Content-Type": "application/octet-stream"})

    def get(self, path):
        return self.ask("GET", f"/drive/v3/files/{self.find(path)['id']}?alt=media", None, self.auth)[1]

    def rm(self, path):
        self.api("PATCH", "files/" + self.find(path)["id"], {"trashed": True})

    def mv(self, old, new):
        f = self.find(old)
        a, b = self.find(os.path.dirname(old))["id"], self.find(os.path.dirname(new))["id"]
        more = {} if a == b else {"addParents": b, "removeParents": a}
        self.api("PATCH", "files/" + f["id"], {"name": os.path.basename(new)}, **more)

    def mkdir(self, path):
        at = ""
        parent = "root"
        for part in [p for p in f"{self.own}/{path}".split("/") if p]:
            at += "/" + part
            got = self.below(parent, part)
            parent = got[0]["id"] if got else self.api("POST", "files", {"name": part, "mimeType": self.FOLDER, "parents": [parent]}, fields="id")["id"]

    def tree(self, path=""):
        out = {}
        for f in self.below(self.find(path)["id"]):
            rel = f"{path}/{f['name']}".strip("/")
            if f["mimeType"] == self.FOLDER:
                out.update(self.tree(rel))
            else:
                key = rel
                while key in out:  # Drive takes two files of one name
                    key += "'"
                out[key] = self.ask("GET", f"/drive/v3/files/{f['id']}?alt=media", None, self.auth)[1]
        return out


class Dropbox(Token):
    def __init__(self):
        super().__init__(os.environ["WEIR_TEST_DROPEMU"], "/oauth2/token", "WEIR_TEST_DROPEMU")
        self.own = "/" + os.environ["OWN"]

    def at(self, path):
        return f"{self.own}/{path}".rstrip("/")

    def rpc(self, what, body):
        return json.loads(self.ask("POST", "/2/files/" + what, json.dumps(body), {**self.auth, "Content-Type": "application/json"})[1])

    def put(self, path, data):
        arg = {"path": self.at(path), "mode": "overwrite", "mute": True}
        self.ask("POST", "/2/files/upload", data, {**self.auth, "Content-Type": "application/octet-stream", "Dropbox-API-Arg": json.dumps(arg)})

    def get(self, path):
        return self.ask("POST", "/2/files/download", b"", {**self.auth, "Content-Type": "application/octet-stream",
                                                         "Dropbox-API-Arg": json.dumps({"path": self.at(path)})})[1]

    def rm(self, path):
        self.rpc("delete_v2", {"path": self.at(path)})

    def mv(self, old, new):
        self.rpc("move_v2", {"from_path": self.at(old), "to_path": self.at(new)})

    def mkdir(self, path):
        try:
            self.rpc("create_folder_v2", {"path": self.at(path)})
        except Gone as e:
            if "conflict" not in str(e):
                raise

    def tree(self):
        out = {}
        a = self.rpc("list_folder", {"path": self.own, "recursive": True})
        while True:
            for e in a["entries"]:
                if e[".tag"] == "file":
                    rel = e["path_display"][len(self.own) + 1:]
                    out[rel] = self.get(rel)
            if not a["has_more"]:
                return out
            a = self.rpc("list_folder/continue", {"cursor": a["cursor"]})


def far(kind):
    env = os.environ
    own = env["OWN"]
    if kind in ("local", "rclone-local", "rclone-sftp"):
        return Folder(os.path.join(env["T"], "remote", kind))
    if kind == "dav":
        return Dav(f"{env['WEIR_TEST_DAV']}/{own}", env["WEIR_TEST_DAV_USER"], env["WEIR_TEST_DAV_PASSWORD"])
    if kind == "ncemu":
        user = env["WEIR_TEST_NCEMU_USER"]
        return Dav(f"{env['WEIR_TEST_NCEMU']}/remote.php/dav/files/{user}/{own}", user, env["WEIR_TEST_NCEMU_PASSWORD"])
    if kind in ("rgw", "s3emu"):
        p = "WEIR_TEST_" + kind.upper()
        return Bucket(s3.Client(env[p], own, env[p + "_KEY"], env[p + "_SECRET"]))
    return Drive() if kind == "drive" else Dropbox()
