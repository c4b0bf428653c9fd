# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compare a release under real traffic with the release before it, by the app's own logs.

Clients are counted, not requests: no single client can cause the withdrawal of a good release. So
each test must hold without any one client, and needs three affected clients. If clients cannot be
distinguished (C(clients.find_shared)), each request counts by itself.

Pure; C(watch.py) reads the logs and sends the requests.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from .. import _statistics
from .clients import (
    LOOPBACK,
    MAX_ROUTES,
    MIN_KNOWN,
    Client,
    RouteStats,
    Tally,
    client_of,
    find_shared,
    shared_without_any,
)

# The false-alarm rate of a test: the failures of a good release exceed chance once in this many
# tests. There is one test per second and route.
FALSE_ALARM_RATE = 1e-4
# The rate of failures of an app about which nothing else is known.
ERROR_RATE = 0.001
# Fewer affected clients can be one person with several devices, or one with bad luck.
MIN_CLIENTS = 3
# The number of clients without which each test must hold.
LEFT_OUT = 1
# A client whose failures are this unlikely has more of them than chance explains. It detects rare
# failures if few clients send many requests each.
CLIENT_CHANCE = 0.001
# The releases served one after the other and not, as in the gate, concurrently, so small differences do not count.
MIN_SLOWDOWN = 2.0
TOLERANCE_MS = 10.0
# No request takes eleven days.
MAX_MS = 1e9
# The newest times of each route. More do not improve a comparison, and cost their product.
MAX_TIMES = 500
# The maximum number of times of one client on a route, and of compared clients.
CLIENT_SAMPLES = 5
MAX_CLIENTS = 200
# The share of requests that may log an error of a new kind. Failures that users met are counted by
# status. The app caught the others, for example a delayed mail. A warning reports them anyway.
LOGGED_RATE = 0.01
MAX_KIND_LENGTH = 80
# Kinds of errors that one client can add; an app with data in its messages has no more.
MAX_KINDS = 50
# Request ids that are stored for lines without an address (older releases).
MAX_IDS = 50_000
# More characters per request fill a disk in hours, except if it was so before.
MAX_LOGGED = 32 * 1024
MORE_LOGGED = 4
MIN_LOGGED = 20
# gunicorn's message for a worker that did not end by itself (gunicorn/arbiter.py).
DEATH = re.compile(r"WORKER TIMEOUT|Worker \(pid:\s*\d+\) (?:was sent SIG|exited with code)")
ARBITER = "gunicorn.error"
VARIABLE = re.compile(r"/(?:\d+|[0-9a-fA-F-]{16,})(?=/|$)")
# The name below the frames of a traceback; the text after it can have several lines.
EXCEPTION = re.compile(r"^  File .*\n(?: .*\n)*([^\W\d][\w.]*)", re.MULTILINE)
# The variable parts of messages of a kind: quoted text, numbers, ids.
FILLED_IN = re.compile(r"""'[^']*'|"[^"]*"|\b[0-9a-fA-F-]{16,}|\b0x[0-9a-fA-F]+|\d+""")
# The client of all lines with an unknown request. It is one client, so it decides nothing.
UNKNOWN = "?"


@dataclass(frozen=True)
class RequestSample:
    """A request that a release handled.

    @param client: the result of C(clients.client_of)
    @param limited: whether the collection's own limit rejected it
    """

    route: str
    status: int
    ms: float
    worker: int | None = None
    client: Client = None
    request_id: str | None = None
    limited: bool = False


