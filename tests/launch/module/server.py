# SPDX-License-Identifier: Apache-2.0
"""The test module's API: the routes of DEEPaaS 2.4 on Python's own HTTP server, compared with DEEPaaS itself, request by request.

    server.py PORT [--broken]     --broken: as DEEPaaS does when the model cannot be loaded, it serves the placeholder deepaas-test
"""
import datetime
import email.parser
import email.policy
import http.server
import json
import os
import sys
import threading
import time
import urllib.parse
import uuid

import digits

NAME = "deepaas-test" if "--broken" in sys.argv else "digits"
META = {"name": NAME, "description": "handwritten digits", "license": "Apache-2.0", "author": "weir's tests", "version": "1.0"}
TRAIN_ARGS = {"data": (str, None, True), "epochs": (int, 4, False)}
BASE = f"/v2/models/{NAME}"
trainings = {}


class Failure(Exception):
    def __init__(self, status, text, is_json=False, location=None):
        super().__init__(text)
        self.status, self.text, self.is_json, self.location = status, text, is_json, location


def run_training(entry, args):
    begun = datetime.datetime.now()
    try:
        time.sleep(0.2)	# whoever asked is told that it runs
        rows = digits.read_set(args["data"])
        _, accuracy = digits.train(rows, epochs=args["epochs"])
        now = datetime.datetime.now()
        entry["result"] = {"output": {"accuracy": accuracy}, "finish_date": str(now), "duration": str(now - begun)}
        entry["status"] = "done"
    except (OSError, ValueError) as e:
        entry["status"], entry["message"] = "error", str(e)


def model_meta():
    return {"id": NAME, **META, "links": [{"rel": "self", "href": BASE}]}


def parameter(name, kind, default, required, where="query"):
    p = {"in": where, "name": name, "required": required, "type": kind}
    if default is not None:
        p["default"] = default
    return p


