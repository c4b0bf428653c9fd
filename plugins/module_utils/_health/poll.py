# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Is an answer what was wanted, and does an endpoint stay healthy? Pure but for what is passed in.

This file is private to the collection.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

from .._errors import HttpError
from .._http import json_shape
from .._http.client import Clock, Deadline, Request, Response

DAY = 86400
Ask = Callable[[Request], Response]
Sleep = Callable[[float], None]


@dataclass(frozen=True)
class Wanted:
    """What a healthy answer is."""

    status: Sequence[int] = (200,)
    contains: str | None = None
    matches: str | None = None
    json: Mapping[str, Any] = field(default_factory=dict)
    response_headers: Mapping[str, str] = field(default_factory=dict)
    max_ms: float | None = None
    min_certificate_days: float | None = None


@dataclass(frozen=True)
class Endpoint:
    """A question and the answer that is wanted."""

    name: str
    request: Request
    wanted: Wanted


@dataclass(frozen=True)
class Policy:
    """How often and how stubbornly an endpoint is asked."""

    attempts: int = 1
    interval: float = 1.0
    successes: int = 1


@dataclass(frozen=True)
class Result:
    """What came of an endpoint."""

    name: str
    url: str
    healthy: bool
    status: int | None
    reason: str
    elapsed_ms: float | None
    attempts: int


def judge(response: Response, wanted: Wanted, now: float) -> str | None:
    """Say what is wrong with an answer, or V(None) when it is what was wanted."""
    if response.status not in wanted.status:
        codes = " or ".join(map(str, wanted.status))
        return f"{response.status}{_whither(response)}, wanted {codes}"
    return (
        _judge_headers(response, wanted)
        or _judge_body(response, wanted)
        or _judge_time(response, wanted)
        or _judge_certificate(response, wanted, now)
    )


def _whither(response: Response) -> str:
    location = response.headers.get("Location")
    return f" to {location.partition('?')[0][:80]!r}" if location else ""


def _judge_headers(response: Response, wanted: Wanted) -> str | None:
    for name, value in wanted.response_headers.items():
        found = response.headers.get(name)
        if found is None:
            return f"header {name} is missing, wanted {value!r}"
        if found != value:
            return f"header {name} is not {value!r}"
    return None


def _judge_body(response: Response, wanted: Wanted) -> str | None:
    body = "the first MiB of the body" if response.truncated else "body"
    if wanted.contains is not None and wanted.contains not in response.text():
        return f"{body} does not contain {wanted.contains!r}"
    if wanted.matches is not None and not re.search(wanted.matches, response.text()):
        return f"{body} does not match {wanted.matches!r}"
    if not wanted.json:
        return None
    if response.truncated:
        return "body is larger than 1 MiB, too large to be read as JSON"
    try:
        return json_shape.mismatch(json_shape.parse(response.body), wanted.json)
    except ValueError:
        return "body is no JSON"


def _judge_time(response: Response, wanted: Wanted) -> str | None:
    if wanted.max_ms is None or response.elapsed_ms <= wanted.max_ms:
        return None
    return f"took {response.elapsed_ms:.0f} ms, wanted at most {wanted.max_ms:g} ms"


def _judge_certificate(response: Response, wanted: Wanted, now: float) -> str | None:
    if wanted.min_certificate_days is None or response.certificate_end is None:
        return None
    days = (response.certificate_end - now) / DAY
    if days >= wanted.min_certificate_days:
        return None
    return f"certificate expires in {days:.0f} days, wanted {wanted.min_certificate_days:g}"


def check(
    endpoint: Endpoint,
    policy: Policy,
    ask: Ask,
    sleep: Sleep = time.sleep,
    deadline: Deadline | None = None,
    now: Clock = time.time,
) -> Result:
    """Ask until the endpoint was healthy often enough in a row, or may not be asked any more."""
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
    return response.status, round(response.elapsed_ms, 1), judge(response, endpoint.wanted, now())


def check_all(
    endpoints: Sequence[Endpoint],
    policy: Policy,
    ask: Ask,
    concurrency: int = 8,
    deadline: Deadline | None = None,
    sleep: Sleep = time.sleep,
) -> list[Result]:
    """Check all endpoints, C(concurrency) at once; results come in the endpoints' order."""
    with ThreadPoolExecutor(max_workers=min(concurrency, len(endpoints))) as pool:
        return list(pool.map(lambda one: check(one, policy, ask, sleep, deadline), endpoints))


def message(results: Sequence[Result]) -> str:
    """One line that names what is not healthy and why."""
    bad = [f"{result.name}: {result.reason}" for result in results if not result.healthy]
    if bad:
        return f"{len(bad)} of {len(results)} endpoints are not healthy: {'; '.join(bad)}."
    return f"All endpoints are healthy ({len(results)})."