@dataclass
class Traffic:
    """The requests of a release in a period, by route and client."""

    served: dict[str, RouteStats] = field(default_factory=dict)
    total: RouteStats = field(default_factory=RouteStats)
    deaths: int = 0
    # The characters written to app.log.
    volume: int = 0
    by_worker: Counter[int] = field(default_factory=Counter)
    # The count of each kind of error, and the requests that logged it: client and id.
    logged: Counter[str] = field(default_factory=Counter)
    failing: dict[str, set[tuple[Client, str]]] = field(default_factory=dict)
    # The maximum of each resource of a worker.
    held: Mapping[str, float] = field(default_factory=dict)
    volume_by: Counter[Client] = field(default_factory=Counter)
    _routes: Counter[Client] = field(default_factory=Counter)
    _kinds: Counter[tuple[Client, bool]] = field(default_factory=Counter)
    # The client of each request; V(UNKNOWN) if several clients sent the same id.
    _owners: dict[str, Client] = field(default_factory=dict)

    def add(self, asked: Iterable[RequestSample], leave_out: str = "") -> None:
        """Add requests.

        @param leave_out: a path without users' requests: the health endpoint, which machines request
        """
        for one in asked:
            if one.worker is not None:
                self.by_worker[one.worker] += 1
            if one.request_id:
                self._own(one.request_id, one.client)
            # A request that the collection's limit rejected reflects the operator's rule, not the release.
            if one.route == leave_out or one.limited:
                continue
            # A client that the app itself rejects with 429 was served before.
            failed = one.status >= 500 or one.status == 429
            self.total.add(one.client, failed, None)
            served = self.served.get(one.route)
            if served is None or one.client not in served.by_client:
                if self._routes[one.client] >= MAX_ROUTES:
                    continue
                self._routes[one.client] += 1
                served = self.served.setdefault(one.route, RouteStats())
            served.add(one.client, failed, one.ms)

    def _own(self, request_id: str, client: Client) -> None:
        known = self._owners.setdefault(request_id, client)
        if known != client:
            self._owners[request_id] = UNKNOWN
        elif len(self._owners) > MAX_IDS:
            del self._owners[next(iter(self._owners))]

    def add_log_lines(self, lines: Sequence[str], release: str, since: str) -> None:
        """Add lines of C(app.log): dead workers, errors, and the size of the lines."""
        for size, record in _sized(lines, release, since):
            request_id = record.get("request_id")
            client = client_of(record.get("remote_addr")) if request_id else None
            author = self.owner(client, str(request_id)) if request_id else None
            self.volume_by[author] += size
            self.volume += size
            if _is_death(record):
                self.deaths += 1
            elif record.get("level") in ("ERROR", "CRITICAL"):
                self._log(kind_of(record), client, str(request_id) if request_id else None)

    def _log(self, kind: str, client: Client, request_id: str | None) -> None:
        if kind not in self.logged:
            author = (client, request_id is None)
            if self._kinds[author] >= MAX_KINDS:
                return
            self._kinds[author] += 1
        self.logged[kind] += 1
        if request_id is not None:
            self.failing.setdefault(kind, set()).add((client, request_id))

    def owner(self, client: Client, request_id: str) -> Client:
        """Return the client of a line: by its own address, else by its request.

        If no request has an address, each one counts by itself, as that of an unknown client.
        """
        if client is not None:
            return client
        has_addresses = any(one is not None for one in self.total.by_client)
        return self._owners.get(request_id, UNKNOWN if has_addresses else None)

    def failed_in(self, kinds: Iterable[str]) -> RouteStats:
        """Count the requests that logged an error of one of these kinds, by client."""
        found = set().union(*(self.failing.get(kind, ()) for kind in kinds))
        errors: Counter[Client] = Counter()
        for client, _id in {(self.owner(*one), one[1]) for one in found}:
            errors[client] += 1
        served = RouteStats()
        for client in {**self.total.by_client, **errors}:
            # A line can appear before that of its request.
            known = self.total.by_client.get(client, Tally()).asked
            asked = max(known, errors[client])
            served.by_client[client] = Tally(asked, errors[client])
            served.asked += asked
            served.errors += errors[client]
        return served

    def on(self, route: str) -> RouteStats:
        return self.served.get(route, RouteStats())

    def logged_per_request(self, without: Collection[Client] = ()) -> float:
        """Return the characters in C(app.log) per request, without some clients."""
        volume = self.volume - sum(self.volume_by[client] for client in without)
        return volume / max(self.asked(without), 1)

    def asked(self, without: Collection[Client] = ()) -> int:
        tallies = self.total.by_client
        return self.total.asked - sum(tallies[one].asked for one in without if one in tallies)

    def as_dict(self) -> dict[str, float | int | None]:
        """Return the figures for a report; times are of the newest responses of each client and route."""
        times = [
            ms
            for served in self.served.values()
            for tally in served.by_client.values()
            for ms in tally.ms[-MAX_TIMES:]
        ]
        return {
            "requests": self.total.asked,
            "errors": self.total.errors,
            "clients": len(self.total.by_client),
            "p50_ms": round(_statistics.percentile(times, 50), 1) if times else None,
            "p95_ms": round(_statistics.percentile(times, 95), 1) if times else None,
            "worker_deaths": self.deaths,
            **self.held,
        }


def route(path: str) -> str:
    """Return the route of a path. Paths that differ by a number or an id are one route."""
    return VARIABLE.sub("/*", path)


