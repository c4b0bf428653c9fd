# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Does a release do worse under real traffic than the one before it? Read from the app's own logs.

Clients are counted, not requests: whatever one client does, it does not have a good release taken
back. Each judgement is therefore made so that it still holds without any one client, and it asks
for three affected clients. Where clients cannot be told apart (C(clients.find_shared)), each
request counts by itself.

Everything here is pure; C(watch.py) reads the logs and asks.
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
    Served,
    Tally,
    client_of,
    find_shared,
    shared_without_any,
)

# Errors that are as many by chance only once in so many times speak against a release. There is a
# look a second, and one for each route at each of them.
CHANCE = 1e-4
# So often an app fails of which nothing else is known.
ERROR_RATE = 0.001
# Fewer affected clients may be one person with several devices, or one with bad luck.
MIN_CLIENTS = 3
# Each judgement must hold without any so many clients.
LEFT_OUT = 1
# A client whose failures are this unlikely has more of them than bad luck gives. It catches rare
# failures where few clients send many requests each.
CLIENT_CHANCE = 0.001
# The two releases served one after the other, not side by side as on trial, so a trifle says nothing.
LEAST_SLOWDOWN = 2.0
TOLERANCE_MS = 10.0
# No request takes eleven days.
MAX_MS = 1e9
# The newest of each route; more make a comparison no better, and cost their product.
MOST_SAMPLES = 500
# One client gives at most five times of a route, and at most so many clients are compared.
CLIENT_SAMPLES = 5
MAX_CLIENTS = 200
# So many requests may log an error of a new kind. What users met is counted by its status; the
# rest was caught by the app, as harmless as a mail that goes out later, and is told in any case.
LOGGED_RATE = 0.01
LONGEST_KIND = 80
# Kinds of errors that one client may add; an app that puts data into its messages has no more.
MAX_KINDS = 50
# Request ids that are remembered for lines without an address (older releases).
MAX_IDS = 50_000
# So many characters in the logs for each request fill a disk in hours, unless it was so before.
MOST_LOGGED = 32 * 1024
MORE_LOGGED = 4
ENOUGH_LOGGED = 20
# How gunicorn's arbiter says that a worker was not its own end (gunicorn/arbiter.py).
DEATH = re.compile(r"WORKER TIMEOUT|Worker \(pid:\s*\d+\) (?:was sent SIG|exited with code)")
ARBITER = "gunicorn.error"
VARIABLE = re.compile(r"/(?:\d+|[0-9a-fA-F-]{16,})(?=/|$)")
# The name below the frames of a traceback; what is said after it may have lines of its own.
EXCEPTION = re.compile(r"^  File .*\n(?: .*\n)*([^\W\d][\w.]*)", re.MULTILINE)
# What differs from one message of a kind to the next: what is quoted, numbers, ids.
FILLED_IN = re.compile(r"""'[^']*'|"[^"]*"|\b[0-9a-fA-F-]{16,}|\b0x[0-9a-fA-F]+|\d+""")
# The client of all lines whose request is not known. It is one client, so it decides nothing.
UNKNOWN = "?"


