# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compare a response with the expected one. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from . import json_shape
from .client import Response

DAY = 86400


@dataclass(frozen=True)
class Expected:
    """The properties of a healthy response."""

    status: Sequence[int] = (200,)
    contains: str | None = None
    matches: str | None = None
    json: Mapping[str, Any] = field(default_factory=dict)
    response_headers: Mapping[str, str] = field(default_factory=dict)
    max_ms: float | None = None
    min_certificate_days: float | None = None


def evaluate(response: Response, expected: Expected, now: float) -> str | None:
    """Return how a response differs from the expected one, or V(None)."""
    if response.status not in expected.status:
        codes = " or ".join(map(str, expected.status))
        return f"{response.status}{_whither(response)}, wanted {codes}"
    return (
        _evaluate_headers(response, expected)
        or _evaluate_body(response, expected)
        or _evaluate_time(response, expected)
        or _evaluate_certificate(response, expected, now)
    )


def _whither(response: Response) -> str:
    location = response.headers.get("Location")
    return f" to {location.partition('?')[0][:80]!r}" if location else ""


def _evaluate_headers(response: Response, expected: Expected) -> str | None:
    for name, value in expected.response_headers.items():
        found = response.headers.get(name)
        if found is None:
            return f"header {name} is missing, wanted {value!r}"
        if found != value:
            return f"header {name} is not {value!r}"
    return None


def _evaluate_body(response: Response, expected: Expected) -> str | None:
    body = "the first MiB of the body" if response.truncated else "body"
    if expected.contains is not None and expected.contains not in response.text():
        return f"{body} does not contain {expected.contains!r}"
    if expected.matches is not None and not re.search(expected.matches, response.text()):
        return f"{body} does not match {expected.matches!r}"
    if not expected.json:
        return None
    if response.truncated:
        return "body is larger than 1 MiB, too large to be read as JSON"
    try:
        return json_shape.mismatch(json_shape.parse(response.body), expected.json)
    except ValueError:
        return "body is no JSON"


def _evaluate_time(response: Response, expected: Expected) -> str | None:
    if expected.max_ms is None or response.elapsed_ms <= expected.max_ms:
        return None
    return f"took {response.elapsed_ms:.0f} ms, wanted at most {expected.max_ms:g} ms"


def _evaluate_certificate(response: Response, expected: Expected, now: float) -> str | None:
    if expected.min_certificate_days is None or response.certificate_end is None:
        return None
    days = (response.certificate_end - now) / DAY
    if days >= expected.min_certificate_days:
        return None
    return f"certificate expires in {days:.0f} days, wanted {expected.min_certificate_days:g}"
