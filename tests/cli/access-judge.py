# SPDX-License-Identifier: Apache-2.0
# PyJWT and weir judge the same tokens: good ones, and several hundred that were changed before or after signing.
# usage: access-judge.py WEIR CONF FOLDER COUNT SEED     (keys and jwks.json are in FOLDER, made by tests/servers/oidc.py)
# Never may weir accept what PyJWT refuses. What weir refuses and PyJWT accepts must be one of the kinds where weir is stricter on purpose: STRICTER below.
import base64
import hashlib
import hmac
import json
import os
import random
import re
import subprocess
import sys
import time

import jwt
from cryptography.hazmat.primitives import serialization

weir, conf, folder, count, seed = sys.argv[1:4] + [int(a) for a in sys.argv[4:6]]
ISSUER, AUDIENCE, LEEWAY = "https://login.test/realms/demo", "account", 60
rnd = random.Random(seed)
private = {k: open(f"{folder}/{k}.pem", "rb").read() for k in ("r1", "r2", "e1", "stranger")}
public = {
    k: serialization.load_pem_private_key(v, None).public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    for k, v in private.items()
}
listed = {k["kid"] for k in json.load(open(f"{folder}/jwks.json"))["keys"]}


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def pyjwt(token):
    """The subject, or None."""
    try:
        kid = jwt.get_unverified_header(token)["kid"]
        if kid not in listed:
            return None
        claims = jwt.decode(token, public[kid], algorithms=["RS256", "PS256", "ES256"], audience=AUDIENCE, issuer=ISSUER, leeway=LEEWAY,
                            options={"require": ["exp", "sub"]})
        return claims["sub"]
    except Exception:
        return None


def ours(token):
    with open(f"{folder}/token", "w") as f:
        f.write(token)
    os.chmod(f"{folder}/token", 0o600)
    p = subprocess.run([weir, "access", "show", "-c", conf, "--json"], capture_output=True, text=True, timeout=60)
    if p.returncode != 0:
        sys.exit(f"weir access show: status {p.returncode}: {p.stderr}\nof: {token}")
    v = json.loads(p.stdout)
    return v["subject"], v["notes"], v["level"]


def is_canonical(token):
    """Each part has the one spelling that encoding gives it."""
    for part in token.split("."):
        if not re.fullmatch(r"[A-Za-z0-9_-]*", part):
            return False
        try:
            if b64(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))) != part:
                return False
        except Exception:
            return False
    return True


def pairs_repeat(text):
    """Does an object in this JSON hold a name twice?"""
    seen = []

    def hook(pairs):
        seen.append(len(pairs) != len({k for k, _ in pairs}))
        return dict(pairs)

    json.loads(text, object_pairs_hook=hook)
    return any(seen)


def stricter(token):
    """Why weir may refuse what PyJWT takes; None: it may not."""
    if not is_canonical(token):
        return "another spelling of base64"
    head, claims = (json.loads(base64.urlsafe_b64decode(p + "=" * (-len(p) % 4))) for p in token.split(".")[:2])
    if "crit" in head:
        return "critical extensions"
    for name in ("exp", "nbf", "iat"):
        if name in claims and (isinstance(claims[name], (str, bool)) or not isinstance(claims[name], (int, float))):
            return "a date that is no number"
    if not isinstance(claims.get("sub"), str) or claims["sub"] == "":
        return "sub is no text"
    return None


def claims():
    now = int(time.time())
    c = {"iss": ISSUER, "aud": AUDIENCE, "sub": f"user-{rnd.randrange(1000)}", "exp": now + 3600, "iat": now,
         "realm_access": {"roles": ["access:vo.demo.eu:full", "offline_access"]}}
    for _ in range(rnd.choice([0, 0, 1, 1, 2])):
        name = rnd.choice(["iss", "aud", "sub", "exp", "nbf", "iat", "exp", "aud", "nbf"])
        c[name] = {
            "iss": lambda: rnd.choice([ISSUER + "/", "https://login.test/realms/Demo", None, 5, ISSUER, [ISSUER]]),
            "aud": lambda: rnd.choice(["account", ["account"], ["x", "account"], ["x"], [], "accoun", "Account", ["account", 5], None, 7, {"account": 1}]),
            "sub": lambda: rnd.choice(["", "x", 5, None, ["a"], "äöü€", "a" * 5000]),
            # never near the edge: the two look at their clocks at different times
            "exp": lambda: rnd.choice([now - 30, now - 90, now + 90, now + 0.5, -1, 0, 1e12, "soon", str(now + 500), None, True, now + 3600.25]),
            "nbf": lambda: rnd.choice([now - 90, now + 30, now + 120, 0, -5, "x", now - 0.5, 1e11]),
            "iat": lambda: rnd.choice([now - 90, now + 30, now + 120, 0, "x", now + 0.5]),
        }[name]()
    if rnd.random() < 0.15:
        del c[rnd.choice(["iss", "aud", "sub", "exp"])]
    return c


