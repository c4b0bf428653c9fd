# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server in its own process that counts its input: HTTP, Redis' protocol, SMTP, UDP, Unix sockets.

Usage: listener.py <path of a Unix socket>; prints its port. GET /count returns the count.
"""

from __future__ import annotations

import os
import selectors
import socket
import sys


def main() -> None:
    selector = selectors.DefaultSelector()
    tcp = socket.create_server(("127.0.0.1", 0))
    port = tcp.getsockname()[1]
    smtp = socket.create_server(("127.0.0.1", 0))
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("127.0.0.1", port))
    unix = socket.socket(socket.AF_UNIX)
    unix.bind(sys.argv[1])
    unix.listen()
    for sock in (tcp, smtp, udp, unix):
        selector.register(sock, selectors.EVENT_READ)
    print(port, smtp.getsockname()[1], flush=True)
    count = 0
    mails: set[socket.socket] = set()
    parent = os.getppid()
    while os.getppid() == parent:
        for key, _events in selector.select(1):
            sock = key.fileobj
            assert isinstance(sock, socket.socket)
            if sock is udp:
                count += bool(udp.recv(1000))
                continue
            if sock in (tcp, smtp, unix):
                client, _address = sock.accept()
                selector.register(client, selectors.EVENT_READ)
                if sock is smtp:
                    mails.add(client)
                    client.sendall(b"220 hello\r\n")
                continue
            try:
                data = sock.recv(10_000)
            except OSError:
                data = b""
            if not data:
                selector.unregister(sock)
                sock.close()
            elif sock in mails:
                is_data = data[:4].upper() == b"DATA"
                count += is_data
                is_end = data[:4].upper() == b"QUIT"
                sock.sendall(
                    b"354 go on\r\n" if is_data else b"221 bye\r\n" if is_end else b"250 fine\r\n"
                )
            elif data.startswith(b"GET /count"):
                text = str(count).encode()
                sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(text), text))
            elif data[:1] == b"*":
                # Redis: one answer for each command, of which only INCR counts.
                count += data.count(b"INCR")
                sock.sendall(b":1\r\n" if b"INCR" in data else b"+OK\r\n" * data.count(b"*"))
            else:
                count += 1
                sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


if __name__ == "__main__":
    main()
