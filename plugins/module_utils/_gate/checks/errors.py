# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check that invalid requests get the right error status, and that errors disclose nothing."""

from __future__ import annotations

from typing import Any

from ..._errors import HttpError
from ..._http.expect import Expected
from ..check import SAFE_METHODS, CheckContext, Failed, Passed, Settings, expect
from ..disclosure import leak

TITLE = "Error Handling"
SPEC: dict[str, Any] = {
    "not_found_path": {"type": "str", "default": "/evenkeel-no-such-page"},
    "status": {"type": "list", "elements": "int", "default": [404]},
    "bad_body": {
        "type": "dict",
        "options": {
            "path": {"type": "str", "required": True},
            "method": {"type": "str", "default": "POST"},
            "body": {"type": "str", "default": "{"},
            "content_type": {"type": "str", "default": "application/json"},
            "status": {"type": "list", "elements": "int", "default": [400, 415, 422]},
        },
    },
    "wrong_method": {
        "type": "dict",
        "options": {
            "path": {"type": "str", "required": True},
            "method": {"type": "str", "default": "DELETE"},
            "status": {"type": "list", "elements": "int", "default": [405]},
        },
    },
}


def run(trial: CheckContext, settings: Settings) -> Passed:
    asked = {"unknown path": {"path": settings["not_found_path"], "status": settings["status"]}}
    asked.update(
        {
            name: settings[key]
            for name, key in (("bad body", "bad_body"), ("wrong method", "wrong_method"))
            if settings[key]
        }
    )
    left_out = [
        name
        for name, one in asked.items()
        if not trial.may_write and one.get("method", "GET") not in SAFE_METHODS
    ]
    asked = {name: one for name, one in asked.items() if name not in left_out}
    problems = [
        f"{name}: {problem}"
        for name, one in asked.items()
        for problem in [check_request(trial, one)]
        if problem
    ]
    if has_debugger(trial, settings["not_found_path"]):
        problems.append("Werkzeug's debugger answers, with which visitors run code on the host")
    if problems:
        raise Failed("; ".join(problems))
    warnings = [f"check mode: {name} left out, it might write" for name in left_out]
    return Passed(f"{', '.join(asked)} answered in good order", tuple(warnings))


def has_debugger(trial: CheckContext, path: str) -> bool:
    """Return whether Werkzeug's debugger is active: it serves its script below any path."""
    answer = trial.candidate.fetch(f"{path}?__debugger__=yes&cmd=resource&f=debugger.js")
    return answer.status == 200 and "javascript" in (answer.headers.get("Content-Type") or "")


def check_request(trial: CheckContext, one: Settings) -> str | None:
    headers = {"Content-Type": one["content_type"]} if "content_type" in one else {}
    body = one["body"].encode() if "body" in one else None
    try:
        answer = trial.candidate.fetch(one["path"], one.get("method", "GET"), headers, body)
        expect(answer, Expected(status=one["status"]))
    except (HttpError, Failed) as error:
        return str(error)
    shown = leak(answer)
    return f"the answer shows {shown}" if shown else None
