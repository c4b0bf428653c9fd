# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pass the identity of this run to the module. Documented in plugins/modules/rollout_lock.py."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase

from ..module_utils._printable import printable_all
from ..plugin_utils import _identity


class ActionModule(ActionBase):  # type: ignore[misc]
    """Returns the result of the module, and takes over the lock of a run that died on this controller."""

    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        args = {**_identity.identity(task_vars or {}), **self._task.args}
        output = printable_all(self._execute_module(module_args=args, task_vars=task_vars))
        holder = output.get("holder")
        if output.get("failed") and holder and _identity.is_gone(holder["run"]):
            args["gone"] = holder["run"]
            output = printable_all(self._execute_module(module_args=args, task_vars=task_vars))
        result.update(output)
        return result
