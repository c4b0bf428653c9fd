# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check that the health endpoint is healthy several times in a row."""

from __future__ import annotations

from typing import Any

from ..._http.expect import Expected
from ..check import CheckContext, Failed, Passed, Settings, expect

TITLE = "Health Check Endpoint"
SPEC: dict[str, Any] = {
    "path": {"type": "str"},
    "status": {"type": "list", "elements": "int", "default": [200]},
    "json": {"type": "dict"},
    "successes": {"type": "int", "default": 3},
}


def run(trial: CheckContext, settings: Settings) -> Passed:
    path = settings["path"] or trial.health_path
    expected = Expected(status=settings["status"], json=settings["json"] or {})
    times = max(settings["successes"], 1)
    for turn in range(1, times + 1):
        answer = trial.candidate.fetch(path)
        expect(answer, expected, f"answer {turn} of {times}")
        answered = answer.headers.get("X-Release")
        if trial.release and answered and answered != trial.release:
            raise Failed(
                f"release {answered} answers instead of {trial.release}; another app has this port of nginx "
                "(flask_app_port, nginx_candidate_port)"
            )
    nonsense = trial.candidate.fetch(path.rstrip("/") + "/evenkeel-no-such-page")
    warnings = []
    if nonsense.status == answer.status and nonsense.body == answer.body:
        warnings.append(f"{path} answers like any path below it; it may say yes whatever happens")
    if answer.headers.get("Age"):
        warnings.append(f"{path} came from a cache, which tells nothing of the app's health")
    return Passed(f"healthy {times} times in a row", tuple(warnings))
