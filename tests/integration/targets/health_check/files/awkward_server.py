# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server on loopback that gives every awkward answer a server can give, by path.

It writes its port into the file that is named, and ends by itself when nobody asks any more.
"""

from __future__ import annotations

import contextlib
import gzip
import os
import socket
import sys
import threading
import time

IDLE_SECONDS = 300
# Longer than any time limit of the tests, shorter than their patience.
SILENCE = 30


def whole(body: bytes = b"ready", status: str = "200 OK", **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
ANSWERS = {
    "/well": whole(),
    "/broken": whole(status="503 Service Unavailable"),
    "/nothing": b"HTTP/1.1 204 No Content\r\n\r\n",
    "/old": b"HTTP/1.0 200 OK\r\n\r\nready",
    "/early": b"HTTP/1.1 103 Early Hints\r\nLink: </x.css>\r\n\r\n" + whole(),
    "/gzip": whole(gzip.compress(b"ready"), Content_Encoding="gzip"),
    "/gzip-cut": whole(gzip.compress(b"ready")[:-9], Content_Encoding="gzip"),
    "/latin": whole(b"ready \xff\xfe"),
    "/json": whole(b'{"database": {"ok": true}}'),
    "/json-broken": whole(b'{"database": '),
    "/short": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nready",
    "/chunks": CHUNKED + b"5\r\nready\r\n0\r\n\r\n",
    "/chunks-cut": CHUNKED + b"5\r\nready\r\n",
    "/garbage": b"SSH-2.0-OpenSSH_9.2\r\n",
    "/status-cut": b"HTTP/1.1 2",
    "/empty": b"",
    "/headers-huge": b"HTTP/1.1 200 OK\r\n" + b"X-A: " + b"a" * 10_000_000 + b"\r\n\r\nready",
    "/body-huge": whole(b"ready" * 6_000_000),
    "/loop": whole(b"", "302 Found", Location="/loop"),
    "/away": whole(b"", "302 Found", Location="http://elsewhere.invalid/"),
    "/home": whole(b"", "302 Found", Location="/well"),
}


def drip(connection: socket.socket, data: bytes) -> None:
    deadline = time.monotonic() + SILENCE
    while time.monotonic() < deadline:
        connection.sendall(data)
        time.sleep(0.1)


def serve(connection: socket.socket) -> None:
    with connection, contextlib.suppress(OSError):
        raw = b""
        while b"\r\n\r\n" not in raw:
            raw += connection.recv(65536) or b"\r\n\r\n"
        path = raw.split(b" ")[1].decode()
        if path == "/silent":
            time.sleep(SILENCE)
        elif path == "/headers-drip":
            connection.sendall(b"HTTP/1.1 200 OK\r\nX-A: ")
            drip(connection, b"a")
        elif path == "/body-drip":
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
            drip(connection, b"a")
        else:
            connection.sendall(ANSWERS.get(path, whole(status="404 Not Found")))


def main() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(IDLE_SECONDS)
        partial = sys.argv[1] + ".partial"
        with open(partial, "w", encoding="ascii") as file:
            file.write(str(server.getsockname()[1]))
        os.replace(partial, sys.argv[1])
        with contextlib.suppress(socket.timeout):
            while True:
                connection, _peer = server.accept()
                threading.Thread(target=serve, args=(connection,), daemon=True).start()


if __name__ == "__main__":
    main()
