# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write the tasks of a run to a file, and kill the run at the task that a test sets."""

from __future__ import annotations

import os
import signal
from typing import Any

from ansible.plugins.callback import CallbackBase


class CallbackModule(CallbackBase):  # type: ignore[misc]
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "boundaries"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.begun = 0

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        self.begun += 1
        with open(os.environ["BOUNDARIES"], "a", encoding="utf-8") as stream:
            stream.write(f"{task.get_name()}\n")
        if self.begun == int(os.environ.get("KILL_AT", "0")):
            # The test made the run the leader of its group.
            os.killpg(os.getpgid(0), signal.SIGKILL)
