# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lay out the steps of a rollout as a picture: a row per host, a bar per step.

Pure; on the controller only.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

ROW, BAR, AXIS = 26, 16, 24
BARS = 560
# Width of a letter of 12 pixels, rounded up: a text that is cut off is worse than a gap.
LETTER = 7
MAX_NAME = 28
THINNEST = 3.0
TICKS = 6
STEPS_OF_TICKS = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600)


@dataclass(frozen=True)
class Span:
    """A step of a host: its start in seconds since the epoch, and its duration in seconds."""

    step: str
    began: float
    elapsed: float
    outcome: str

    @property
    def ended(self) -> float:
        return self.began + self.elapsed


@dataclass(frozen=True)
class Row:
    """A host, its steps in order, and its outcome."""

    host: str
    state: str
    spans: list[Span] = field(default_factory=list)


@dataclass(frozen=True)
class Bar:
    """A step with its coordinates."""

    step: str
    outcome: str
    x: float
    width: float
    text: str
    title: str


@dataclass(frozen=True)
class Line:
    """A host with its coordinates."""

    host: str
    name: str
    state: str
    y: int
    since: float
    until: float
    bars: list[Bar]


@dataclass(frozen=True)
class Picture:
    """The whole picture, in pixels."""

    width: int
    height: int
    left: int
    lines: list[Line]
    ticks: list[tuple[float, str]]
    steps: list[str]


def rows(hosts: Mapping[str, Mapping[str, Mapping[str, Any] | None]]) -> list[Row]:
    """Parse the registered results of each step. Steps without a start time are left out."""
    found = []
    for host, steps in hosts.items():
        done = {
            step: result for step, result in steps.items() if result and not result.get("skipped")
        }
        spans = [
            Span(step, float(result["began"]), float(result["elapsed"]), _outcome(result))
            for step, result in done.items()
            if "began" in result
        ]
        if spans:
            found.append(Row(host, _state(done), sorted(spans, key=lambda span: span.began)))
    return found


def _outcome(result: Mapping[str, Any]) -> str:
    return "failed" if result.get("failed") else "passed"


def _state(done: Mapping[str, Mapping[str, Any]]) -> str:
    if any(result.get("unreachable") for result in done.values()):
        return "lost"
    bad = next((step for step, result in done.items() if result.get("failed")), None)
    if bad:
        return f"refused by its {bad}"
    if "withdraw" in done:
        return "taken back"
    had_it = done.get("stage", {}).get("settled")
    return "released" if had_it or {"bake", "finish"} & set(done) else "not released"


def picture(found: Iterable[Row]) -> Picture | None:
    """Lay the rows out, time to the right. Return V(None) if there is no time to show."""
    shown = list(found)
    if not shown:
        return None
    begin = min(row.spans[0].began for row in shown)
    length = max(max(span.ended for span in row.spans) for row in shown) - begin or 1.0
    names = [_shortened(row.host) for row in shown]
    left = max(map(len, names)) * LETTER + 12
    right = max(len(row.state) for row in shown) * LETTER + 12

    def x(moment: float) -> float:
        return round(left + (moment - begin) / length * BARS, 1)

    lines = [
        Line(
            row.host,
            name,
            row.state,
            number * ROW,
            x(row.spans[0].began),
            x(max(span.ended for span in row.spans)),
            [
                _bar(row.host, span, x(span.began), span.elapsed / length * BARS)
                for span in row.spans
            ],
        )
        for number, (row, name) in enumerate(zip(shown, names))
    ]
    steps = list(dict.fromkeys(span.step for row in shown for span in row.spans))
    ticks = [(x(begin + second), clock(second)) for second in _ticks(length)]
    width = left + BARS + right
    return Picture(width, len(lines) * ROW + AXIS, left, lines, ticks, steps)


def _shortened(name: str) -> str:
    return name if len(name) <= MAX_NAME else f"{name[: MAX_NAME - 1]}\N{HORIZONTAL ELLIPSIS}"


def _bar(host: str, span: Span, x: float, width: float) -> Bar:
    text = span.step if len(span.step) * LETTER + 6 <= width else ""
    title = f"{host}: {span.step}, {span.elapsed:.1f} s, {span.outcome}"
    return Bar(span.step, span.outcome, x, round(max(width, THINNEST), 1), text, title)


def _ticks(length: float) -> list[int]:
    step = next((one for one in STEPS_OF_TICKS if length / one <= TICKS), None)
    step = step or math.ceil(length / TICKS / 3600) * 3600
    return list(range(0, int(length) + 1, step))


def clock(seconds: float) -> str:
    """Format seconds for people: 45 s, 2:30 min."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02} min" if minutes else f"{rest} s"
