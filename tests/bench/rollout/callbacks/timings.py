# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write a line of JSON for each task on each host: the times of its start and its end."""

from __future__ import annotations

import json
import os
import time
from typing import Any

from ansible.plugins.callback import CallbackBase


class CallbackModule(CallbackBase):  # type: ignore[misc]
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "timings"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.begun: dict[tuple[str, str], float] = {}

    def v2_runner_on_start(self, host: Any, task: Any) -> None:
        self.begun[host.name, task._uuid] = time.time()

    def v2_runner_on_ok(self, result: Any) -> None:
        self.write(result, "ok")

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        self.write(result, "failed")

    def v2_runner_on_unreachable(self, result: Any) -> None:
        self.write(result, "unreachable")

    def v2_runner_on_skipped(self, result: Any) -> None:
        self.write(result, "skipped")

    def write(self, result: Any, outcome: str) -> None:
        host, task, now = result._host.name, result._task, time.time()
        line = {
            "task": task.get_name().strip(),
            "action": task.action,
            "host": host,
            "outcome": outcome,
            "begun": self.begun.get((host, task._uuid), now),
            "ended": now,
        }
        with open(os.environ["TIMINGS"], "a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")
