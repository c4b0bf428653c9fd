# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Does a release do worse under real traffic than the one before it? Read from the app's own logs.

Everything here is pure; C(_watch.py) reads the logs and asks. This file is
private to the collection.
"""

from __future__ import annotations

import json
import re
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ansible_collections.evenkeel.flask.plugins.module_utils import _statistics

# Errors that are as many by chance only once in so many times speak against a release. There is a
# look a second, and one for each route at each of them.
CHANCE = 1e-4
# So often an app fails of which nothing else is known.
ERROR_RATE = 0.001
# The two releases served one after the other, not side by side as on trial, so a trifle says nothing.
LEAST_SLOWDOWN = 2.0
TOLERANCE_MS = 10.0
# The newest of each route; more make a comparison no better, and cost their product.
MOST_SAMPLES = 500
# So many requests may log an error of a new kind. What users met is counted by its status; the
# rest was caught by the app, as harmless as a mail that goes out later, and is told in any case.
LOGGED_RATE = 0.01
LONGEST_KIND = 80
# So many characters in the logs for each request fill a disk in hours, unless it was so before.
MOST_LOGGED = 32 * 1024
MORE_LOGGED = 4
ENOUGH_LOGGED = 20
# How gunicorn's arbiter says that a worker was not its own end (gunicorn/arbiter.py).
DEATH = re.compile(r"WORKER TIMEOUT|Worker \(pid:\s*\d+\) (?:was sent SIG|exited with code)")
VARIABLE = re.compile(r"/(?:\d+|[0-9a-fA-F-]{16,})(?=/|$)")
# The name below the frames of a traceback; what is said after it may have lines of its own.
EXCEPTION = re.compile(r"^  File .*\n(?: .*\n)*([^\W\d][\w.]*)", re.MULTILINE)
# What differs from one message of a kind to the next: what is quoted, numbers, ids.
FILLED_IN = re.compile(r"""'[^']*'|"[^"]*"|\b[0-9a-fA-F-]{16,}|\b0x[0-9a-fA-F]+|\d+""")


@dataclass(frozen=True)
class Asked:
    """A request that a release answered."""

    route: str
    status: int
    ms: float
    worker: int | None = None


@dataclass
class Served:
    """What a release answered on a route: how often, how often with an error, and how fast else."""

    asked: int = 0
    errors: int = 0
    ms: deque[float] = field(default_factory=lambda: deque(maxlen=MOST_SAMPLES))

    @property
    def rate(self) -> float:
        """The share of requests that failed, as far as so few can tell."""
        return max(ERROR_RATE, self.errors / self.asked) if self.asked else ERROR_RATE

    def failed(self) -> str:
        return f"{self.errors} of {self.asked}"


@dataclass
class Traffic:
    """What a release answered in a while, by route."""

    served: dict[str, Served] = field(default_factory=dict)
    deaths: int = 0
    # How much was written into app.log, in characters.
    volume: int = 0
    by_worker: Counter[int] = field(default_factory=Counter)
    # How often each kind of error was logged, and in which requests.
    logged: Counter[str] = field(default_factory=Counter)
    failing: dict[str, set[str]] = field(default_factory=dict)
    # The most that a worker came to hold.
    held: Mapping[str, float] = field(default_factory=dict)

    def add(self, asked: Iterable[Asked], leave_out: str = "") -> None:
        """Take in requests.

        @param leave_out: a path that tells nothing of users: the health endpoint, which machines ask
        """
        for one in asked:
            if one.worker is not None:
                self.by_worker[one.worker] += 1
            if one.route == leave_out:
                continue
            served = self.served.setdefault(one.route, Served())
            served.asked += 1
            # Whoever is sent away for asking too often was served before.
            if one.status >= 500 or one.status == 429:
                served.errors += 1
            else:
                served.ms.append(one.ms)

    def hear(self, lines: Sequence[str], release: str, since: str) -> None:
        """Take in what the lines of C(app.log) say of dead workers and errors, and how much they say."""
        self.volume += sum(len(line) for line in lines if release in line)
        for record in _records(lines, release, since):
            if DEATH.search(str(record.get("message"))):
                self.deaths += 1
            elif record.get("level") in ("ERROR", "CRITICAL"):
                kind = kind_of(record)
                self.logged[kind] += 1
                if record.get("request_id"):
                    self.failing.setdefault(kind, set()).add(str(record["request_id"]))

    def failed_in(self, kinds: Iterable[str]) -> Served:
        """How many requests logged an error of one of these kinds."""
        requests = set().union(*(self.failing.get(kind, ()) for kind in kinds))
        # A line may be there before that of its request.
        return Served(max(self.whole.asked, len(requests)), len(requests))

    def on(self, route: str) -> Served:
        return self.served.get(route, Served())

    @property
    def whole(self) -> Served:
        every = self.served.values()
        return Served(sum(one.asked for one in every), sum(one.errors for one in every))

    @property
    def said(self) -> float:
        """How many characters were written into C(app.log) for each request."""
        return self.volume / max(self.whole.asked, 1)

    def told(self) -> dict[str, float | int | None]:
        """The figures for a report; times are those of the newest answers of each route."""
        whole = self.whole
        times = [ms for one in self.served.values() for ms in one.ms]
        return {
            "requests": whole.asked,
            "errors": whole.errors,
            "p50_ms": round(_statistics.percentile(times, 50), 1) if times else None,
            "p95_ms": round(_statistics.percentile(times, 95), 1) if times else None,
            "worker_deaths": self.deaths,
            **self.held,
        }


