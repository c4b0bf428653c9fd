# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the checks on a candidate, and combine their results into one verdict."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Protocol

from .._errors import HttpError
from .._http.client import Clock
from . import suite
from .check import CheckContext, Failed, Inconclusive, NotPassed, Passed, Settings
from .checks import api, concurrency, errors, health, main_page, response_times, session, upload


class Check(Protocol):
    """The interface of a file in C(checks)."""

    TITLE: str
    SPEC: dict[str, Any]

    @staticmethod
    def run(trial: CheckContext, settings: Settings) -> Passed: ...


CHECKS: dict[str, Any] = {
    "health": health,
    "main_page": main_page,
    "api": api,
    "upload": upload,
    "response_times": response_times,
    "concurrency": concurrency,
    "session": session,
    "errors": errors,
    suite.NAME: suite,
}
# These measure time, so no other check may run concurrently.
ALONE = ("concurrency", "response_times")
CHECKS_SPEC: dict[str, Any] = {
    name: {
        "type": "dict",
        "apply_defaults": True,
        "options": {"enabled": {"type": "bool", "default": True}, **check.SPEC},
    }
    for name, check in CHECKS.items()
}


@dataclass(frozen=True)
class Result:
    """The result of one check."""

    name: str
    title: str
    outcome: str
    reason: str
    elapsed_ms: float = 0.0
    warnings: Sequence[str] = ()
    measured: Mapping[str, Any] = field(default_factory=dict)


def run(trial: CheckContext, settings: Settings, clock: Clock = time.monotonic) -> list[Result]:
    """Run all checks, concurrently if they do not disturb each other."""

    def one(name: str) -> Result:
        return _run_one(name, CHECKS[name], trial, settings[name], clock)

    together = [name for name in CHECKS if name not in ALONE]
    with ThreadPoolExecutor(max_workers=len(together)) as pool:
        results = dict(zip(together, pool.map(one, together)))
    results.update({name: one(name) for name in ALONE})
    return [results[name] for name in CHECKS]


def _run_one(
    name: str, check: Check, trial: CheckContext, settings: Settings, clock: Clock
) -> Result:
    if not settings["enabled"]:
        return Result(name, check.TITLE, "skipped", f"switched off (checks.{name}.enabled)")

    def ruled() -> Passed:
        try:
            return check.run(trial, settings)
        except HttpError as error:
            # If the gate's own time is up, the candidate is not at fault.
            over = trial.candidate.deadline.over
            raise (Inconclusive if over else Failed)(str(error)) from None

    return result_of(name, check.TITLE, ruled, clock)


def result_of(
    name: str, title: str, check: Callable[[], Passed], clock: Clock = time.monotonic
) -> Result:
    """Run a check and return its result."""
    started = clock()

    def result(outcome: str, reason: Any, **more: Any) -> Result:
        elapsed = round((clock() - started) * 1000, 1)
        return Result(name, title, outcome, str(reason), elapsed, **more)

    try:
        finding = check()
    except NotPassed as ruling:
        return result(ruling.outcome, ruling, measured=ruling.measured)
    return result("passed", finding.detail, warnings=finding.warnings, measured=finding.measured)


def with_warnings(results: Sequence[Result], warnings: Sequence[str]) -> list[Result]:
    """Add warnings about the host to the first check. They do not change the verdict."""
    first, *others = results
    return [replace(first, warnings=[*first.warnings, *warnings]), *others]


def count(results: Sequence[Result], outcome: str) -> int:
    return sum(result.outcome == outcome for result in results)


def verdict(results: Sequence[Result]) -> str:
    """Return V(passed) only if a check passed and no check failed or is inconclusive."""
    if count(results, "failed"):
        return "failed"
    if count(results, "inconclusive") or not count(results, "passed"):
        return "inconclusive"
    return "passed"


def pass_rate(results: Sequence[Result]) -> float:
    """Return the percentage of passed checks among passed and failed ones; 100 only if none failed."""
    passed, failed = count(results, "passed"), count(results, "failed")
    return round(100 * passed / (passed + failed), 1) if passed + failed else 0.0


def summary(results: Sequence[Result]) -> list[str]:
    """Return the lines of the summary for people."""
    words = {"passed": "PASS", "failed": "FAIL", "skipped": "SKIP", "inconclusive": "????"}
    lines = [f"{words[result.outcome]} {result.title}: {result.reason}" for result in results]
    lines += [f"WARN {result.title}: {text}" for result in results for text in result.warnings]
    lines += [f"Passed: {count(results, 'passed')}", f"Failed: {count(results, 'failed')}"]
    for outcome in ("skipped", "inconclusive"):
        if count(results, outcome):
            lines.append(f"{outcome.capitalize()}: {count(results, outcome)}")
    ready = "READY" if verdict(results) == "passed" else "NOT READY"
    return [*lines, f"Pass rate: {pass_rate(results):g}%", f"{ready} FOR PRODUCTION"]


def blocking_results(results: Sequence[Result]) -> list[Result]:
    """Return the results that block the candidate."""
    return [result for result in results if result.outcome in ("failed", "inconclusive")]


def message(results: Sequence[Result]) -> str:
    """Return one line with the results that block the candidate."""
    if blocking_results(results):
        reasons = "; ".join(
            f"{one.title} {one.outcome} ({one.reason})" for one in blocking_results(results)
        )
        return f"The candidate is not ready: {reasons}."
    passed = count(results, "passed")
    if not passed:
        return "The candidate is not ready: no check was run."
    return (
        f"The candidate passed {passed} of {passed} checks, {len(results) - passed} were skipped."
    )


def as_dict(results: Sequence[Result]) -> dict[str, Any]:
    """Return the result of the module."""
    return {
        "verdict": verdict(results),
        "passed": count(results, "passed"),
        "failed_checks": count(results, "failed"),
        "skipped_checks": count(results, "skipped"),
        "inconclusive_checks": count(results, "inconclusive"),
        "pass_rate": pass_rate(results),
        "results": [asdict(result) for result in results],
        "summary": summary(results),
        "msg": message(results),
    }


def secret_headers(settings: Settings, secrets: Callable[[Any], set[str]]) -> set[str]:
    """Return the values of credentials among the checks' settings."""
    endpoints = (settings["api"] or {}).get("endpoints") or []
    return {value for endpoint in endpoints for value in secrets(endpoint["headers"])}
