# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The layers around an app in its production form.

This file is part of each release and runs inside the app's own process. It needs Python 3.9 and
only the standard library.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any, Callable

WsgiApp = Callable[..., Iterable[bytes]]

# Above the default of the largest body that nginx accepts, in bytes. A client that sends more to an
# app that does not read it may see a broken connection.
DRAIN_BYTES = 64 << 20
BLOCK_BYTES = 64 << 10


class ReleaseMiddleware:
    """Name the release in each response. nginx removes it for users, and the rollout relies on it."""

    def __init__(self, app: WsgiApp, release: str) -> None:
        self.app = app
        self.release = release

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            return start_response(status, [*headers, ("X-Release", self.release)], exc_info)

        return self.app(environ, start)


class DrainMiddleware:
    """Read the rest of a request's body after the response.

    An app that refuses an upload responds without reading the body. If the connection is then
    closed, a client that is still sending gets an error: nginx makes a 502 of the app's 413.
    """

    def __init__(self, app: WsgiApp) -> None:
        self.app = app

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        body = self.app(environ, start_response)
        has_body = environ.get("CONTENT_LENGTH") not in (None, "", "0")
        if has_body or environ.get("HTTP_TRANSFER_ENCODING"):
            return _Draining(body, environ["wsgi.input"])
        # As it is, so that gunicorn still knows a file that it can send without reading it.
        return body


class _Draining:
    """A response's body; closed, which is after it was sent, it drains the request's."""

    def __init__(self, body: Iterable[bytes], source: Any) -> None:
        self.body = body
        self.source = source

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.body)

    def close(self) -> None:
        try:
            close = getattr(self.body, "close", None)
            if close is not None:
                close()
        finally:
            # A client that is gone, or sent an invalid body, needs no response.
            with contextlib.suppress(Exception):
                left = DRAIN_BYTES
                while left > 0 and (block := self.source.read(BLOCK_BYTES)):
                    left -= len(block)