def requests(lines: Iterable[str], release: str, since: str) -> Iterator[RequestSample]:
    """Yield the requests of the lines of C(access.log).

    @param since: the time of the first line that counts, in the format of the lines
    """
    for _size, record in _sized(lines, release, since):
        path, status, ms = record.get("path"), record.get("status"), record.get("duration_ms")
        worker, request_id = record.get("worker"), record.get("request_id")
        if not isinstance(path, str) or not isinstance(status, int):
            continue
        # The app writes the line. Python's JSON allows NaN, and numbers of any length.
        if isinstance(ms, (int, float)) and 0 <= ms <= MAX_MS:
            yield RequestSample(
                route(path),
                status,
                float(ms),
                worker if isinstance(worker, int) else None,
                client_of(record.get("remote_addr")),
                request_id if isinstance(request_id, str) else None,
                status == 429 and record.get("limited") is True,
            )


def kind_of(record: Mapping[str, object]) -> str:
    """Return the kind of an error: the logger, and the exception or the message's template.

    For releases that log no template, it is the message without its variable parts.
    """
    raised = EXCEPTION.findall(str(record.get("exception")))
    message = str(record.get("template") or record.get("message"))
    first = (message.strip().splitlines() or ["no message"])[0]
    what = raised[-1] if raised else FILLED_IN.sub("*", first)
    return f"{record.get('logger')}: {what}"[:MAX_KIND_LENGTH]


def _is_death(record: Mapping[str, object]) -> bool:
    """Return whether the arbiter logged the death of a worker; a visitor's text cannot imitate it."""
    return (
        record.get("logger", ARBITER) == ARBITER
        and not record.get("request_id")
        and DEATH.match(str(record.get("message"))) is not None
    )


def news(before: Traffic, after: Traffic) -> dict[str, int]:
    """Return the kinds of errors that the release before did not log, with their counts."""
    return {kind: times for kind, times in after.logged.most_common() if kind not in before.logged}


def _sized(
    lines: Iterable[str], release: str, since: str
) -> Iterator[tuple[int, dict[str, object]]]:
    for line in lines:
        # Most lines of a busy log belong to another release, and parsing takes most of the time.
        if release not in line:
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if (
            isinstance(record, dict)
            and record.get("release") == release
            and str(record.get("time", "")) >= since
        ):
            yield len(line), record


def evaluate(before: Traffic, after: Traffic, max_slowdown: float) -> list[str]:
    """Return the evidence against the release that served C(after), as text.

    The set of shared addresses must not depend on any one client either.
    """
    problems = [
        _evaluate(before, after, max_slowdown, shared)
        for shared in shared_without_any(before.total.by_client)
    ]
    return problems[0] if all(problems) else []


def _evaluate(
    before: Traffic, after: Traffic, max_slowdown: float, shared: frozenset[Client]
) -> list[str]:
    problems = []
    if after.deaths > before.deaths:
        problems.append(f"{after.deaths} workers died")
    was, now = before.total, after.total
    for name in sorted(after.served):
        old, new = before.on(name), after.on(name)
        failed = _failed(new, old, (old, was), ERROR_RATE, shared)
        if failed:
            problems.append(f"{name}: {failed}")
        else:
            slow = _slower(old, new, shared, max_slowdown)
            if slow:
                problems.append(f"{name}: {slow}")
    if _logs_too_much(before, after, shared):
        problems.append(f"{after.logged_per_request() / 1024:.0f} KiB are logged for each request")
    if not problems:
        failed = _failed(now, was, (was,), ERROR_RATE, shared)
        if failed:
            problems.append(failed)
    if _is_fair(before, after, shared):
        logged = after.failed_in(news(before, after))
        # An error with a changed text is not new, so all errors before are counted.
        known = before.failed_in(before.logged)
        for part in _speaking(logged, (known,), LOGGED_RATE, shared):
            problems.append(f"{_counted(part, shared, 'requests logged errors of a new kind')}")
    return problems


def is_fair(before: Traffic, after: Traffic) -> bool:
    """Return whether the release before had enough requests to show its errors and warm workers.

    The busiest client is left out before the switch. Afterwards it counts as much as the next one.
    So one client cannot change whether a comparison is fair.
    """
    return _is_fair(before, after, find_shared(before.total.by_client))


def _is_fair(before: Traffic, after: Traffic, shared: frozenset[Client]) -> bool:
    busiest, _next = before.total.busiest(shared)
    first, second = after.total.busiest(shared)
    most = after.total.asked - (first - second)
    return before.total.asked - LEFT_OUT * busiest >= most


def is_of_one_client(before: Traffic, after: Traffic) -> bool:
    """Return whether one client sent most requests since the switch, so that workers grew for it alone."""
    shared = find_shared(before.total.by_client)
    return 2 * after.total.busiest(shared)[0] > after.total.asked


