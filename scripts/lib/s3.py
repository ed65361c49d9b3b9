# SPDX-License-Identifier: Apache-2.0
"""A small S3 client on Python's standard library alone: the far side of tests, demo and bench.

It shares nothing with weir: what it puts and reads proves that weir speaks the protocol and not a dialect of its own.
As a program:  s3.py mkbucket | ls [PREFIX] | count [PREFIX] | put FILE KEY | puttree FOLDER [PREFIX] | get KEY FILE | rm KEY | rmtree [PREFIX]
with S3_ENDPOINT, S3_BUCKET, S3_ACCESS_KEY, S3_SECRET_KEY and S3_REGION (default us-east-1) in the environment.
"""
import concurrent.futures
import datetime
import hashlib
import hmac
import http.client
import os
import re
import sys
import threading
import urllib.parse
import xml.etree.ElementTree as xml

EMPTY = hashlib.sha256(b"").hexdigest()


class Error(Exception):
    pass


class Client:
    def __init__(self, endpoint, bucket, access, secret, region="us-east-1", timeout=60):
        u = urllib.parse.urlsplit(endpoint)
        self.secure = u.scheme == "https"
        self.host, self.bucket = u.netloc, bucket
        self.access, self.secret, self.region, self.timeout = access, secret, region, timeout
        self.local = threading.local()

    def _connection(self, fresh):
        c = None if fresh else getattr(self.local, "c", None)
        if c is None:
            kind = http.client.HTTPSConnection if self.secure else http.client.HTTPConnection
            c = self.local.c = kind(self.host, timeout=self.timeout)
        return c

    def _sign(self, method, path, query, payload, extra):
        now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
        head = {"host": self.host, "x-amz-date": now, "x-amz-content-sha256": payload, **extra}
        names = ";".join(sorted(head))
        canon = "\n".join([method, path, query, *[f"{n}:{head[n]}" for n in sorted(head)], "", names, payload])
        scope = f"{now[:8]}/{self.region}/s3/aws4_request"
        text = "\n".join(["AWS4-HMAC-SHA256", now, scope, hashlib.sha256(canon.encode()).hexdigest()])
        key = ("AWS4" + self.secret).encode()
        for part in (now[:8], self.region, "s3", "aws4_request"):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        sign = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
        head["authorization"] = f"AWS4-HMAC-SHA256 Credential={self.access}/{scope}, SignedHeaders={names}, Signature={sign}"
        return head

    def request(self, method, key="", query=(), body=b"", payload=None, extra=None, want=(200, 204)):
        path = "/" + self.bucket + ("/" + urllib.parse.quote(key, safe="/-_.~") if key else "")
        quoted = "&".join(f"{urllib.parse.quote(k, safe='-_.~')}={urllib.parse.quote(v, safe='-_.~')}" for k, v in sorted(query))
        if payload is None:
            payload = hashlib.sha256(body).hexdigest() if body else EMPTY
        for attempt in (0, 1):
            head = self._sign(method, path, quoted, payload, dict(extra or {}))
            c = self._connection(fresh=attempt > 0)
            try:
                if hasattr(body, "seek"):
                    body.seek(0)
                c.request(method, path + ("?" + quoted if quoted else ""), body=body or None, headers=head)
                r = c.getresponse()
                break
            except (http.client.HTTPException, OSError):
                c.close()
                self.local.c = None
                if attempt:
                    raise
        if r.status not in want:
            text = r.read(600).decode(errors="replace")
            c.close()
            self.local.c = None
            raise Error(f"{method} {path}: {r.status} {text}")
        return r

    def mkbucket(self):
        self.request("PUT", want=(200, 409)).read()

    def put(self, path, key):
        size = os.path.getsize(path)
        with open(path, "rb") as f:
            extra = {"content-length": str(size)} if size else {}
            if size:
                self.request("PUT", key, body=f, payload="UNSIGNED-PAYLOAD", extra=extra).read()
            else:
                self.request("PUT", key).read()
        return size

    def put_bytes(self, data, key):
        self.request("PUT", key, body=data).read()

    def get(self, key, path):
        r = self.request("GET", key)
        with open(path, "wb") as f:
            while block := r.read(1 << 20):
                f.write(block)

    def get_bytes(self, key):
        return self.request("GET", key).read()

    def rm(self, key):
        self.request("DELETE", key).read()

    def ls(self, prefix=""):
        """(key, size) of every object, in order."""
        token = None
        while True:
            q = [("list-type", "2"), ("prefix", prefix)] + ([("continuation-token", token)] if token else [])
            text = re.sub(rb' xmlns="[^"]*"', b"", self.request("GET", query=q).read(), count=1)
            tree = xml.fromstring(text)
            for o in tree.iter("Contents"):
                yield o.findtext("Key"), int(o.findtext("Size"))
            token = tree.findtext("NextContinuationToken")
            if not token:
                return

    def puttree(self, folder, prefix="", threads=16):
        todo = []
        for base, _, names in os.walk(folder):
            for n in names:
                p = os.path.join(base, n)
                todo.append((p, prefix + os.path.relpath(p, folder)))
        with concurrent.futures.ThreadPoolExecutor(threads) as pool:
            return len(todo), sum(pool.map(lambda t: self.put(*t), todo))

    def rmtree(self, prefix="", threads=16):
        with concurrent.futures.ThreadPoolExecutor(threads) as pool:
            return sum(1 for _ in pool.map(self.rm, [k for k, _ in list(self.ls(prefix))]))


def from_environment():
    e = os.environ
    return Client(e["S3_ENDPOINT"], e["S3_BUCKET"], e["S3_ACCESS_KEY"], e["S3_SECRET_KEY"], e.get("S3_REGION", "us-east-1"))


def main(verb, *args):
    c = from_environment()
    if verb == "ls":
        for k, n in c.ls(*args):
            print(n, k)
    elif verb == "count":
        print(sum(1 for _ in c.ls(*args)))
    elif verb in ("mkbucket", "put", "puttree", "get", "rm", "rmtree"):
        r = getattr(c, verb)(*args)
        if verb == "puttree":
            print(*r)
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:] or ["help"])
    except (Error, OSError, KeyError) as e:
        sys.exit(f"s3.py: {e}")
