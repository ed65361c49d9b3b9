#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# A small OpenID issuer for tests: real keys, tokens made by PyJWT (python3-jwt), plain HTTP on loopback (tests/emulators/tlsfront.py puts TLS before it).
#   oidc.py serve FOLDER ISSUER         prints "listening on 127.0.0.1:PORT"; notes each request in FOLDER/requests; answers 503 while FOLDER/fail exists
#                                       while FOLDER/pad exists: so many blanks behind each answer; while FOLDER/issuer exists: calls itself that
#   oidc.py key FOLDER KID [rsa|ec]     a new key: FOLDER/KID.pem, its public part in FOLDER/jwks.json
#   oidc.py drop FOLDER KID             takes it out of FOLDER/jwks.json
#   oidc.py sign FOLDER KID ALG CLAIMS [HEADER]     a token; claims are JSON, "exp": "+60" is 60 s from now
import base64
import ctypes
import http.server
import json
import os
import signal
import sys
import time
import urllib.parse

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def number(n, length=None):
    return b64(n.to_bytes(length or (n.bit_length() + 7) // 8, "big"))


def jwk(kid, public):
    n = public.public_numbers()
    if isinstance(public, rsa.RSAPublicKey):
        return {"kty": "RSA", "use": "sig", "kid": kid, "n": number(n.n), "e": number(n.e)}
    return {"kty": "EC", "use": "sig", "kid": kid, "crv": "P-256", "x": number(n.x, 32), "y": number(n.y, 32)}


def load(folder):
    try:
        with open(f"{folder}/jwks.json") as f:
            return json.load(f)
    except FileNotFoundError:
        return {"keys": []}


def save(folder, keys):
    with open(f"{folder}/jwks.json.new", "w") as f:
        json.dump(keys, f)
    os.rename(f"{folder}/jwks.json.new", f"{folder}/jwks.json")


def make_key(folder, kid, kind="rsa"):
    key = rsa.generate_private_key(65537, 2048) if kind == "rsa" else ec.generate_private_key(ec.SECP256R1())
    with open(f"{folder}/{kid}.pem", "wb") as f:
        f.write(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    keys = load(folder)
    keys["keys"].append(jwk(kid, key.public_key()))
    save(folder, keys)


def drop_key(folder, kid):
    save(folder, {"keys": [k for k in load(folder)["keys"] if k["kid"] != kid]})


def sign(folder, kid, alg, claims, header="{}"):
    import jwt

    claims = json.loads(claims)
    for name in ("exp", "nbf", "iat"):
        if isinstance(claims.get(name), str) and claims[name][:1] in "+-":
            claims[name] = int(time.time()) + int(claims[name])
    with open(f"{folder}/{kid}.pem", "rb") as f:
        key = f.read()
    print(jwt.encode(claims, key, algorithm=alg, headers={"kid": kid, **json.loads(header)}))


def serve(folder, issuer):
    path = urllib.parse.urlsplit(issuer).path.rstrip("/")

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            with open(f"{folder}/requests", "a") as f:
                f.write(self.path + "\n")
            if os.path.exists(f"{folder}/fail"):
                return self.send_error(503)
            if self.path == path + "/.well-known/openid-configuration":
                name = open(f"{folder}/issuer").read().strip() if os.path.exists(f"{folder}/issuer") else issuer
                body = json.dumps({"issuer": name, "jwks_uri": issuer.rstrip("/") + "/certs"}).encode()
            elif self.path == path + "/certs":
                body = json.dumps(load(folder)).encode()
            else:
                return self.send_error(404)
            if os.path.exists(f"{folder}/pad"):
                body += b" " * int(open(f"{folder}/pad").read())
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    ctypes.CDLL(None).prctl(1, signal.SIGTERM)    # PR_SET_PDEATHSIG
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(f"listening on 127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    {"serve": serve, "key": make_key, "drop": drop_key, "sign": sign}[sys.argv[1]](*sys.argv[2:])
