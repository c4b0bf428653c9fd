# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Send one request many times, within bounds, and measure each response.

One thread and one selector run all connections: threads would wait for Python's global lock, and
that wait would be measured. Each request has its own connection, as in C(client.py), and responses
are parsed as strictly.

In a closed loop, a fixed number of users send the next request after each response. So a slow
response delays the next request, and fewer slow ones are measured. An open loop sends requests at
a fixed rate, as independent users do. Its latency begins when the request was due. Otherwise the
wait that one slow response imposes on all others is left out. This is Gil Tene's coordinated
omission, for which wrk2 was made (https://github.com/giltene/wrk2).
"""

from __future__ import annotations

import selectors
import socket
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .._errors import HttpError
from .connection import Clock, explain
from .response import RawResponse, read_response

# The maximum of concurrent requests of an open loop. Later ones wait, and their wait counts.
MAX_OPEN = 200


@dataclass(frozen=True)
class LoadTarget:
    """The bytes of a request and its destination."""

    family: int
    address: Any
    request: bytes
    timeout: float


@dataclass(frozen=True)
class Schedule:
    """The times at which requests are due.

    C(due) returns that of the nth one, in seconds from the start; C(now) is the elapsed time.
    """

    total: int
    at_once: int
    seconds: float
    due: Callable[[int, float], float]


def closed_loop(users: int, seconds: float, most: int) -> Schedule:
    return Schedule(most, users, seconds, lambda _number, now: now)


def open_loop(rate: float, seconds: float, most: int) -> Schedule:
    """Return an open loop. Every request that was due in time is sent, even late."""
    total = max(1, min(most, int(rate * seconds)))
    return Schedule(total, MAX_OPEN, float("inf"), lambda number, _now: number / rate)


@dataclass
class Tally:
    """The results of a loop. Only responses below 400 have a latency: errors are fast, or never arrive."""

    latencies_ms: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    cache: Counter[str] = field(default_factory=Counter)
    received: int = 0
    elapsed: float = 0.0
    # The CPU seconds of this process in that time.
    own_cpu: float = 0.0

    @property
    def answers(self) -> int:
        return sum(self.statuses.values())

    @property
    def asked(self) -> int:
        return self.answers + sum(self.failures.values())

    @property
    def errors(self) -> int:
        return self.asked - len(self.latencies_ms)

    def answered(self, raw: bytes, took: float) -> None:
        try:
            answer = read_response(_Whole(raw))
        except HttpError as error:
            self.failures[str(error)] += 1
            return
        self.received += len(raw)
        self.statuses[answer.status] += 1
        if answer.status < 400:
            self.latencies_ms.append(took * 1000)
        cache = cache_of(answer)
        if cache:
            self.cache[cache] += 1


def cache_of(answer: RawResponse) -> str | None:
    """Return the cache status that the response reports, if any."""
    return answer.headers.get("X-Cache")


class _Whole:
    """A complete response in memory, for C(read_response)."""

    def __init__(self, raw: bytes) -> None:
        self.late = ""
        self.late_details: dict[str, object] = {}
        self._raw = raw

    def receive(self, size: int = 0) -> bytes:
        raw, self._raw = self._raw, b""
        return raw


class _Exchange:
    """A request in flight."""

    def __init__(self, question: LoadTarget, due: float) -> None:
        self.due = due
        self.raw = bytearray()
        self._rest = question.request
        self.sock = socket.socket(question.family, socket.SOCK_STREAM)
        self.sock.setblocking(False)
        try:
            self._knock(question)
            self.send()
        except OSError:
            self.sock.close()
            raise

    def _knock(self, question: LoadTarget) -> None:
        try:
            self.sock.connect(question.address)
        except BlockingIOError:
            # TCP connects in the background. A UNIX socket does not wait, so its queue is full.
            if question.family == socket.AF_UNIX:
                raise

    def send(self) -> None:
        try:
            sent = self.sock.send(self._rest)
        except (BlockingIOError, BrokenPipeError):
            # A peer that disconnected may have sent the reason.
            return
        self._rest = self._rest[sent:]

    @property
    def events(self) -> int:
        return selectors.EVENT_READ | (selectors.EVENT_WRITE if self._rest else 0)

    def on_ready(self, events: int) -> bool:
        """Handle ready events, and return whether the peer has closed the connection."""
        if events & selectors.EVENT_WRITE:
            self.send()
        if not events & selectors.EVENT_READ:
            return False
        data = self.sock.recv(262144)
        self.raw += data
        return not data


class _LoadRun:
    """One loop, from its first request to its last response."""

    def __init__(self, question: LoadTarget, schedule: Schedule, clock: Clock) -> None:
        self.question = question
        self.schedule = schedule
        self.clock = clock
        self.tally = Tally()
        self.selector = selectors.DefaultSelector()
        # In the order of their due times.
        self.under_way: dict[_Exchange, None] = {}
        self.begun = 0
        self.started = clock()

    @property
    def now(self) -> float:
        return self.clock() - self.started

    def next_due(self, now: float) -> float | None:
        """Return when the next request is due, or V(None) if no more may start."""
        if self.begun >= self.schedule.total or now >= self.schedule.seconds:
            return None
        return self.schedule.due(self.begun, now)

    def run(self) -> Tally:
        busy = time.thread_time()
        with self.selector:
            while True:
                now = self.now
                due = self.next_due(now)
                if due is None and not self.under_way:
                    break
                if due is not None and due <= now and len(self.under_way) < self.schedule.at_once:
                    self.begin(due)
                    continue
                for key, events in self.selector.select(self.next_timeout(due, now)):
                    self.on_ready(key.data, events)
                self.expire()
        self.tally.elapsed = self.now
        self.tally.own_cpu = time.thread_time() - busy
        return self.tally

    def next_timeout(self, due: float | None, now: float) -> float:
        """Return the seconds until the next timeout or due request."""
        moments = []
        if self.under_way:
            moments.append(next(iter(self.under_way)).due + self.question.timeout)
        if due is not None and len(self.under_way) < self.schedule.at_once:
            moments.append(due)
        return max(0.0, min(moments) - now)

    def begin(self, due: float) -> None:
        self.begun += 1
        try:
            exchange = _Exchange(self.question, due)
        except OSError as error:
            self.tally.failures[explain(error)] += 1
            return
        self.under_way[exchange] = None
        self.selector.register(exchange.sock, exchange.events, exchange)

    def on_ready(self, exchange: _Exchange, events: int) -> None:
        try:
            if exchange.on_ready(events):
                took = self.now - exchange.due
                self.end(exchange)
                self.tally.answered(bytes(exchange.raw), took)
            elif events & selectors.EVENT_WRITE:
                self.selector.modify(exchange.sock, exchange.events, exchange)
        except OSError as error:
            self.end(exchange)
            self.tally.failures[explain(error)] += 1

    def expire(self) -> None:
        late = self.now - self.question.timeout
        for exchange in [one for one in self.under_way if one.due <= late]:
            self.end(exchange)
            self.tally.failures[f"no answer within {self.question.timeout:g} s"] += 1

    def end(self, exchange: _Exchange) -> None:
        del self.under_way[exchange]
        self.selector.unregister(exchange.sock)
        exchange.sock.close()


def run_load(question: LoadTarget, schedule: Schedule, clock: Clock = time.monotonic) -> Tally:
    """Send requests as scheduled, and wait for those in flight at the end."""
    return _LoadRun(question, schedule, clock).run()
