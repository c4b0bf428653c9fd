# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Turn the measurements of wrk into the figures of the production form: ratios and their goals."""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rollout._figures import Goal

BEFORE, POOLED, AFTER, COLD, CEILING = "before", "default pool", "after", "after, cold", "ceiling"
PSS = re.compile(r"^Pss:\s+(\d+) kB$", re.M)


@dataclass(frozen=True)
class Route:
    """A requested path; C(same) is whether all visitors get the same response, so that it can be stored."""

    path: str
    what: str = ""
    same: bool = True
    session: bool = False

    @property
    def name(self) -> str:
        return f"`{self.path}`" + (f", {self.what}" if self.what else "")


MAIN_PAGE = Route("/", "the main page")
JSON_LIST = Route("/api/products", "JSON list")
HEALTH = Route("/health", "pings the database", same=False)
TRIVIAL = Route("/login", "no database")
STATIC = Route("/static/shop.css", same=False)
# Its path is in the main page of each contender.
STYLESHEET = Route("shop.css", "as the main page names it", same=False)
ROUTES = (
    MAIN_PAGE,
    Route("/products"),
    Route("/products/1"),
    JSON_LIST,
    Route("/api/products/1"),
    Route("/api/categories"),
    Route("/reports/sales"),
    HEALTH,
    TRIVIAL,
    STATIC,
    STYLESHEET,
    Route("/account", "logged in", same=False, session=True),
    Route("/cart", "one product in it", same=False, session=True),
)


@dataclass(frozen=True)
class Turn:
    """The measurement of one route of one contender for some seconds; in milliseconds."""

    contender: str
    path: str
    connections: int
    requests: int
    per_second: float
    p50: float
    p99: float
    errors: int
    # Of one answer's body, as it came.
    size: int

    @classmethod
    def read(cls, record: Mapping[str, Any]) -> Turn:
        """Read a line of the client, in microseconds as wrk reports them.

        A response other than 200 before or after counts as one more error: wrk counts none below 400. If
        there was no response in all that time, the turn counts as one response at its end.
        """
        wrk = record["wrk"]
        p50, p99 = (wrk[name] if wrk["requests"] else wrk["duration"] for name in ("p50", "p99"))
        return cls(
            record["contender"],
            record["route"],
            record["connections"],
            wrk["requests"],
            max(1, wrk["requests"]) * 1e6 / wrk["duration"],
            p50 / 1000,
            p99 / 1000,
            wrk["errors"] + sum(status != 200 for status in record["statuses"]),
            record["size"],
        )


@dataclass(frozen=True)
class Phase:
    """All that was seen at one distance from the database."""

    delay: str
    # Of a query, in ms, as the app host sees it.
    round_trip: float
    turns: Sequence[Turn]
    # Of all processes of a contender, in MB.
    memory: Mapping[str, float]

    def of(self, contender: str, route: Route, connections: int) -> list[Turn]:
        wanted = (contender, route.path, connections)
        return [it for it in self.turns if (it.contender, it.path, it.connections) == wanted]

    def median(
        self, contender: str, route: Route, figure: str = "p50", connections: int = 10
    ) -> float | None:
        seen = [getattr(turn, figure) for turn in self.of(contender, route, connections)]
        return statistics.median(seen) if seen else None

    def ratio(
        self, one: str, other: str, route: Route, figure: str = "p50", connections: int = 10
    ) -> float | None:
        """How many times the other's one's is, turn by turn, so that a busy moment disturbs what is compared alike."""
        pairs = zip(self.of(one, route, connections), self.of(other, route, connections))
        seen = [getattr(mine, figure) / getattr(its, figure) for mine, its in pairs]
        return statistics.median(seen) if seen else None

    def routes(self, connections: int = 10) -> list[Route]:
        return [route for route in ROUTES if self.of(BEFORE, route, connections)]

    def means(self) -> tuple[float, float] | None:
        """Before/after over all routes: of the average p50, and the geometric mean of each route's own."""
        seen = [
            (before, after)
            for route in self.routes()
            if (before := self.median(BEFORE, route)) and (after := self.median(AFTER, route))
        ]
        if not seen:
            return None
        average = sum(one for one, _other in seen) / sum(other for _one, other in seen)
        return average, statistics.geometric_mean([one / other for one, other in seen])

    def worst(self, session: bool, figure: str) -> tuple[float | None, str]:
        found = [
            (ratio, route.name)
            for route in self.routes()
            if route.session == session
            and (ratio := self.ratio(BEFORE, AFTER, route, figure)) is not None
        ]
        return min(found, default=(None, "none"))

    def errors(self, contender: str, connections: int | None = None) -> tuple[int, int]:
        """How many there were, and of how many requests."""
        seen = [
            turn
            for turn in self.turns
            if turn.contender == contender and connections in (None, turn.connections)
        ]
        return sum(turn.errors for turn in seen), sum(turn.requests for turn in seen)

    def goals(self) -> Iterator[Goal]:
        def at_least(
            what: str, limit: float, value: float | None, wanted: str = "{:g} times"
        ) -> Goal:
            return Goal(what, wanted.format(limit), limit, value, at_least=True)

        average, geometric = self.means() or (None, None)
        p50, slowest = self.worst(session=False, figure="p50")
        p99, slowest_99 = self.worst(session=False, figure="p99")
        own, slowest_own = self.worst(session=True, figure="p50")
        errors, asked = self.errors(AFTER, 200)
        share = self.memory[AFTER] / self.memory[BEFORE] if self.memory else None
        yield at_least("main page, warm", 40, self.ratio(BEFORE, AFTER, MAIN_PAGE))
        yield at_least("main page, cold", 1.5, self.ratio(BEFORE, COLD, MAIN_PAGE))
        yield at_least("all routes, by their average", 10, average)
        yield at_least("all routes, geometric mean of the ratios", 10, geometric)
        yield at_least(
            "health, with its ping of the database", 5, self.ratio(BEFORE, AFTER, HEALTH)
        )
        yield at_least("JSON list", 10, self.ratio(BEFORE, AFTER, JSON_LIST))
        yield at_least(f"the worst route without a session: {slowest}", 1, p50)
        yield at_least(f"the worst p99 without a session: {slowest_99}", 1, p99)
        yield at_least(f"the worst route with a session: {slowest_own}", 0.8, own)
        yield Goal(f"errors of {asked} requests, 200 at once", "0", 0, errors if asked else None)
        yield Goal("memory of all processes, after/before", "1 time", 1, share)


def megabytes(smaps: str) -> float:
    """Return the memory of processes, with shared pages divided among them, from smaps_rollup."""
    return sum(map(int, PSS.findall(smaps))) * 1024 / 1e6