def raw(head, body, key, alg):
    """Signed by hand: PyJWT would not make some of these."""
    text = b64(json.dumps(head).encode() if isinstance(head, dict) else head) + "." + b64(json.dumps(body).encode() if isinstance(body, dict) else body)
    if alg.startswith("HS"):
        digest = {"HS256": hashlib.sha256, "HS384": hashlib.sha384, "HS512": hashlib.sha512}[alg]
        return text + "." + b64(hmac.new(key, text.encode(), digest).digest())
    if alg == "none":
        return text + "."
    return text + "." + jwt.api_jws.PyJWS().encode(b"", key, algorithm=alg).split(".")[2]


def whole():
    kid, alg = rnd.choice([("r1", "RS256"), ("r2", "RS256"), ("r1", "PS256"), ("e1", "ES256")])
    return jwt.encode(claims(), private[kid], algorithm=alg, headers={"kid": kid}), alg


def forged():
    kid = rnd.choice(["r1", "e1"])
    kind = rnd.randrange(7)
    c = claims()
    if kind == 0:
        return raw({"alg": rnd.choice(["none", "None", "NONE", "nOnE"]), "kid": kid}, c, b"", "none")
    if kind == 1:
        alg = rnd.choice(["HS256", "HS384", "HS512"])
        return raw({"alg": alg, "typ": "JWT", "kid": kid}, c, public[kid], alg)
    if kind == 2:   # a stranger's key under a known name
        return jwt.encode(c, private["stranger"], algorithm="RS256", headers={"kid": kid})
    if kind == 3:   # ... and one that the token brings along
        jwk = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(serialization.load_pem_private_key(private["stranger"], None).public_key()))
        return jwt.encode(c, private["stranger"], algorithm="RS256", headers={"kid": "r1", "jwk": jwk, "jku": "https://login.test/certs"})
    if kind == 4:
        return jwt.encode(c, private["r1"], algorithm=rnd.choice(["RS384", "RS512", "PS384", "PS512"]), headers={"kid": "r1"})
    if kind == 5:
        return jwt.encode(c, private["r1"], algorithm="RS256", headers={"kid": rnd.choice(["r2", "e1", "stranger", "", "r1 ", "../r1"])})
    return jwt.encode(c, private["r1"], algorithm="RS256", headers={"kid": "r1", **rnd.choice([{"crit": ["exp"], "exp": 1}, {"typ": "at+jwt"}, {"cty": "x"}])})


def changed(token):
    parts = token.split(".")
    i = rnd.randrange(3)
    kind = rnd.randrange(8)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_+/=.%\u00e9"
    if kind <= 2:
        at = rnd.randrange(len(parts[i])) if kind else len(parts[i]) - 1
        parts[i] = parts[i][:at] + rnd.choice(alphabet) + parts[i][at + 1:]
    elif kind == 3:
        at = rnd.randrange(len(parts[i]) + 1)
        parts[i] = parts[i][:at] + rnd.choice(alphabet) + parts[i][at:]
    elif kind == 4:
        parts[i] = parts[i][:rnd.randrange(len(parts[i]))]
    elif kind == 5:
        parts[i] = parts[i] + rnd.choice(["=", "==", "A", "AAAA", "."])
    elif kind == 6:
        rnd.shuffle(parts)
    else:   # the claims of one token with the signature of another
        parts[1] = b64(json.dumps(claims()).encode())
    return ".".join(parts)


tally = {}
failed = 0
for n in range(count):
    how = rnd.random()
    token = whole()[0] if how < 0.4 else forged() if how < 0.65 else changed(whole()[0])
    theirs = pyjwt(token)
    mine, notes, level = ours(token)
    if theirs is not None and mine == theirs:
        verdict = "both accept"
        if "access:vo.demo.eu:full" in token or level != "full":
            failed += level != "full"
            verdict += "" if level == "full" else ", but no level"
    elif theirs is None and mine is None:
        verdict = "both refuse" if notes else "WEIR REFUSES WITHOUT A WORD"
        failed += not notes
    elif mine is None:
        why = stricter(token)
        verdict = f"weir is stricter: {why}" if why else "ONLY WEIR REFUSES"
        failed += why is None
    else:
        verdict = "ONLY WEIR ACCEPTS"
        failed += 1
    tally[verdict] = tally.get(verdict, 0) + 1
    if verdict.isupper() or "but no" in verdict:
        print(f"{verdict}: {notes}\n{token}")
print(json.dumps(tally, sort_keys=True))
if not tally.get("both accept") or not tally.get("both refuse"):
    print("one of the two kinds is missing")
    failed += 1
sys.exit(1 if failed else 0)
