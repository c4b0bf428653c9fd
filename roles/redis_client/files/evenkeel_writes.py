# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The writes that make cached answers old: one short text in Redis for all workers and hosts.

Each write appends C(;+token@seconds) before the app is called. After the response it appends
C(;-token), and C(;=generation) if it may have changed something. Both are atomic, and a reader gets
the text in the same round trip as the answer. So a write is visible from its first moment, and one
whose worker was killed stays visible.

This file is part of each release and runs inside the app's own process. It needs Python 3.9 and
redis-py 4.1 or newer.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from dataclasses import dataclass
from typing import Any, Callable

import redis as redis_py
from evenkeel_redis import Guarded, RedisAway

# A write that has not ended by then counts as killed: gunicorn's default timeout is 30 s.
WRITING_SECONDS = 60
# A longer text is shortened by the write that notices.
LONG_BYTES = 512
FAILURES = (RedisAway, redis_py.RedisError)


@dataclass(frozen=True)
class State:
    """The content of the text.

    @param base: the last generation; empty if there is none
    @param generation: that of valid responses: the base, and the writes that began after it
    @param earlier, later: open writes that began before and after the base, as (token, seconds)
    """

    base: str = ""
    generation: str = ""
    earlier: tuple[tuple[str, int], ...] = ()
    later: tuple[tuple[str, int], ...] = ()

    def is_writing(self, now: float) -> bool:
        writes = self.earlier + self.later
        return bool(writes) and any(now - began < WRITING_SECONDS for _token, began in writes)


def parse(text: str) -> State:
    base = ""
    began: dict[str, int] = {}
    later: set[str] = set()
    for item in filter(None, text.split(";")):
        mark, rest = item[0], item[1:]
        if mark == "+":
            token, _at, seconds = rest.partition("@")
            began[token] = int(seconds) if seconds.isdigit() else 0
            later.add(token)
        elif mark == "-":
            began.pop(rest, None)
        else:
            # Releases of an earlier version of this collection write the bare generation.
            base = rest if mark == "=" else item
            later.clear()
    after = tuple(item for item in began.items() if item[0] in later)
    before = tuple(item for item in began.items() if item[0] not in later)
    generation = "+".join([base, *sorted(token for token, _began in after)])
    return State(base, generation, before, after)


def shorten(state: State, now: float) -> str:
    """Return a text with the same generation and the same open writes."""
    alive = [item for item in state.earlier if now - item[1] < WRITING_SECONDS]
    parts = [f"+{token}@{began}" for token, began in alive]
    parts.append(f"={state.base}")
    parts += [f"+{token}@{began}" for token, began in state.later]
    return "".join(f";{part}" for part in parts)


class Writes:
    """The text in Redis, as one worker writes it.

    @param key: where it is
    """

    def __init__(self, redis: Guarded, key: str, clock: Callable[[], float] = time.time) -> None:
        self.redis = redis
        self.key = key
        self.clock = clock
        # The text that could not be appended. The cache serves nothing until it is.
        self.owed = ""
        self._last: tuple[bytes, State] = (b"", State())

    def read(self, raw: bytes | None) -> State:
        """Parse the text; most requests find the same one as the request before."""
        raw = raw or b""
        known, state = self._last
        if raw != known:
            state = parse(raw.decode("utf-8", "replace"))
            self._last = (raw, state)
        return state

    def start(self, redis: Any) -> None:
        """Set a first generation, the same for all workers that start at the same time."""
        if redis.set(self.key, self._fresh(), nx=True):
            return
        if not parse((redis.get(self.key) or b"").decode("utf-8", "replace")).base:
            redis.append(self.key, self._fresh())

    def begin(self) -> str:
        token = secrets.token_hex(4)
        self._append(f";+{token}@{int(self.clock())}")
        return token

    def end(self, token: str, changed: bool) -> None:
        self._append(f";-{token}" + (self._fresh() if changed else ""))

    def forget(self) -> None:
        """Begin a generation."""
        self._append(self._fresh())

    def settle(self) -> None:
        """Append what is owed.

        @raises RedisAway: if it cannot be
        """
        if self.owed:
            self._append("")
        if self.owed:
            raise RedisAway

    def _fresh(self) -> str:
        return f";={secrets.token_hex(8)}"

    def _append(self, text: str) -> None:
        owed = self.owed

        def append(redis: Any) -> int | None:
            try:
                length: int = redis.append(self.key, owed + text)
            except redis_py.ResponseError:
                # Redis is full, for example. A deletion is possible, and without a generation nothing is valid.
                redis.delete(self.key)
                return None
            return length

        try:
            length = self.redis.ask(append)
        except FAILURES:
            length = None
        if length is None:
            self._owe(text)
            return
        if self.owed.startswith(owed):
            self.owed = self.owed[len(owed) :]
        if length > LONG_BYTES:
            with contextlib.suppress(*FAILURES):
                self.redis.ask(self._shorten)

    def _owe(self, text: str) -> None:
        # One generation for all of them, if they are many.
        self.owed = self.owed + text if len(self.owed) < LONG_BYTES else self._fresh()

    def _shorten(self, redis: Any) -> None:
        with redis.pipeline() as pipeline:
            pipeline.watch(self.key)
            state = parse((pipeline.get(self.key) or b"").decode("utf-8", "replace"))
            pipeline.multi()
            pipeline.set(self.key, shorten(state, self.clock()))
            with contextlib.suppress(redis_py.WatchError):
                # Otherwise another write was faster, and does it.
                pipeline.execute()
