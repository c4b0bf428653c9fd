# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check that concurrent requests all succeed, and that each gets its own response."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from ..._errors import HttpError
from ..._http.client import Response, open_exchange
from ..check import CheckContext, Failed, Passed, Settings

TITLE = "Concurrent Connections"
SPEC: dict[str, Any] = {
    "path": {"type": "str"},
    "connections": {"type": "int", "default": 10},
}
MAX_CONNECTIONS = 200
T = TypeVar("T")


def run(trial: CheckContext, settings: Settings) -> Passed:
    """Open all connections before the first request, so that the requests are concurrent."""
    site = trial.candidate
    paths = list(dict.fromkeys((settings["path"] or trial.main_path, trial.health_path)))
    alone = {path: site.fetch(path) for path in paths}
    count = min(max(settings["connections"], 1), MAX_CONNECTIONS)
    asked = [paths[index % len(paths)] for index in range(count)]
    ids = [f"evenkeel-gate-{uuid.uuid4()}" for _one in asked]
    requests = [site.request(p, headers={"X-Request-ID": i}) for p, i in zip(asked, ids)]
    with ThreadPoolExecutor(max_workers=count) as pool:
        opened = list(
            pool.map(lambda one: attempt(lambda: open_exchange(one, site.clock)), requests)
        )
        answers = list(
            pool.map(lambda one: one if isinstance(one, HttpError) else attempt(one.fetch), opened)
        )
    problems = [
        problem
        for path, own, answer in zip(asked, ids, answers)
        for problem in [compare(answer, path, alone, own, ids)]
        if problem
    ]
    if problems:
        reasons = "; ".join(dict.fromkeys(problems))
        raise Failed(f"{count - len(problems)} of {count} at once were served: {reasons}")
    slowest = max(answer.elapsed_ms for answer in answers if isinstance(answer, Response))
    return Passed(f"{count} of {count} at once, the slowest in {slowest:.0f} ms")


def attempt(act: Callable[[], T]) -> T | HttpError:
    try:
        return act()
    except HttpError as error:
        return error


def compare(
    answer: Response | HttpError, path: str, alone: dict[str, Response], own: str, ids: list[str]
) -> str | None:
    """Compare a concurrent response with the response to the same request alone."""
    if isinstance(answer, HttpError):
        return str(answer)
    if answer.status != alone[path].status:
        return f"{path} answered {answer.status}, alone {alone[path].status}"
    request_id = answer.headers.get("X-Request-ID")
    others = [page.body for name, page in alone.items() if name != path]
    foreign = answer.body in others and answer.body != alone[path].body
    if foreign or (request_id in ids and request_id != own):
        return f"{path} got an answer that belongs to another request"
    return None
