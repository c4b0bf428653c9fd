# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask one thing many times, within bounds, and note what each answer took.

One thread and one selector drive all connections: threads would wait for each other's turn in
Python, and that would be measured. Each request has a connection of its own, as in C(client.py),
and an answer is read as strictly as there.

In a closed loop so many users each ask again when they are answered, so a slow answer delays the
next question, and fewer of the slow ones are met. An open loop asks at a rate whatever happens,
as strangers do, and an answer's time begins when its request was due. Else the wait that one slow
answer imposes on all others is left out: Gil Tene's coordinated omission, which wrk2 was made for
(https://github.com/giltene/wrk2).
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
from .response import Answer, read_answer

# What an open loop has under way at once. What is due beyond it waits, and its wait counts.
MOST_OPEN = 200


@dataclass(frozen=True)
class Question:
    """The bytes of a request, and where they go."""

    family: int
    address: Any
    request: bytes
    timeout: float


@dataclass(frozen=True)
class Schedule:
    """When requests are due.

    C(due) tells it of the nth one, in seconds from the start, where C(now) are those that have gone by.
    """

    total: int
    at_once: int
    seconds: float
    due: Callable[[int, float], float]


def closed(users: int, seconds: float, most: int) -> Schedule:
    return Schedule(most, users, seconds, lambda _number, now: now)


def opened(rate: float, seconds: float, most: int) -> Schedule:
    """What was due in time is asked in any case, however late."""
    total = max(1, min(most, int(rate * seconds)))
    return Schedule(total, MOST_OPEN, float("inf"), lambda number, _now: number / rate)


@dataclass
class Tally:
    """What came of it. Only answers below 400 have a latency: an error is quick, or it never comes."""

    latencies_ms: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    cache: Counter[str] = field(default_factory=Counter)
    received: int = 0
    elapsed: float = 0.0
    # How much of that time this process was busy itself.
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
            answer = read_answer(_Whole(raw))
        except HttpError as error:
            self.failures[str(error)] += 1
            return
        self.received += len(raw)
        self.statuses[answer.status] += 1
        if answer.status < 400:
            self.latencies_ms.append(took * 1000)
        told = cache_of(answer)
        if told:
            self.cache[told] += 1


def cache_of(answer: Answer) -> str | None:
    """What the cache says of itself, if it says anything."""
    return answer.headers.get("X-Cache")


class _Whole:
    """An answer that is there already, for C(read_answer)."""

    def __init__(self, raw: bytes) -> None:
        self.late = ""
        self.late_details: dict[str, object] = {}
        self._raw = raw

    def receive(self, size: int = 0) -> bytes:
        raw, self._raw = self._raw, b""
        return raw


class _Exchange:
    """A request that is under way."""

    def __init__(self, question: Question, due: float) -> None:
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

    def _knock(self, question: Question) -> None:
        try:
            self.sock.connect(question.address)
        except BlockingIOError:
            # TCP is on its way; a UNIX socket does not wait, and its queue is full.
            if question.family == socket.AF_UNIX:
                raise

    def send(self) -> None:
        try:
            sent = self.sock.send(self._rest)
        except (BlockingIOError, BrokenPipeError):
            # Whoever hung up may have said why.
            return
        self._rest = self._rest[sent:]

    @property
    def events(self) -> int:
        return selectors.EVENT_READ | (selectors.EVENT_WRITE if self._rest else 0)

    def go_on(self, events: int) -> bool:
        """Do what can be done; whether all is there, which the other side tells by hanging up."""
        if events & selectors.EVENT_WRITE:
            self.send()
        if not events & selectors.EVENT_READ:
            return False
        data = self.sock.recv(262144)
        self.raw += data
        return not data


class _Drive:
    """One loop, from its first request to its last answer."""

    def __init__(self, question: Question, schedule: Schedule, clock: Clock) -> None:
        self.question = question
        self.schedule = schedule
        self.clock = clock
        self.tally = Tally()
        self.selector = selectors.DefaultSelector()
        # In the order in which they were due.
        self.under_way: dict[_Exchange, None] = {}
        self.begun = 0
        self.started = clock()

    @property
    def now(self) -> float:
        return self.clock() - self.started

    def next_due(self, now: float) -> float | None:
        """When the next request is due, if one may be begun at all."""
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
                for key, events in self.selector.select(self.patience(due, now)):
                    self.go_on(key.data, events)
                self.expire()
        self.tally.elapsed = self.now
        self.tally.own_cpu = time.thread_time() - busy
        return self.tally

    def patience(self, due: float | None, now: float) -> float:
        """Seconds until something is to be done though nothing comes."""
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

    def go_on(self, exchange: _Exchange, events: int) -> None:
        try:
            if exchange.go_on(events):
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


def drive(question: Question, schedule: Schedule, clock: Clock = time.monotonic) -> Tally:
    """Ask as the schedule says, and wait for what is under way at its end."""
    return _Drive(question, schedule, clock).run()
