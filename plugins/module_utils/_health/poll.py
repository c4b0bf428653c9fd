# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Poll endpoints until they are healthy. Pure, except for the functions that are passed in."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from .._errors import HttpError
from .._http import expect
from .._http.client import Clock, Deadline, Request, Response

Ask = Callable[[Request], Response]
Sleep = Callable[[float], None]


@dataclass(frozen=True)
class Endpoint:
    """A request and the expected response."""

    name: str
    request: Request
    expected: expect.Expected


@dataclass(frozen=True)
class Policy:
    """The number and the timing of the requests to an endpoint."""

    attempts: int = 1
    interval: float = 1.0
    successes: int = 1


@dataclass(frozen=True)
class Result:
    """The result of an endpoint."""

    name: str
    url: str
    healthy: bool
    status: int | None
    reason: str
    elapsed_ms: float | None
    attempts: int


def check(
    endpoint: Endpoint,
    policy: Policy,
    ask: Ask,
    sleep: Sleep = time.sleep,
    deadline: Deadline | None = None,
    now: Clock = time.time,
) -> Result:
    """Send requests until enough successive ones are healthy, or the policy allows no more."""
    in_a_row = healthy = asked = 0
    reason = "not asked"
    status: int | None = None
    elapsed: float | None = None

    def result(verdict: bool, why: str) -> Result:
        url = endpoint.request.url.shown()
        return Result(endpoint.name, url, verdict, status, why, elapsed, asked)

    while asked < policy.attempts:
        if deadline and deadline.over:
            return result(False, f"{reason}, when the deadline of {deadline.seconds:g} s was over")
        asked += 1
        status, elapsed, problem = _try(endpoint, ask, deadline, now)
        healthy += problem is None
        in_a_row = 0 if problem else in_a_row + 1
        if in_a_row >= policy.successes:
            return result(True, "healthy")
        reason = problem or f"healthy {in_a_row} times in a row, wanted {policy.successes}"
        if policy.attempts - asked < policy.successes - in_a_row:
            break
        sleep(max(0.0, min(policy.interval, deadline.left)) if deadline else policy.interval)
    if healthy:
        reason = f"healthy {healthy} of {asked} times, never {policy.successes} in a row; {reason}"
    return result(False, reason)


def _try(
    endpoint: Endpoint, ask: Ask, deadline: Deadline | None, now: Clock
) -> tuple[int | None, float | None, str | None]:
    request = endpoint.request
    if deadline:
        request = replace(request, timeout=max(0.001, min(request.timeout, deadline.left)))
    try:
        response = ask(request)
    except HttpError as error:
        return None, None, str(error)
    return (
        response.status,
        round(response.elapsed_ms, 1),
        expect.evaluate(response, endpoint.expected, now()),
    )


def check_all(
    endpoints: Sequence[Endpoint],
    policy: Policy,
    ask: Ask,
    concurrency: int = 8,
    deadline: Deadline | None = None,
    sleep: Sleep = time.sleep,
) -> list[Result]:
    """Check all endpoints, C(concurrency) at once; results have the order of the endpoints."""
    with ThreadPoolExecutor(max_workers=min(concurrency, len(endpoints))) as pool:
        return list(pool.map(lambda one: check(one, policy, ask, sleep, deadline), endpoints))


def message(results: Sequence[Result]) -> str:
    """Return one line with the unhealthy endpoints and the reasons."""
    bad = [f"{result.name}: {result.reason}" for result in results if not result.healthy]
    if bad:
        return f"{len(bad)} of {len(results)} endpoints are not healthy: {'; '.join(bad)}."
    return f"All endpoints are healthy ({len(results)})."