def warning(before: Traffic, after: Traffic) -> str | None:
    """Warn that clients could not be distinguished, if one address sent most of the requests."""
    asked = after.total.asked
    for client, tally in after.total.by_client.items():
        if client is None or asked < MIN_KNOWN or 2 * tally.asked <= asked:
            continue
        if client in find_shared(before.total.by_client):
            effect = (
                "each of them was counted by itself, so one visitor can have a release taken back"
            )
        else:
            effect = "they count as those of one client, which has no release taken back"
        return (
            f"nginx_trusted_proxies: {tally.asked} of {asked} requests came from {client}; {effect}. "
            "If this is a balancer, name it there."
        )
    return None


def _groups(shared: frozenset[Client]) -> list[frozenset[Client]]:
    """Return the groups of shared addresses that must each show a failure.

    Of two addresses one can be a single busy client; a bad release fails at both.
    """
    balancers = sorted(one for one in shared if one not in (None, LOOPBACK))
    if len(balancers) < 2:
        return [shared]
    return [shared - {one} for one in balancers]


def _speaking(
    new: RouteStats, olds: Sequence[RouteStats], least: float, shared: frozenset[Client]
) -> list[RouteStats]:
    """Return the part of the requests with more failures than chance explains; at most one.

    @param olds: the requests before; the highest of their rates counts
    @param least: the rate of failures for which no app is at fault
    """
    if not new.errors:
        return []
    clients = new.without(shared)
    rate = max(
        [
            least,
            *(_client_rate(old.without(shared)) for old in olds),
            # The only evidence if the balancer was not trusted until now.
            *(_rate(old.of(shared)) for old in olds),
        ]
    )
    if _is_unlikely(clients, rate):
        return [clients]
    together = new.of(shared)
    if together.errors and all(
        _is_unlikely_together(new.of(group), [old.of(group) for old in olds], least)
        for group in _groups(shared)
    ):
        return [together]
    return []


def _rate(served: RouteStats) -> float:
    return served.errors / served.asked if served.asked else 0.0


def _client_rate(served: RouteStats) -> float:
    """Return the failing share of a client's requests, averaged over clients without the lowest.

    Each client has the same weight, so a long window and a busy client change nothing.
    """
    rates = sorted(one.errors / one.asked for one in served.by_client.values() if one.asked)
    if len(rates) < 2:
        # A single client is not evidence on the release.
        return 0.0
    # The maximum over all subsets without one client.
    rates = rates[LEFT_OUT:]
    return sum(rates) / len(rates)


def _is_unlikely(served: RouteStats, rate: float) -> bool:
    """Return whether failures hit more clients than chance does, also without any one of them.

    A client with many requests meets a failure by chance sooner than another one. The test uses the
    mean of these chances: a binomial with it has the heavier tail (Hoeffding, 1956).
    """
    tallies = [one for one in served.by_client.values() if one.asked]
    hit = [one for one in tallies if one.errors]
    if len(hit) < MIN_CLIENTS or rate >= 1:
        return False
    chance = sum(1 - (1 - rate) ** one.asked for one in tallies) / len(tallies)
    if binomial_tail(len(hit) - LEFT_OUT, len(tallies), chance) < FALSE_ALARM_RATE:
        return True
    often = [one for one in hit if binomial_tail(one.errors, one.asked, rate) <= CLIENT_CHANCE]
    return (
        len(often) >= MIN_CLIENTS
        and binomial_tail(len(often) - LEFT_OUT, len(tallies), CLIENT_CHANCE) < FALSE_ALARM_RATE
    )


def _is_unlikely_together(new: RouteStats, olds: Iterable[RouteStats], least: float) -> bool:
    rate = max([least, *map(_rate, olds)])
    return new.errors > 0 and binomial_tail(new.errors, new.asked, rate) < FALSE_ALARM_RATE


def _failed(
    new: RouteStats,
    old: RouteStats,
    olds: Sequence[RouteStats],
    least: float,
    shared: frozenset[Client],
) -> str | None:
    for part in _speaking(new, olds, least, shared):
        return f"{_counted(part, shared, 'requests failed')}, before {old.errors} of {old.asked}"
    return None


def _counted(part: RouteStats, shared: frozenset[Client], what: str) -> str:
    named = [client for client in part.by_client if client is not None]
    clients = f" for {part.affected} of {len(part.by_client)} clients" if named else ""
    if named and not part.without(shared).by_client:
        clients = f", all of them through {' and '.join(sorted(named))}"
    return f"{part.errors} of {part.asked} {what}{clients}"


