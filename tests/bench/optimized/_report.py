# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tables that the bench of the production form writes, and the rows of its chart."""

from __future__ import annotations

import page
from optimized._figures import AFTER, BEFORE, CEILING, COLD, POOLED, Phase, Route

CONTENDERS = (BEFORE, POOLED, AFTER, COLD, CEILING)


def number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}" if value < 100 else f"{value:.0f}"


def lines(phase: Phase) -> list[str]:
    return [
        f"**{phase.delay[0].upper()}{phase.delay[1:]}**: the app host waits {phase.round_trip:.2f} ms "
        "for the answer to `SELECT 1`.",
        "",
        *goals(phase),
        "",
        "At concurrency 10, the p50 of each contender in ms, and ratios of p50, one of p99:",
        "",
        *routes(phase),
        "",
        "Requests/s before and after, with their ratio, and the ceiling's:",
        "",
        *concurrencies(phase),
        "",
        *errors(phase),
        "",
    ]


def goals(phase: Phase) -> list[str]:
    return page.table(
        ["goal, before/after", "wanted", "measured", "reached"],
        [goal.cells() for goal in phase.goals()],
    )


def routes(phase: Phase) -> list[str]:
    def row(route: Route) -> list[str]:
        sizes = [phase.median(contender, route, "size") for contender in (BEFORE, AFTER)]
        return [
            route.name,
            *(number(phase.median(contender, route)) for contender in CONTENDERS),
            f"**{number(phase.ratio(BEFORE, AFTER, route))}**",
            number(phase.ratio(BEFORE, AFTER, route, "p99")),
            number(phase.ratio(POOLED, AFTER, route)),
            number(phase.ratio(BEFORE, COLD, route)),
            " → ".join(f"{size:.0f}" for size in sizes if size is not None),
        ]

    head = ["route", *CONTENDERS, "before/after", "p99", f"{POOLED}/after", "before/cold", "bytes"]
    return page.table(head, map(row, phase.routes()))


def concurrencies(phase: Phase) -> list[str]:
    known = sorted({turn.connections for turn in phase.turns})

    def cell(route: Route, connections: int) -> str:
        before, after, ceiling = (
            phase.median(contender, route, "per_second", connections)
            for contender in (BEFORE, AFTER, CEILING)
        )
        times = phase.ratio(AFTER, BEFORE, route, "per_second", connections)
        if times is None:
            return ""
        return f"{before:.0f} → {after:.0f} (**{number(times)}**) of {ceiling:.0f}"

    return page.table(
        ["route", *(f"{connections} at once" for connections in known)],
        [
            [route.name, *(cell(route, connections) for connections in known)]
            for route in phase.routes(max(known))
        ],
    )


def errors(phase: Phase) -> list[str]:
    def cells(contender: str) -> list[str]:
        failed, asked = phase.errors(contender)
        memory = phase.memory.get(contender)
        return [contender, f"{failed} of {asked}", f"{memory:.0f}" if memory else ""]

    return page.table(
        ["contender", "errors at any concurrency", "memory of all processes, MB"],
        map(cells, CONTENDERS),
    )


def chart(phase: Phase) -> dict[str, dict[str, float]]:
    """The chart of each route: p50 at concurrency 10."""
    return {
        route.path: {
            contender: p50
            for contender in (BEFORE, COLD, AFTER, CEILING)
            if (p50 := phase.median(contender, route))
        }
        for route in phase.routes()
    }
