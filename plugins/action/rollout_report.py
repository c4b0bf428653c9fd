# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write the report of a rollout on the controller. Documented in plugins/modules/rollout_report.py."""

from __future__ import annotations

import os
import time
from typing import Any

from ansible.plugins.action import ActionBase

from ..module_utils import _timing
from ..plugin_utils import _files, _variables
from ..plugin_utils._report import rollout
from ..plugin_utils._report import timeline as report_timeline


class ActionModule(ActionBase):  # type: ignore[misc]
    """Runs only on the controller, without a connection to a host."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True
    _VALID_ARGS = frozenset({"dest", "app", "release", "verdicts", "registered"})

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        _validation, args = self.validate_argument_spec(
            {
                "dest": {"type": "str", "required": True},
                "app": {"type": "str", "required": True},
                "release": {"type": "str", "required": True},
                "verdicts": {"type": "dict", "required": True},
                "registered": {"type": "dict", "default": {}},
            }
        )
        folder = _variables.path_resolver(task_vars or {}, self._loader.get_basedir())(args["dest"])
        now = _timing.iso(time.time())
        trials = list(rollout.trials(args["verdicts"]))
        hostvars = (task_vars or {}).get("hostvars", {})
        steps = {
            host: {step: hostvars[host].get(name) for step, name in args["registered"].items()}
            for host in args["verdicts"]
        }
        timeline = report_timeline.rows(steps)
        run = rollout.RolloutReport(args["app"], args["release"], now, trials, timeline)
        result.update(changed=bool(trials), verdict=run.verdict)
        result["files"] = [os.path.join(folder, name) for name in rollout.FILES] if trials else []
        if trials and not self._task.check_mode:
            files = {name: make(run) for name, make in rollout.FILES.items()}
            _files.write("rollout_report_path", folder, files)
        return result
