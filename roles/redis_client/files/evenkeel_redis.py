# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The way to Redis of all that an app in its production form keeps there.

This file is part of each release and runs inside the app's own process. It needs Python 3.9 and
redis-py 4.1 or newer.
"""

from __future__ import annotations

import logging
import time
from typing import Any, Callable, TypeVar

import redis

T = TypeVar("T")

# Nobody waits for a Redis that was away a moment ago.
RETRY_SECONDS = 1.0

log = logging.getLogger("evenkeel.redis")


class RedisAway(Exception):
    """Redis does not answer, or did not a moment ago."""


class Guarded:
    """A Redis that may go away: it is told once, nobody waits for it twice, and it is found again.

    @param url: C(redis://), C(rediss://) or C(unix://)
    @param timeout: seconds to connect, and for each answer
    """

    def __init__(
        self, url: str, timeout: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        # Connections are made when they are needed, in whichever process needs them: redis-py
        # notices a fork. One that the server closed while it was idle is made anew.
        self.redis = redis.Redis.from_url(
            url, socket_timeout=timeout, socket_connect_timeout=timeout, socket_keepalive=True
        )
        self.clock = clock
        self.away_since: float | None = None
        self.ask_again = 0.0

    def ask(self, question: Callable[[Any], T]) -> T:
        """Put a question to Redis.

        @raises RedisAway: when there is no answer to be had
        """
        if self.away_since is not None and self.clock() < self.ask_again:
            raise RedisAway
        try:
            answer = question(self.redis)
        except (redis.RedisError, OSError) as error:
            now = self.clock()
            self.ask_again = now + RETRY_SECONDS
            if self.away_since is None:
                self.away_since = now
                # Errors of redis-py name host and port, and no password.
                log.warning("Redis is away, and the app goes on without it: %s", error)
            raise RedisAway from error
        if self.away_since is not None:
            log.warning("Redis is back after %.1f s", self.clock() - self.away_since)
            self.away_since = None
        return answer
