# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The connection to Redis, for all parts of the production form that use it.

This file is part of each release and runs inside the app's own process. It needs Python 3.9 and
redis-py 4.1 or newer.
"""

from __future__ import annotations

import ipaddress
import logging
import time
from typing import Any, Callable, TypeVar

import redis

T = TypeVar("T")

# No request waits for a Redis that was unreachable a moment ago.
RETRY_SECONDS = 1.0
# Any other error is about one operation: the server answers, and other operations may succeed.
# BusyLoadingError (LOADING) is a ConnectionError; MASTERDOWN and CLUSTERDOWN refuse every command.
UNREACHABLE = (
    redis.ConnectionError,
    redis.TimeoutError,
    redis.exceptions.MasterDownError,
    redis.exceptions.ClusterDownError,
    OSError,
)
# A full Redis refuses every write. The log has one line for this many seconds and kind of error.
REPORT_SECONDS = 60.0

log = logging.getLogger("evenkeel.redis")


def client_of(address: str | None) -> str:
    """Return the name of a client in a key: its IPv4 address, or its /64 of IPv6, which one customer has (RFC 6177)."""
    try:
        parsed = ipaddress.ip_address(address or "")
    except ValueError:
        # A proxy's name for a client without an address.
        return address or "unknown"
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((int(parsed), 64), strict=False))
    return str(parsed)


class RedisAway(Exception):
    """Redis gave no answer to this operation."""


class RedisRefused(RedisAway):
    """Redis answered this operation with an error. It is not unreachable: a full Redis still reads."""


class Guarded:
    """A circuit breaker for Redis: unreachable is logged once, and retried after C(RETRY_SECONDS).

    Only an unreachable server opens it. An error of one operation changes no other operation.

    @param url: C(redis://), C(rediss://) or C(unix://)
    @param timeout: seconds to connect, and for each answer
    @param clock: monotonic seconds
    @param wall: seconds since 1970
    """

    def __init__(
        self,
        url: str,
        timeout: float,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        # Connections are made on demand, in the process that needs them: redis-py notices a fork. A
        # connection that the server closed while it was idle is made again.
        self.redis = redis.Redis.from_url(
            url, socket_timeout=timeout, socket_connect_timeout=timeout, socket_keepalive=True
        )
        self.clock = clock
        self.wall = wall
        self.away_since: float | None = None
        self.ask_again = 0.0
        # By the wall clock, which other hosts share: the last answer, and when its absence was noticed.
        self.answered = 0.0
        self.noticed = 0.0
        self._reported: dict[str, float] = {}

    def ask(self, question: Callable[[Any], T]) -> T:
        """Run an operation.

        @raises RedisRefused: when Redis refused this operation
        @raises RedisAway: when Redis is unreachable
        """
        if self.away_since is not None and self.clock() < self.ask_again:
            raise RedisAway
        try:
            answer = question(self.redis)
        except UNREACHABLE as error:
            now = self.clock()
            self.ask_again = now + RETRY_SECONDS
            if self.away_since is None:
                self.away_since, self.noticed = now, self.wall()
                # Errors of redis-py name host and port, and no password.
                log.warning("Redis is away, and the app goes on without it: %s", error)
            raise RedisAway from error
        except redis.RedisError as error:
            if isinstance(error, redis.ResponseError):
                self._has_answered()
            self._report(error)
            raise RedisRefused from error
        self._has_answered()
        return answer

    def _has_answered(self) -> None:
        self.answered = self.wall()
        if self.away_since is not None:
            log.warning("Redis is back after %.1f s", self.clock() - self.away_since)
            self.away_since = None

    def _report(self, error: redis.RedisError) -> None:
        kind, now = type(error).__name__, self.clock()
        if now - self._reported.get(kind, -REPORT_SECONDS) >= REPORT_SECONDS:
            self._reported[kind] = now
            # An unknown command is repeated with its arguments, which may be a session.
            message = str(error).partition(", with args")[0]
            log.warning(
                "Redis refused an operation, and the app goes on: %s: %s; check its maxmemory, access "
                "list and log.",
                kind,
                message,
            )
