# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server on loopback that sends exactly the response of a test, even an invalid one."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field


def ok(body: bytes = b"", status: str = "200 OK", **headers: str) -> bytes:
    """A proper answer."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def silent(conn: socket.socket, request: bytes) -> None:
    """Say nothing until the other side gives up."""
    while conn.recv(65536):
        pass


def reset(conn: socket.socket, request: bytes) -> None:
    """Hang up the rude way."""
    conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


@dataclass
class Server:
    """The address of the server, and the requests that it received."""

    url: str
    address: object
    requests: list[bytes] = field(default_factory=list)

    @property
    def paths(self) -> list[str]:
        return [request.split(b" ")[1].decode() for request in self.requests]


def read_request(conn: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        more = conn.recv(65536)
        if not more:
            return data
        data += more
    head, _sep, body = data.partition(b"\r\n\r\n")
    length = 0
    for line in head.split(b"\r\n"):
        name, _sep, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    while len(body) < length:
        more = conn.recv(65536)
        if not more:
            break
        body += more
    return head + b"\r\n\r\n" + body


@contextlib.contextmanager
def serving(
    answer: bytes | Callable[..., bytes | None],
    family: int = socket.AF_INET,
    unix_socket: str | None = None,
    tls: ssl.SSLContext | None = None,
    read: Callable[[socket.socket], bytes] = read_request,
) -> Iterator[Server]:
    """Serve C(answer): bytes, or a function of connection and request that returns or sends them."""
    listener = socket.socket(socket.AF_UNIX if unix_socket else family)
    listener.bind(unix_socket or ("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
    listener.listen(64)
    if unix_socket:
        server = Server("http://localhost", unix_socket)
    else:
        host, port = listener.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        server = Server(f"{'https' if tls else 'http'}://{shown}:{port}", (host, port))
    threads: list[threading.Thread] = []

    def talk(conn: socket.socket) -> None:
        # Clients that hang up early are what many a test is about.
        with contextlib.suppress(OSError):
            if tls:
                conn = tls.wrap_socket(conn, server_side=True)
            with conn:
                request = read(conn)
                server.requests.append(request)
                response = answer(conn, request) if callable(answer) else answer
                if response:
                    conn.sendall(response)
        conn.close()

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                conn, _peer = listener.accept()
                threads.append(threading.Thread(target=talk, args=(conn,), daemon=True))
                threads[-1].start()

    acceptor = threading.Thread(target=accept, daemon=True)
    acceptor.start()
    try:
        yield server
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        acceptor.join(5)
        for thread in threads:
            thread.join(5)