def route(path: str) -> str:
    """Paths that differ by a number or an id are one route."""
    return VARIABLE.sub("/*", path)


def requests(lines: Iterable[str], release: str, since: str) -> Iterator[Asked]:
    """The requests among the lines of C(access.log).

    @param since: the time of the first line that counts, as the lines have it
    """
    for record in _records(lines, release, since):
        path, status, ms = record.get("path"), record.get("status"), record.get("duration_ms")
        worker = record.get("worker")
        if not isinstance(path, str) or not isinstance(status, int):
            continue
        if isinstance(ms, (int, float)):
            pid = worker if isinstance(worker, int) else None
            yield Asked(route(path), status, float(ms), pid)


def kind_of(record: Mapping[str, object]) -> str:
    """What errors of one kind have in common: the logger, and the exception or the message's frame."""
    raised = EXCEPTION.findall(str(record.get("exception")))
    first = (str(record.get("message")).strip().splitlines() or ["no message"])[0]
    what = raised[-1] if raised else FILLED_IN.sub("*", first)
    return f"{record.get('logger')}: {what}"[:LONGEST_KIND]


def news(before: Traffic, after: Traffic) -> dict[str, int]:
    """The kinds of errors that the release before did not log, with how often they came."""
    return {kind: times for kind, times in after.logged.most_common() if kind not in before.logged}


def _records(lines: Iterable[str], release: str, since: str) -> Iterator[dict[str, object]]:
    for line in lines:
        # Most lines of a busy log are another release's, and parsing is what takes the time.
        if release not in line:
            continue
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if (
            isinstance(record, dict)
            and record.get("release") == release
            and str(record.get("time", "")) >= since
        ):
            yield record


def judge(before: Traffic, after: Traffic, max_slowdown: float) -> list[str]:
    """What speaks against the release that served C(after), in words."""
    problems = []
    if after.deaths > before.deaths:
        problems.append(f"{after.deaths} workers died")
    was, now = before.whole, after.whole
    for name in sorted(after.served):
        old, new = before.on(name), after.on(name)
        if _unlikely(new, max(old.rate, was.rate)):
            problems.append(f"{name}: {_failed(new, old)}")
        elif _is_slower(old.ms, new.ms, max_slowdown):
            times = _statistics.slowdown(old.ms, new.ms)
            problems.append(f"{name}: {times:.1f} times as slow as before")
    if now.asked >= ENOUGH_LOGGED and after.said > max(MOST_LOGGED, MORE_LOGGED * before.said):
        problems.append(f"{after.said / 1024:.0f} KiB are logged for each request")
    if not problems and _unlikely(now, was.rate):
        problems.append(_failed(now, was))
    if is_fair(before, after):
        logged = after.failed_in(news(before, after))
        # An error that was only reworded is none, so all that were logged before are counted.
        if _unlikely(logged, max(LOGGED_RATE, before.failed_in(before.logged).rate)):
            problems.append(f"{logged.failed()} requests logged errors of a new kind")
    return problems


def is_fair(before: Traffic, after: Traffic) -> bool:
    """Whether the release before was asked enough to know its errors, and what warm workers hold."""
    return before.whole.asked >= after.whole.asked


def _failed(new: Served, old: Served) -> str:
    return f"{new.failed()} requests failed, before {old.failed()}"


def _unlikely(served: Served, rate: float) -> bool:
    return served.errors > 0 and at_least(served.errors, served.asked, rate) < CHANCE


def at_least(errors: int, asked: int, rate: float) -> float:
    """How likely C(errors) or more of C(asked) fail by chance where C(rate) of them do: binomial."""
    if rate >= 1:
        return 1.0
    term = (1 - rate) ** asked
    fewer = 0.0
    for number in range(errors):
        fewer += term
        term *= (asked - number) / (number + 1) * rate / (1 - rate)
    return max(0.0, 1 - fewer)


def _is_slower(old: Sequence[float], new: Sequence[float], max_slowdown: float) -> bool:
    limit = max(max_slowdown, LEAST_SLOWDOWN)
    return _statistics.decide(old, new, limit, TOLERANCE_MS, CHANCE) is True
