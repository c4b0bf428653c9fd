# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check that the JSON endpoints of the settings respond with the expected shapes."""

from __future__ import annotations

from typing import Any

from ..._errors import HttpError
from ..._http import json_shape
from ..._http.expect import Expected
from ..._http.params import body_of
from ..check import SAFE_METHODS, CheckContext, Failed, Passed, Settings, Skipped, expect

TITLE = "API Health"
SPEC: dict[str, Any] = {
    "endpoints": {
        "type": "list",
        "elements": "dict",
        "options": {
            "path": {"type": "str", "required": True},
            "method": {"type": "str", "default": "GET"},
            "status": {"type": "list", "elements": "int", "default": [200]},
            "body_json": {"type": "raw"},
            "json": {"type": "dict"},
            "headers": {"type": "dict"},
        },
    },
}


def run(trial: CheckContext, settings: Settings) -> Passed:
    endpoints = settings["endpoints"] or []
    if not endpoints:
        raise Skipped("no endpoints are named (checks.api.endpoints)")
    warnings = []
    asked = [one for one in endpoints if trial.may_write or one["method"] in SAFE_METHODS]
    if not asked:
        raise Skipped("all endpoints may write, and this is check mode")
    if len(asked) < len(endpoints):
        warnings.append(
            f"check mode: {len(endpoints) - len(asked)} endpoints that may write left out"
        )
    problems = [problem for problem in (check_endpoint(trial, one) for one in asked) if problem]
    if problems:
        raise Failed("; ".join(problems))
    return Passed(f"{len(asked)} endpoints answer as wanted", tuple(warnings))


def check_endpoint(trial: CheckContext, endpoint: Settings) -> str | None:
    """Return the failure of an endpoint, or V(None)."""
    name = f"{endpoint['method']} {endpoint['path'].partition('?')[0]}"
    headers = {"Accept": "application/json"}
    headers.update({key: str(value) for key, value in (endpoint["headers"] or {}).items()})
    try:
        body = body_of(endpoint, headers)
        answer = trial.candidate.fetch(endpoint["path"], endpoint["method"], headers, body)
        expect(answer, Expected(status=endpoint["status"], json=endpoint["json"] or {}))
    except (HttpError, Failed) as error:
        return f"{name}: {error}"
    kind = answer.headers.get("Content-Type") or ""
    if endpoint["json"] and "json" not in kind:
        return f"{name}: JSON that calls itself {kind or 'nothing'}"
    if "json" in kind and answer.body and not answer.truncated:
        try:
            json_shape.parse(answer.body)
        except ValueError:
            return f"{name}: body is no JSON"
    return None