def swagger():
    def op(summary, parameters=()):
        return {"tags": ["models"], "summary": summary, "parameters": list(parameters), "responses": {"200": {"description": ""}}, "produces": ["application/json"]}

    one = [parameter("uuid", "string", None, True, "path")]
    return {
        "swagger": "2.0",
        "info": {"title": "DEEP as a Service API endpoint", "version": "2.4.0", "description": "the API of a test module"},
        "paths": {
            "/": {"get": op("Get available API version")},
            "/v2/": {"get": op("Get V2 API version information")},
            "/v2/models/": {"get": op("Return loaded models and its information")},
            f"{BASE}/": {"get": op("Return model's metadata")},
            f"{BASE}/train/": {
                "post": op("Retrain model with available data", [parameter("data", "string", None, True), parameter("epochs", "integer", 4, False)]),
                "get": op("Get a list of trainings (running or completed)"),
            },
            f"{BASE}/train/{{uuid}}": {"get": op("Get status of a training", one), "delete": op("Cancel a running training", one)},
            f"{BASE}/predict/": {
                "post": op("Make a prediction given the input data", [parameter("image", "file", None, True), parameter("top", "integer", 5, False)])
            },
        },
    }


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, fmt, *args):
        print("api:", fmt % args, flush=True)

    def reply(self, value, status=200, kind="application/json; charset=utf-8", location=None):
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        if status != 204:
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
        if location:
            self.send_header("Location", location)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def fail(self, e):
        if e.is_json:
            self.reply(e.text.encode(), e.status)
        elif e.status == 500:	# aiohttp's, whatever the model said: that is in the log
            self.reply(b"500 Internal Server Error\n\nServer got itself in trouble", 500, "text/plain; charset=utf-8")
        else:
            self.reply(f"{e.status}: {e.text}".encode(), e.status, "text/plain; charset=utf-8", e.location)

    def query(self, known, form=None):
        """As webargs reads a query, and then the form: unknown names are not an error, missing and unreadable ones are 422."""
        given = {k: v.decode() for k, (v, name) in (form or {}).items() if name is None}
        given |= {k: v[0] for k, v in urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query, keep_blank_values=True).items()}
        args, wrong = {}, {}
        for name, (kind, default, required) in known.items():
            if name not in given:
                if required:
                    wrong[name] = ["Missing data for required field."]
                args[name] = default
                continue
            try:
                args[name] = kind(given[name])
            except ValueError:
                wrong[name] = ["Not a valid integer."]
        return args, wrong

    def form(self):
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        kind = self.headers.get("Content-Type", "")
        if kind.startswith("application/x-www-form-urlencoded"):
            return {k: (v[0].encode(), None) for k, v in urllib.parse.parse_qs(body.decode()).items()}
        if not kind.startswith("multipart/form-data"):
            return {}
        message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(b"Content-Type: " + kind.encode() + b"\r\n\r\n" + body)
        return {p.get_param("name", header="content-disposition"): (p.get_payload(decode=True), p.get_filename()) for p in message.iter_parts()}

    def predict(self):
        files = self.form()
        args, wrong = self.query({"top": (int, 5, False)}, files)
        if "image" not in files:
            wrong["image"] = ["Missing data for required field."]
        if wrong:
            raise Failure(422, json.dumps(wrong), True)
        try:
            raw, name = files["image"]
            if name is None:
                raise ValueError("the image is a text field, not a file")
            answer = digits.Model.load().predict(digits.read_pgm(raw), args["top"])
        except ValueError as e:
            print("model:", e, flush=True)
            raise Failure(500, str(e)) from e
        self.reply({"status": "OK", "predictions": answer})

    def train(self):
        self.form()
        args, wrong = self.query(TRAIN_ARGS)
        if wrong:
            raise Failure(422, json.dumps(wrong), True)
        key = uuid.uuid4().hex
        entry = trainings[key] = {"date": str(datetime.datetime.now()), "args": args, "uuid": key, "status": "running"}
        threading.Thread(target=run_training, args=(entry, args), daemon=True).start()
        self.reply(entry)

    def one_training(self, path, forget=False):
        key = path.removeprefix(f"{BASE}/train/")
        entry = trainings.pop(key, None) if forget else trainings.get(key)
        if entry is None:
            raise Failure(404, "Not Found")
        if forget and entry["status"] == "running":
            entry = {**entry, "status": "cancelled"}
        self.reply(entry)

    def route(self, method):
        path = self.path.split("?")[0]
        version = {"version": "stable", "id": "v2", "links": [{"rel": "self", "type": "application/json", "href": "/v2/"}]}
        table = {
            ("GET", "/"): lambda: self.reply({"versions": [version], "links": [{"rel": "help", "type": "text/html", "href": "/api"}, {"rel": "describedby", "type": "application/json", "href": "/swagger.json"}]}),
            ("GET", "/swagger.json"): lambda: self.reply(swagger()),
            ("GET", "/v2/"): lambda: self.reply(version),
            ("GET", "/v2/models/"): lambda: self.reply({"models": [model_meta()]}),
            ("GET", f"{BASE}/"): lambda: self.reply(model_meta()),
            ("POST", f"{BASE}/predict/"): self.predict,
            ("POST", f"{BASE}/train/"): self.train,
            ("GET", f"{BASE}/train/"): lambda: self.reply(list(trainings.values())),
            ("GET", "/v2/debug/"): lambda: self.reply(b"", 204),
            ("GET", "/api"): lambda: self.reply(b"<title>DEEPaaS</title>", kind="text/html; charset=utf-8"),
        }
        if (method, path) in table:
            return table[(method, path)]()
        if path.startswith(f"{BASE}/train/") and path != f"{BASE}/train/":
            if method in ("GET", "DELETE"):
                return self.one_training(path, method == "DELETE")
            raise Failure(405, "Method Not Allowed")
        if path == "/ui" and method in ("GET", "HEAD"):
            raise Failure(302, "Found", location="/api")
        if path == "/ui" or any(known == path for _, known in table):
            raise Failure(405, "Method Not Allowed")
        if (method, path + "/") in table:	# aiohttp's normalize_path_middleware
            raise Failure(308, "Permanent Redirect", location=path + "/")
        raise Failure(404, "Not Found")

    def handle_any(self):
        try:
            self.route(self.command)
        except Failure as e:
            self.fail(e)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = handle_any


if __name__ == "__main__":
    if NAME == "digits":
        digits.Model.load()
    # An address of "" is every one: DEEPaaS listens on 0.0.0.0 in the platform's images.
    with http.server.ThreadingHTTPServer(("", int(sys.argv[1])), Handler) as server:
        print(f"api: serving {NAME} on port {sys.argv[1]}, /storage is {'there' if os.path.isdir('/storage') else 'not there'}", flush=True)
        server.serve_forever()