@dataclass(frozen=True)
class Asked:
    """A request that a release answered.

    @param client: as C(clients.client_of) names it
    @param limited: whether the collection's own limit refused it
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
    """What a release answered in a while, by route and client."""

    served: dict[str, Served] = field(default_factory=dict)
    whole: Served = field(default_factory=Served)
    deaths: int = 0
    # How much was written into app.log, in characters.
    volume: int = 0
    by_worker: Counter[int] = field(default_factory=Counter)
    # How often each kind of error was logged, and in which requests: client and id.
    logged: Counter[str] = field(default_factory=Counter)
    failing: dict[str, set[tuple[Client, str]]] = field(default_factory=dict)
    # The most that a worker came to hold.
    held: Mapping[str, float] = field(default_factory=dict)
    volume_by: Counter[Client] = field(default_factory=Counter)
    _routes: Counter[Client] = field(default_factory=Counter)
    _kinds: Counter[tuple[Client, bool]] = field(default_factory=Counter)
    # Whose request it was; V(UNKNOWN) if several clients sent the same id.
    _owners: dict[str, Client] = field(default_factory=dict)

    def add(self, asked: Iterable[Asked], leave_out: str = "") -> None:
        """Take in requests.

        @param leave_out: a path that tells nothing of users: the health endpoint, which machines ask
        """
        for one in asked:
            if one.worker is not None:
                self.by_worker[one.worker] += 1
            if one.request_id:
                self._own(one.request_id, one.client)
            # A client that the collection's limit refused met the operator's rule, not the release.
            if one.route == leave_out or one.limited:
                continue
            # Whoever is sent away by the app for asking too often was served before.
            failed = one.status >= 500 or one.status == 429
            self.whole.add(one.client, failed, None)
            served = self.served.get(one.route)
            if served is None or one.client not in served.by_client:
                if self._routes[one.client] >= MAX_ROUTES:
                    continue
                self._routes[one.client] += 1
                served = self.served.setdefault(one.route, Served())
            served.add(one.client, failed, one.ms)

    def _own(self, request_id: str, client: Client) -> None:
        known = self._owners.setdefault(request_id, client)
        if known != client:
            self._owners[request_id] = UNKNOWN
        elif len(self._owners) > MAX_IDS:
            del self._owners[next(iter(self._owners))]

    def hear(self, lines: Sequence[str], release: str, since: str) -> None:
        """Take in what the lines of C(app.log) say of dead workers and errors, and how much they say."""
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

        Where no request has an address each one counts by itself, as that of an unknown client.
        """
        if client is not None:
            return client
        has_addresses = any(one is not None for one in self.whole.by_client)
        return self._owners.get(request_id, UNKNOWN if has_addresses else None)

    def failed_in(self, kinds: Iterable[str]) -> Served:
        """Count the requests that logged an error of one of these kinds, by client."""
        found = set().union(*(self.failing.get(kind, ()) for kind in kinds))
        errors: Counter[Client] = Counter()
        for client, _id in {(self.owner(*one), one[1]) for one in found}:
            errors[client] += 1
        served = Served()
        for client in {**self.whole.by_client, **errors}:
            # A line may be there before that of its request.
            known = self.whole.by_client.get(client, Tally()).asked
            asked = max(known, errors[client])
            served.by_client[client] = Tally(asked, errors[client])
            served.asked += asked
            served.errors += errors[client]
        return served

    def on(self, route: str) -> Served:
        return self.served.get(route, Served())

    def said(self, without: Collection[Client] = ()) -> float:
        """How many characters were written into C(app.log) for each request, of all other clients."""
        volume = self.volume - sum(self.volume_by[client] for client in without)
        return volume / max(self.asked(without), 1)

    def asked(self, without: Collection[Client] = ()) -> int:
        tallies = self.whole.by_client
        return self.whole.asked - sum(tallies[one].asked for one in without if one in tallies)

    def told(self) -> dict[str, float | int | None]:
        """The figures for a report; times are those of the newest answers of each client and route."""
        times = [
            ms
            for served in self.served.values()
            for tally in served.by_client.values()
            for ms in tally.ms[-MOST_SAMPLES:]
        ]
        return {
            "requests": self.whole.asked,
            "errors": self.whole.errors,
            "clients": len(self.whole.by_client),
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
    for _size, record in _sized(lines, release, since):
        path, status, ms = record.get("path"), record.get("status"), record.get("duration_ms")
        worker, request_id = record.get("worker"), record.get("request_id")
        if not isinstance(path, str) or not isinstance(status, int):
            continue
        # The app writes the line. JSON of Python has NaN, and numbers of any length.
        if isinstance(ms, (int, float)) and 0 <= ms <= MAX_MS:
            yield Asked(
                route(path),
                status,
                float(ms),
                worker if isinstance(worker, int) else None,
                client_of(record.get("remote_addr")),
                request_id if isinstance(request_id, str) else None,
                status == 429 and record.get("limited") is True,
            )


def kind_of(record: Mapping[str, object]) -> str:
    """What errors of one kind have in common: the logger, and the exception or the message's template.

    Lines of releases that log no template have their message compared, without what is filled in.
    """
    raised = EXCEPTION.findall(str(record.get("exception")))
    message = str(record.get("template") or record.get("message"))
    first = (message.strip().splitlines() or ["no message"])[0]
    what = raised[-1] if raised else FILLED_IN.sub("*", first)
    return f"{record.get('logger')}: {what}"[:LONGEST_KIND]


def _is_death(record: Mapping[str, object]) -> bool:
    """Only the arbiter says that a worker died; a visitor's words in a message do not."""
    return (
        record.get("logger", ARBITER) == ARBITER
        and not record.get("request_id")
        and DEATH.match(str(record.get("message"))) is not None
    )


def news(before: Traffic, after: Traffic) -> dict[str, int]:
    """The kinds of errors that the release before did not log, with how often they came."""
    return {kind: times for kind, times in after.logged.most_common() if kind not in before.logged}


def _sized(
    lines: Iterable[str], release: str, since: str
) -> Iterator[tuple[int, dict[str, object]]]:
    for line in lines:
        # Most lines of a busy log are another release's, and parsing is what takes the time.
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


def judge(before: Traffic, after: Traffic, max_slowdown: float) -> list[str]:
    """What speaks against the release that served C(after), in words.

    Which addresses are shared must not depend on any one client either.
    """
    problems = [
        _judge(before, after, max_slowdown, shared)
        for shared in shared_without_any(before.whole.by_client)
    ]
    return problems[0] if all(problems) else []


def _judge(
    before: Traffic, after: Traffic, max_slowdown: float, shared: frozenset[Client]
) -> list[str]:
    problems = []
    if after.deaths > before.deaths:
        problems.append(f"{after.deaths} workers died")
    was, now = before.whole, after.whole
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
        problems.append(f"{after.said() / 1024:.0f} KiB are logged for each request")
    if not problems:
        failed = _failed(now, was, (was,), ERROR_RATE, shared)
        if failed:
            problems.append(failed)
    if _is_fair(before, after, shared):
        logged = after.failed_in(news(before, after))
        # An error that was only reworded is none, so all that were logged before are counted.
        known = before.failed_in(before.logged)
        for part in _speaking(logged, (known,), LOGGED_RATE, shared):
            problems.append(f"{_counted(part, shared, 'requests logged errors of a new kind')}")
    return problems


def is_fair(before: Traffic, after: Traffic) -> bool:
    """Whether the release before was asked enough to know its errors, and what warm workers hold.

    The busiest client is left out before the switch. Afterwards it counts as much as the next one.
    So one client can neither make a comparison fair nor unfair.
    """
    return _is_fair(before, after, find_shared(before.whole.by_client))


def _is_fair(before: Traffic, after: Traffic, shared: frozenset[Client]) -> bool:
    busiest, _next = before.whole.busiest(shared)
    first, second = after.whole.busiest(shared)
    most = after.whole.asked - (first - second)
    return before.whole.asked - LEFT_OUT * busiest >= most


def is_of_one_client(before: Traffic, after: Traffic) -> bool:
    """Whether one client sent most of the requests since the switch, so that workers grew for it alone."""
    shared = find_shared(before.whole.by_client)
    return 2 * after.whole.busiest(shared)[0] > after.whole.asked


def warning(before: Traffic, after: Traffic) -> str | None:
    """Say that clients could not be told apart, if one address sent most of the requests."""
    asked = after.whole.asked
    for client, tally in after.whole.by_client.items():
        if client is None or asked < MIN_KNOWN or 2 * tally.asked <= asked:
            continue
        if client in find_shared(before.whole.by_client):
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
    """The groups of shared addresses of which each must show a failure by itself.

    Of two addresses one may be a single busy client; a bad release fails at both.
    """
    balancers = sorted(one for one in shared if one not in (None, LOOPBACK))
    if len(balancers) < 2:
        return [shared]
    return [shared - {one} for one in balancers]


def _speaking(
    new: Served, olds: Sequence[Served], least: float, shared: frozenset[Client]
) -> list[Served]:
    """Return the part of the requests in which failures are more than chance; at most one.

    @param olds: what was before; the highest of their rates counts
    @param least: the rate of failures that no app can be blamed for
    """
    if not new.errors:
        return []
    clients = new.without(shared)
    rate = max(
        [
            least,
            *(_client_rate(old.without(shared)) for old in olds),
            # All there is where the balancer was not trusted until now.
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


def _rate(served: Served) -> float:
    return served.errors / served.asked if served.asked else 0.0


def _client_rate(served: Served) -> float:
    """Return the failing share of a client's requests, over all clients that may be left out.

    Each client has the same weight, so a long window and a busy client change nothing.
    """
    rates = sorted(one.errors / one.asked for one in served.by_client.values() if one.asked)
    if len(rates) < 2:
        # One client alone says nothing of the release.
        return 0.0
    # The highest that it is without any one client.
    rates = rates[LEFT_OUT:]
    return sum(rates) / len(rates)


def _is_unlikely(served: Served, rate: float) -> bool:
    """Whether failures hit more clients than chance does, and would also without any one of them.

    A client that sends many requests meets a failure by chance sooner than another one. What is
    compared is the mean of these chances: a binomial with it has the heavier tail (Hoeffding, 1956).
    """
    tallies = [one for one in served.by_client.values() if one.asked]
    hit = [one for one in tallies if one.errors]
    if len(hit) < MIN_CLIENTS or rate >= 1:
        return False
    chance = sum(1 - (1 - rate) ** one.asked for one in tallies) / len(tallies)
    if at_least(len(hit) - LEFT_OUT, len(tallies), chance) < CHANCE:
        return True
    often = [one for one in hit if at_least(one.errors, one.asked, rate) <= CLIENT_CHANCE]
    return (
        len(often) >= MIN_CLIENTS
        and at_least(len(often) - LEFT_OUT, len(tallies), CLIENT_CHANCE) < CHANCE
    )


def _is_unlikely_together(new: Served, olds: Iterable[Served], least: float) -> bool:
    rate = max([least, *map(_rate, olds)])
    return new.errors > 0 and at_least(new.errors, new.asked, rate) < CHANCE


def _failed(
    new: Served, old: Served, olds: Sequence[Served], least: float, shared: frozenset[Client]
) -> str | None:
    for part in _speaking(new, olds, least, shared):
        return f"{_counted(part, shared, 'requests failed')}, before {old.errors} of {old.asked}"
    return None


def _counted(part: Served, shared: frozenset[Client], what: str) -> str:
    named = [client for client in part.by_client if client is not None]
    clients = f" for {part.affected} of {len(part.by_client)} clients" if named else ""
    if named and not part.without(shared).by_client:
        clients = f", all of them through {' and '.join(sorted(named))}"
    return f"{part.errors} of {part.asked} {what}{clients}"


def _logs_too_much(before: Traffic, after: Traffic, shared: frozenset[Client]) -> bool:
    """Whether the logs would fill the disk, also without what any one client made them say."""

    def limit(without: Collection[Client] = ()) -> float:
        return max(MOST_LOGGED, MORE_LOGGED * before.said(without))

    def is_too_much(client: Client = "") -> bool:
        return after.asked([client]) >= ENOUGH_LOGGED and after.said([client]) > limit([client])

    own = {client: size for client, size in after.volume_by.items() if client not in shared}
    known = after.whole.by_client
    loud = [one for one in own if one in known and own[one] > MOST_LOGGED * known[one].asked]
    if len(loud) >= MIN_CLIENTS and is_too_much():
        any_one = sorted(own, key=lambda one: -own[one]) if LEFT_OUT else []
        return all(is_too_much(client) for client in any_one)
    # The rest was logged for no request, or for those of a shared address.
    return all(
        after.asked(shared - group) >= ENOUGH_LOGGED
        and _rest(after, shared, group)
        > max(MOST_LOGGED, MORE_LOGGED * _rest(before, shared, group))
        for group in _groups(shared)
    )


def _rest(traffic: Traffic, shared: frozenset[Client], group: frozenset[Client]) -> float:
    """How many characters were logged for no client by name, for each request; the busiest one is left out."""
    others = sum(size for client, size in traffic.volume_by.items() if client not in group)
    first, second = traffic.whole.busiest(shared)
    return (traffic.volume - others) / max(traffic.asked(shared - group) - (first - second), 1)


def _slower(old: Served, new: Served, shared: frozenset[Client], max_slowdown: float) -> str | None:
    """Say how much slower a route is, if it is, and would also be without any one client."""
    limit = max(max_slowdown, LEAST_SLOWDOWN)
    if min(old.asked, new.asked) < _statistics.LEAST_SAMPLES:
        return None

    def is_slower(was: Sequence[float], now: Sequence[float]) -> bool:
        return _statistics.decide(was, now, limit, TOLERANCE_MS, CHANCE) is True

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


def _times_by_client(served: Served, leave_out: Collection[Client]) -> list[float]:
    """The newest times of each client, as many of each that no client outweighs the others."""
    tallies = [
        tally.ms
        for client, tally in served.by_client.items()
        if client not in leave_out and tally.ms
    ][-MAX_CLIENTS:]
    each = max(1, min(CLIENT_SAMPLES, MOST_SAMPLES // max(len(tallies), 1)))
    return [ms for times in tallies for ms in times[-each:]]


def _times_together(served: Served) -> list[float]:
    tallies = [tally.ms for tally in served.by_client.values() if tally.ms]
    each = max(1, MOST_SAMPLES // max(len(tallies), 1))
    return [ms for times in tallies for ms in times[-each:]]


def at_least(errors: int, asked: int, rate: float) -> float:
    """How likely C(errors) or more of C(asked) fail by chance where C(rate) of them do: binomial."""
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
        # From its highest term on a binomial falls faster than a geometric series.
        if number > asked * rate and term < total * 1e-9:
            break
    return min(1.0, total)
