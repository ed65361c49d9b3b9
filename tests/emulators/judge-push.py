#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# The Nextcloud emulator's push socket judged by python3-websockets, a strict implementation of RFC 6455 that nobody here wrote.
# usage: judge-push.py URL USER PASSWORD CASE
import asyncio
import base64
import json
import sys
import urllib.error
import urllib.request

import websockets

url, user, password, case = sys.argv[1:5]


def ask(method, path, body=None, **headers):
    req = urllib.request.Request(url + path, data=body, method=method, headers=headers)
    secret = base64.b64encode(f"{user}:{password}".encode()).decode()
    req.add_header("Authorization", "Basic " + secret)
    req.add_header("OCS-APIRequest", "true")
    with urllib.request.urlopen(req, timeout=20) as r:
        return r.read(), r.headers


def put(name, text):
    _, head = ask("PUT", f"/remote.php/dav/files/{user}/{name}", text)
    return int(head["OC-FileId"][:8])


def told():
    body, _ = ask("GET", "/ocs/v2.php/cloud/capabilities?format=json")
    return json.loads(body)["ocs"]["data"]["capabilities"]["notify_push"]


def socket():
    return websockets.connect(told()["endpoints"]["websocket"], ping_interval=None, open_timeout=10)


async def say(ws, *texts):
    for t in texts:
        await ws.send(t)
    return await asyncio.wait_for(ws.recv(), 20)


def expect(got, wanted):
    assert got == wanted, f"{got!r} instead of {wanted!r}"


async def capability():
    expect(told()["type"], ["files", "activities", "notifications"])
    assert told()["endpoints"]["websocket"].startswith("ws://"), told()


async def by_password():
    async with socket() as ws:
        expect(await say(ws, user, password), "authenticated")
        put("judge-a", b"a")
        expect(await asyncio.wait_for(ws.recv(), 20), "notify_file")


async def by_token():
    token = ask("POST", told()["endpoints"]["pre_auth"].split("/", 3)[3].join(["/", ""]), b"")[0].decode()
    async with socket() as ws:
        expect(await say(ws, "", token), "authenticated")
    async with socket() as ws:
        expect(await say(ws, "", token), "err: Invalid credentials")


async def wrong_password():
    async with socket() as ws:
        expect(await say(ws, user, "wrong"), "err: Invalid credentials")
        try:
            await asyncio.wait_for(ws.recv(), 20)
            raise AssertionError("still open")
        except websockets.ConnectionClosed:
            pass


async def binary_first():
    async with socket() as ws:
        expect(await say(ws, b"\x01"), "err: Invalid authentication message")


async def ids():
    async with socket() as ws:
        expect(await say(ws, user, password), "authenticated")
        await ws.send("listen notify_file_id")
        await asyncio.sleep(0.1)
        one, two = put("judge-b", b"b"), put("judge-c", b"c")
        expect(await asyncio.wait_for(ws.recv(), 20), f"notify_file_id [{one},{two}]")


async def pings():
    async with socket() as ws:
        expect(await say(ws, user, password), "authenticated")
        pong = await ws.ping(b"hello")
        await asyncio.wait_for(pong, 10)
        await ws.pong(b"nobody asked")      # a pong that was not asked for is a wrong one
        try:
            await asyncio.wait_for(ws.recv(), 20)
            raise AssertionError("still open")
        except websockets.ConnectionClosed:
            pass


async def down():
    try:
        async with socket():
            raise AssertionError("it opened")
    except websockets.exceptions.InvalidHandshake as e:
        assert "502" in str(e), e


asyncio.run(globals()[case]())
