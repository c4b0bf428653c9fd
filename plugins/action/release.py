# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Upload missing archives, and pass the run's identity. Documented in plugins/modules/release.py."""

from __future__ import annotations

import os
import shlex
from typing import Any

from ansible.plugins.action import ActionBase

from ..module_utils._printable import printable_all
from ..plugin_utils import _identity


class ActionModule(ActionBase):  # type: ignore[misc]
    """Returns the result of the module."""

    # An upload creates the temporary directory; with True each task would create one.
    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        args = {**_identity.identity(task_vars or {}), **self._task.args}
        try:
            output = self._attempt(args, task_vars)
            # Once per archive: a file of the same name from another controller is replaced.
            for _archive in range(2):
                if not output.get("replaced"):
                    break
                self._remove_tmp_path(self._connection._shell.tmpdir)
                output = self._attempt(args, task_vars)
            result.update(printable_all(output))
        finally:
            self._remove_tmp_path(self._connection._shell.tmpdir)
        return result

    def _attempt(self, args: dict[str, Any], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        if args.get("state") == "staged" and not self._task.check_mode:
            args["uploads"] = self._upload(args)
        output: dict[str, Any] = self._execute_module(module_args=args, task_vars=task_vars)
        return output

    def _upload(self, args: dict[str, Any]) -> str | None:
        """Upload the archives that the host lacks, and return the folder on it with them."""
        stored = os.path.join(args.get("root") or "/srv", str(args.get("name")), "archives")
        named = [str(args[name]) for name in ("archive", "wheels") if args.get(name)]
        places = [os.path.join(stored, os.path.basename(path)) for path in named]
        looked = self._low_level_execute_command(
            "; ".join(
                f"test -e {shlex.quote(place)} && echo kept || echo lacking" for place in places
            ),
            sudoable=False,
        )
        words = looked["stdout"].split()
        lacking = [path for path, word in zip(named, words) if word == "lacking"]
        if not lacking:
            return None
        folder = str(self._make_tmp_path())
        copies = [
            self._connection._shell.join_path(folder, os.path.basename(path)) for path in lacking
        ]
        for path, copy in zip(lacking, copies):
            self._transfer_file(path, copy)
        self._fixup_perms2((folder, *copies))
        return folder
