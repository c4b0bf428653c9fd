# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Limit the requests of each client, over all hosts and workers.

This file is part of each release and runs inside the app's own process. It needs Python 3.9,
Werkzeug and redis-py 4.1 or newer.
"""

from __future__ import annotations

import functools
import ipaddress
import math
import time
from collections.abc import Collection, Iterable
from typing import Any, Callable
from urllib.parse import unquote_to_bytes

from evenkeel_redis import Guarded, RedisAway, client_of
from werkzeug import Response

WINDOW_SECONDS = 60
# The number of clients over the limit that a worker remembers; it takes a few megabytes.
CLIENTS = 10_000


class FleetLimit:
    """Refuse a client after C(per_minute) requests. A refused client causes no Redis query until its window ends.

    @param exempt_paths: paths that are not counted, as they are in a URL
    @param exempt_files: paths for which GET and HEAD are not counted
    @param exempt_networks: clients without a limit; the host itself is always one
    """

    def __init__(
        self,
        app: Callable[..., Iterable[bytes]],
        guarded: Guarded,
        prefix: str,
        per_minute: int,
        exempt_paths: Collection[str] = (),
        exempt_networks: Iterable[str] = (),
        exempt_files: Iterable[str] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.app = app
        self.guarded = guarded
        self.prefix = prefix
        self.per_minute = per_minute
        self.exempt_paths = frozenset(map(_as_wsgi, exempt_paths))
        self.exempt_files = frozenset(map(_as_wsgi, exempt_files))
        self.exempt_networks = [ipaddress.ip_network(network) for network in exempt_networks]
        self.clock = clock
        self.client = functools.lru_cache(CLIENTS)(self._client)
        self.over: dict[str, float] = {}

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        client = self.client(environ.get("REMOTE_ADDR"))
        if client and not self._is_exempt(environ):
            seconds = math.ceil(self._seconds_to_wait(client))
            if seconds > 0:
                # For the access log: the release did not fail (evenkeel_logging.LIMITED_KEY).
                environ["evenkeel.limited"] = True
                text = f"Too many requests. Try again in {seconds} s.\n"
                refusal = Response(text, 429, {"Retry-After": str(seconds)}, "text/plain")
                return refusal(environ, start_response)
        return self.app(environ, start_response)

    def _is_exempt(self, environ: dict[str, Any]) -> bool:
        # Below a prefix the URL's path is in two parts.
        path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
        reads = environ.get("REQUEST_METHOD") in ("GET", "HEAD")
        # Werkzeug takes any number of slashes at the beginning for one.
        if "/" + path.lstrip("/") in self.exempt_paths:
            return True
        return reads and path in self.exempt_files

    def _client(self, address: str | None) -> str | None:
        """Whom a request is counted for: a network of IPv6 is one client, as it is given to one."""
        return client_of(address) if address and not self._is_exempt_address(address) else None

    def _is_exempt_address(self, address: str) -> bool:
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            # A proxy's name for a client whose address it does not know.
            return False
        if isinstance(parsed, ipaddress.IPv6Address):
            parsed = parsed.ipv4_mapped or parsed
        return parsed.is_loopback or any(parsed in network for network in self.exempt_networks)

    def _seconds_to_wait(self, client: str) -> float:
        left = self.over.get(client, 0.0) - self.clock()
        if left > 0:
            return left
        try:
            count, left = self.guarded.ask(lambda redis: self._count(redis, client))
        except RedisAway:
            return 0.0
        if count <= self.per_minute:
            return 0.0
        if len(self.over) >= CLIENTS:
            self.over.clear()
        self.over[client] = self.clock() + left
        return left

    def _count(self, redis: Any, client: str) -> tuple[int, float]:
        """How many requests there were in the client's window, and the seconds that are left of it."""
        key = f"{self.prefix}limit:{client}"
        # A transaction, so that no window ends between the first two, and none lasts for ever.
        with redis.pipeline() as asked:
            asked.set(key, 0, ex=WINDOW_SECONDS, nx=True).incr(key).pttl(key)
            _is_new, count, milliseconds = asked.execute()
        return count, milliseconds / 1000


def _as_wsgi(path: str) -> str:
    """A URL's path as an app gets it (PEP 3333, "Unicode Issues")."""
    return unquote_to_bytes(path).decode("latin-1")
