# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server on loopback that gives every awkward answer a server can give, by path: awkward_server.py FOLDER

It listens in every way a server can, writes the addresses into FOLDER as JSON, and ends by itself.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import socket
import sys
import time
from pathlib import Path

from ansible_collections.evenkeel.flask.tests.unit.plugins.certificates import server_context
from ansible_collections.evenkeel.flask.tests.unit.plugins.loopback import ok, serving

SECONDS = 300
# Longer than any time limit of the tests, shorter than their patience.
SILENCE = 30

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
ANSWERS = {
    "/well": ok(b"ready"),
    "/broken": ok(b"ready", "503 Service Unavailable"),
    "/nothing": b"HTTP/1.1 204 No Content\r\n\r\n",
    "/old": b"HTTP/1.0 200 OK\r\n\r\nready",
    "/early": b"HTTP/1.1 103 Early Hints\r\nLink: </x.css>\r\n\r\n" + ok(b"ready"),
    "/gzip": ok(gzip.compress(b"ready"), Content_Encoding="gzip"),
    "/gzip-cut": ok(gzip.compress(b"ready")[:-9], Content_Encoding="gzip"),
    "/latin": ok(b"ready \xff\xfe"),
    "/json": ok(b'{"database": {"ok": true}}'),
    "/json-broken": ok(b'{"database": '),
    "/short": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nready",
    "/chunks": CHUNKED + b"5\r\nready\r\n0\r\n\r\n",
    "/chunks-cut": CHUNKED + b"5\r\nready\r\n",
    "/garbage": b"SSH-2.0-OpenSSH_9.2\r\n",
    "/status-cut": b"HTTP/1.1 2",
    "/empty": b"",
    "/headers-huge": b"HTTP/1.1 200 OK\r\n" + b"X-A: " + b"a" * 10_000_000 + b"\r\n\r\nready",
    "/body-huge": ok(b"ready" * 6_000_000),
    "/loop": ok(b"", "302 Found", Location="/loop"),
    "/away": ok(b"", "302 Found", Location="http://elsewhere.invalid/"),
    "/home": ok(b"", "302 Found", Location="/well"),
}


# A name for each certificate, what it is made for, and how many days it has left.
CERTIFICATES = {
    "tls": ("127.0.0.1", 90),
    "tls_expiring": ("127.0.0.1", 3),
    "tls_expired": ("127.0.0.1", -1),
    "tls_wrong_name": ("elsewhere.example", 90),
}


def drip(connection: socket.socket, data: bytes) -> None:
    deadline = time.monotonic() + SILENCE
    while time.monotonic() < deadline:
        connection.sendall(data)
        time.sleep(0.1)


def answer(connection: socket.socket, request: bytes) -> bytes | None:
    path = request.split(b" ")[1].decode()
    if path == "/silent":
        time.sleep(SILENCE)
        return None
    if path == "/headers-drip":
        connection.sendall(b"HTTP/1.1 200 OK\r\nX-A: ")
        drip(connection, b"a")
    elif path == "/body-drip":
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        drip(connection, b"a")
    return ANSWERS.get(path, ok(b"ready", "404 Not Found"))


def main(folder: Path) -> None:
    with contextlib.ExitStack() as stack:
        unix_socket = str(folder / "socket")
        stack.enter_context(serving(answer, unix_socket=unix_socket))
        where = {
            "plain": stack.enter_context(serving(answer)).url,
            "ipv6": stack.enter_context(serving(answer, socket.AF_INET6)).url,
            "unix_socket": unix_socket,
        }
        for name, (subject, days) in CERTIFICATES.items():
            (folder / name).mkdir()
            tls = server_context(folder / name, days, subject)
            where[name] = stack.enter_context(serving(answer, tls=tls)).url
        partial = folder / "where.partial"
        partial.write_text(json.dumps(where), encoding="utf-8")
        partial.replace(folder / "where")
        time.sleep(SECONDS)
        # Open connections do not get an orderly end.
        os._exit(0)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
