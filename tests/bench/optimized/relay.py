# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Delay the responses of a server on this host, for kernels without netem: relay.py PORT SERVER_PORT SECONDS.

All data from the server is delayed, also the response to a connect. Data to the server is not.
"""

from __future__ import annotations

import asyncio
import contextlib
import selectors
import sys
from collections import deque
from functools import partial


async def forward(source: asyncio.StreamReader, target: asyncio.StreamWriter, delay: float) -> None:
    loop = asyncio.get_running_loop()
    # Of two timers that end at once any may come first, and bytes have an order.
    waiting: deque[bytes] = deque()

    def arrive() -> None:
        data = waiting.popleft()
        if data:
            target.write(data)
        else:
            target.close()

    data = b"anything"
    while data:
        try:
            data = await source.read(1 << 16)
        except ConnectionError:
            data = b""
        waiting.append(data)
        loop.call_later(delay, arrive)


async def connect(
    server_port: int, delay: float, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    await asyncio.sleep(delay)
    try:
        server = await asyncio.open_connection("127.0.0.1", server_port)
    except OSError:
        writer.close()
        return
    with contextlib.suppress(ConnectionError):
        await asyncio.gather(forward(reader, server[1], 0), forward(server[0], writer, delay))


async def main(port: int, server_port: int, delay: float) -> None:
    server = await asyncio.start_server(partial(connect, server_port, delay), "0.0.0.0", port)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    # epoll accepts only whole milliseconds.
    loop = asyncio.SelectorEventLoop(selectors.SelectSelector())
    loop.run_until_complete(main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))
