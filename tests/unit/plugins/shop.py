# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small shop for the tests of the gate. It is correct, except for the one fault that a test sets."""

from __future__ import annotations

import gzip
import json
import re
import socket
import threading
from urllib.parse import parse_qs

from ansible_collections.evenkeel.flask.tests.unit.plugins.loopback import ok

LIMIT = 1000
PAGE = (
    b'<html><head><link rel="stylesheet" href="/static/shop.css">'
    b'<script src="/static/shop.js"></script><script src="https://cdn.example/x.js"></script>'
    b'</head><body><h1>Welcome</h1><img src="data:image/gif;base64,R0">'
    + b"<p>Cups and plates.</p>" * 100
    + b"</body></html>"
)
LOGIN = (
    b'<form><input type="hidden" name="csrf" value="t0ken">'
    b'<input name="username"><input name="password" type="password"></form>'
)


class Shop:
    """Answers like an app; C(fault) names what is wrong with it."""

    def __init__(self, fault: str = "") -> None:
        self.fault = fault
        self.session = "session=demo.other" if fault == "other secret" else "session=demo.sig"
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.crowd = threading.Barrier(10)

    def __call__(self, conn: socket.socket, raw: bytes) -> bytes | None:
        head, _sep, body = raw.partition(b"\r\n\r\n")
        method, target, _version = head.decode("latin-1").split("\r\n")[0].split(" ")
        path = target.partition("?")[0]
        self.asked.append(f"{method} {target}")
        given = dict(re.findall(r"(?m)^([\w-]+): (.*?)\r?$", head.decode("latin-1")))
        if given.get("Host", "").endswith(".invalid") and self.fault != "any host":
            return ok(status="421 Misdirected Request")
        if self.fault == "500":
            return ok(b"Internal Server Error", "500 Internal Server Error")
        for prefix, handler in self.routes().items():
            if path == prefix or (
                prefix.endswith("/") and prefix != "/" and path.startswith(prefix)
            ):
                return handler(method, path, given, body)
        if self.fault == "debugger's script" and "__debugger__=yes" in target:
            return ok(b"x", Content_Type="text/javascript")
        shown = b"not here"
        if self.fault == "traceback":
            shown = b"Traceback (most recent call last):\n  File ..."
        server = "Werkzeug/3.1 Python/3.11" if self.fault == "version" else "gunicorn"
        status = "200 OK" if self.fault == "soft 404" else "404 Not Found"
        return ok(shown, status, Server=server)

    def routes(self):
        routes = {
            "/": self.main,
            "/health": self.health,
            "/static/": self.static,
            "/api/products": self.products,
            "/upload": self.upload,
            "/uploads/": self.uploaded,
            "/login": self.login,
            "/account": self.account,
        }
        if self.fault == "health says yes":
            routes["/health/"] = self.health
        return routes

    def main(self, method, path, given, body):
        if self.fault == "not compressed":
            return ok(PAGE, Content_Type="text/html; charset=utf-8")
        if self.fault == "empty page":
            return ok(b" ", Content_Type="text/html")
        if self.fault == "debugger":
            return ok(b"<title>Werkzeug Debugger</title>", Content_Type="text/html")
        page = gzip.compress(PAGE)
        return ok(page, Content_Type="text/html; charset=utf-8", Content_Encoding="gzip")

    def health(self, method, path, given, body):
        if method != "GET":
            return ok(status="200 OK" if self.fault == "any method" else "405 Method Not Allowed")
        if self.fault == "flapping" and self.asked.count("GET /health") % 3 == 0:
            return ok(b'{"status": "error"}', "503 Service Unavailable")
        other = {"X_Release": "3-c"} if self.fault == "other release" else {}
        return ok(b'{"status": "ok"}', Content_Type="application/json", **other)

    def static(self, method, path, given, body):
        if self.fault == "asset" and path.endswith(".css"):
            return ok(status="404 Not Found")
        if self.fault == "css is text" and path.endswith(".css"):
            return ok(b"x", Content_Type="text/plain; charset=utf-8")
        return ok(b"x")

    def products(self, method, path, given, body):
        if method == "POST":
            try:
                json.loads(body)
            except ValueError:
                wrong = "500 Oh" if self.fault == "bad body" else "400 Bad Request"
                return ok(b"{}", wrong, Content_Type="application/json")
            return ok(b'{"id": 1}', "201 Created", Content_Type="application/json")
        text = b"<html>" if self.fault == "api" else b'{"page": 1, "products": [{"name": "cup"}]}'
        kind = "text/html" if self.fault == "json is html" else "application/json"
        return ok(text, Content_Type=kind)

    def upload(self, method, path, given, body):
        if self.fault == "upload":
            return ok(status="500 Oh")
        limit = LIMIT // 2 if self.fault == "small limit" else LIMIT
        if len(body) > limit and self.fault != "no limit":
            return None if self.fault == "limit breaks" else ok(status="413 Content Too Large")
        content = body.partition(b"\r\n\r\n")[2].rpartition(b"\r\n--")[0]
        name = f"/uploads/{len(self.files)}"
        self.files[name] = content[:-1] if self.fault == "damaged" else content
        return ok(
            json.dumps({"url": name}).encode(), "201 Created", Content_Type="application/json"
        )

    def uploaded(self, method, path, given, body):
        if method == "DELETE":
            if self.fault == "kept":
                return ok(status="405 Method Not Allowed")
            self.files.pop(path, None)
            return ok(status="204 No Content")
        return ok(self.files[path]) if path in self.files else ok(status="404 Not Found")

    def login(self, method, path, given, body):
        if method == "GET":
            return ok(LOGIN, Set_Cookie="csrf=abc; Path=/")
        if self.fault == "login":
            return ok(status="500 Oh")
        form = parse_qs(body.decode())
        right = form.get("password") == ["right"] and form.get("csrf") == ["t0ken"]
        if not right or "csrf=abc" not in given.get("Cookie", ""):
            return ok(status="401 Unauthorized")
        attributes = "; Secure; HttpOnly; SameSite=Lax"
        if self.fault == "cookie":
            attributes = ""
        if self.fault == "samesite":
            attributes = "; Secure; HttpOnly"
        place = "http://localhost:5000/account" if self.fault == "localhost" else "/account"
        return ok(status="302 Found", Location=place, Set_Cookie=f"{self.session}{attributes}")

    def account(self, method, path, given, body):
        session = self.session in given.get("Cookie", "")
        if self.fault == "one worker" and self.asked.count("GET /account") % 4 == 0:
            session = False
        if self.fault == "forged" and "session=" in given.get("Cookie", ""):
            session = True
        if session or self.fault == "open":
            return ok(b"Hello, demo", **self.caching())
        return ok(status="302 Found", Location="/login")

    def caching(self):
        faults = {
            "public": {"Cache-Control": "public, max-age=60", "Vary": "Cookie"},
            "kept for all alike": {"Cache-Control": "max-age=60"},
        }
        return faults.get(self.fault, {"Cache-Control": "private, max-age=60"})