def _logs_too_much(before: Traffic, after: Traffic, shared: frozenset[Client]) -> bool:
    """Return whether the logs would fill the disk, also without the lines of any one client."""

    def limit(without: Collection[Client] = ()) -> float:
        return max(MAX_LOGGED, MORE_LOGGED * before.logged_per_request(without))

    def is_too_much(client: Client = "") -> bool:
        return after.asked([client]) >= MIN_LOGGED and after.logged_per_request([client]) > limit(
            [client]
        )

    own = {client: size for client, size in after.volume_by.items() if client not in shared}
    known = after.total.by_client
    loud = [one for one in own if one in known and own[one] > MAX_LOGGED * known[one].asked]
    if len(loud) >= MIN_CLIENTS and is_too_much():
        any_one = sorted(own, key=lambda one: -own[one]) if LEFT_OUT else []
        return all(is_too_much(client) for client in any_one)
    # The rest was logged for no request, or for those of a shared address.
    return all(
        after.asked(shared - group) >= MIN_LOGGED
        and _rest(after, shared, group)
        > max(MAX_LOGGED, MORE_LOGGED * _rest(before, shared, group))
        for group in _groups(shared)
    )


def _rest(traffic: Traffic, shared: frozenset[Client], group: frozenset[Client]) -> float:
    """Return the characters per request of lines without a named client, without the busiest client."""
    others = sum(size for client, size in traffic.volume_by.items() if client not in group)
    first, second = traffic.total.busiest(shared)
    return (traffic.volume - others) / max(traffic.asked(shared - group) - (first - second), 1)


def _slower(
    old: RouteStats, new: RouteStats, shared: frozenset[Client], max_slowdown: float
) -> str | None:
    """Return the slowdown of a route as text if it is slower, also without any one client."""
    limit = max(max_slowdown, MIN_SLOWDOWN)
    if min(old.asked, new.asked) < _statistics.MIN_SAMPLES:
        return None

    def is_slower(was: Sequence[float], now: Sequence[float]) -> bool:
        return _statistics.is_slower(was, now, limit, TOLERANCE_MS, FALSE_ALARM_RATE) is True

    def times(without: Client = None) -> tuple[list[float], list[float]]:
        was = _times_by_client(old, shared | {without}) or _times_together(old.of(shared))
        return was, _times_by_client(new, shared | {without})

    was, now = times()
    if is_slower(was, now):
        middle = _statistics.median(was)
        most = max(middle * limit, middle + TOLERANCE_MS)
        clients = new.without(shared).by_client
        own = {one: _statistics.median(clients[one].ms) for one in clients if clients[one].ms}
        slow = sorted((one for one in own if own[one] > most), key=lambda one: -own[one])
        if len(slow) >= MIN_CLIENTS and all(
            is_slower(*times(one))
            for one in (dict.fromkeys([*slow, *own, *old.by_client]) if LEFT_OUT else ())
        ):
            ratio = _statistics.slowdown(was, now)
            return f"{ratio:.1f} times as slow as before for {len(slow)} of {len(clients)} clients"
    together = [
        (_times_together(old.of(group)), _times_together(new.of(group)))
        for group in _groups(shared)
    ]
    if all(is_slower(*both) for both in together):
        return f"{_statistics.slowdown(*together[0]):.1f} times as slow as before"
    return None


def _times_by_client(served: RouteStats, leave_out: Collection[Client]) -> list[float]:
    """Return the newest times of each client, the same number of each, so that none dominates."""
    tallies = [
        tally.ms
        for client, tally in served.by_client.items()
        if client not in leave_out and tally.ms
    ][-MAX_CLIENTS:]
    each = max(1, min(CLIENT_SAMPLES, MAX_TIMES // max(len(tallies), 1)))
    return [ms for times in tallies for ms in times[-each:]]


def _times_together(served: RouteStats) -> list[float]:
    tallies = [tally.ms for tally in served.by_client.values() if tally.ms]
    each = max(1, MAX_TIMES // max(len(tallies), 1))
    return [ms for times in tallies for ms in times[-each:]]


def binomial_tail(errors: int, asked: int, rate: float) -> float:
    """Return the binomial probability of C(errors) or more failures of C(asked) at C(rate)."""
    if errors <= 0 or rate >= 1:
        return 1.0
    if errors > asked or rate <= 0:
        return 0.0
    logarithm = math.lgamma(asked + 1) - math.lgamma(errors + 1) - math.lgamma(asked - errors + 1)
    term = math.exp(logarithm + errors * math.log(rate) + (asked - errors) * math.log1p(-rate))
    total = 0.0
    for number in range(errors, asked + 1):
        total += term
        term *= (asked - number) / (number + 1) * rate / (1 - rate)
        # Beyond its highest term a binomial falls faster than a geometric series.
        if number > asked * rate and term < total * 1e-9:
            break
    return min(1.0, total)
