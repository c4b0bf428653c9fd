# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check that the candidate is as fast as the live release at the same moment, and within its budget."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ... import _statistics
from ..._errors import HttpError
from ..._http.client import Deadline
from ..check import CheckContext, Failed, HttpTarget, Inconclusive, Passed, Settings

TITLE = "Response Times"
SPEC: dict[str, Any] = {
    "paths": {"type": "list", "elements": "str"},
    "max_ms": {"type": "float", "default": 2000},
    "samples": {"type": "int", "default": 30},
    "seconds": {"type": "float", "default": 2.5},
    "tolerance_ms": {"type": "float", "default": 2.0},
}
WARM_UP = 10
# The maximum share of the time for responses that are not measured.
WARM_UP_SHARE = 1 / 3
MIN_SAMPLES = _statistics.MIN_SAMPLES
MIN_COMPARED = 20
MAX_SAMPLES = 500


@dataclass
class Timing:
    """The measurements of one path, in milliseconds."""

    path: str
    candidate: list[float] = field(default_factory=list)
    live: list[float] = field(default_factory=list)
    slower: bool | None = None
    warning: str | None = None

    @property
    def p95(self) -> float:
        return _statistics.percentile(self.candidate, 95)

    def as_dict(self) -> dict[str, Any]:
        found: dict[str, Any] = {
            "p95_ms": round(self.p95, 1),
            "quantiles_ms": quantiles(self.candidate),
            "samples": len(self.candidate),
        }
        if self.live:
            found["live_p95_ms"] = round(_statistics.percentile(self.live, 95), 1)
            found["live_quantiles_ms"] = quantiles(self.live)
            found["slowdown"] = round(_statistics.slowdown(self.live, self.candidate), 3)
        return found


def quantiles(samples: list[float]) -> list[float]:
    """Return the distribution in 21 steps, from the fastest response to the slowest."""
    return [round(_statistics.percentile(samples, percent), 2) for percent in range(0, 101, 5)]


def run(trial: CheckContext, settings: Settings) -> Passed:
    paths = settings["paths"] or list(dict.fromkeys((trial.main_path, trial.health_path)))
    timings = [measure(trial, path, settings) for path in paths]
    late = [one for one in timings if one.p95 > settings["max_ms"]]
    slower = [one for one in timings if one.slower]
    unclear = [one for one in timings if one.live and one.slower is None]
    problems = [f"{one.path}: p95 {one.p95:.0f} ms, wanted {settings['max_ms']:g}" for one in late]
    problems += [f"{describe(one)}, wanted at most {trial.max_slowdown:g}" for one in slower]
    measured = {one.path: one.as_dict() for one in timings}
    if problems:
        raise Failed("; ".join(problems), measured)
    if unclear:
        summary = "; ".join(describe(one) for one in unclear)
        raise Inconclusive(
            f"not clear after {len(unclear[0].candidate)} samples: {summary}", measured
        )
    warnings = tuple(one.warning for one in timings if one.warning)
    detail = ", ".join(f"{one.path} p95 {one.p95:.0f} ms" for one in timings)
    return Passed(detail, warnings, measured)


def describe(one: Timing) -> str:
    return f"{one.path}: {_statistics.slowdown(one.live, one.candidate):.2f} times the live release"


def measure(trial: CheckContext, path: str, settings: Settings) -> Timing:
    timing = Timing(path)
    live = comparable(trial, path, timing)
    sides = [(trial.candidate, timing.candidate)] + ([(live, timing.live)] if live else [])
    time = Deadline(settings["seconds"], trial.candidate.clock)
    for _turn in range(WARM_UP):
        for site, _samples in sides:
            site.fetch(path)
        if time.left < time.seconds * (1 - WARM_UP_SHARE):
            break
    if live:
        compare(trial, sides, timing, time, settings["tolerance_ms"])
    else:
        while len(timing.candidate) < max(settings["samples"], MIN_SAMPLES) and not (
            time.over and len(timing.candidate) >= MIN_SAMPLES
        ):
            timing.candidate.append(elapsed(trial.candidate, path))
    return timing


def elapsed(site: HttpTarget, path: str) -> float:
    return site.fetch(path).elapsed_ms


def comparable(trial: CheckContext, path: str, timing: Timing) -> HttpTarget | None:
    """Return the live release, if it responds to the path as the candidate does.

    A broken live release must not stop the release that fixes it.
    """
    answer = trial.candidate.fetch(path)
    if answer.status >= 400:
        raise Failed(f"{path}: {answer.status}, which is not worth timing")
    if not trial.live:
        return None
    try:
        status: Any = trial.live.fetch(path).status
    except HttpError as error:
        status = error
    if status == answer.status:
        return trial.live
    timing.warning = f"{path}: the live release answers {status}, so only max_ms was judged"
    return None


def compare(
    trial: CheckContext,
    sides: list[tuple[HttpTarget, list[float]]],
    timing: Timing,
    time: Deadline,
    tolerance: float,
) -> None:
    """Sample both sides until the comparison is clear or time is up; the first side alternates.

    Each test of the samples can err, so tests become rarer as samples become more.
    """
    look = MIN_SAMPLES
    over = False
    while timing.slower is None and not over:
        first, second = sides if len(timing.live) % 2 else reversed(sides)
        for site, samples in (first, second):
            samples.append(elapsed(site, timing.path))
        taken = len(timing.live)
        over = taken >= MAX_SAMPLES or (time.over and taken >= MIN_COMPARED)
        if taken >= look or over:
            look = taken * 3 // 2
            alpha = _statistics.LAST_ALPHA if over else _statistics.ALPHA
            timing.slower = _statistics.is_slower(
                timing.live, timing.candidate, trial.max_slowdown, tolerance, alpha
            )
