# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Store a profile, and compare it with an earlier one. Documented in plugins/modules/profile_report.py."""

from __future__ import annotations

import os
import time
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ..module_utils import _timing
from ..plugin_utils import _files, _variables
from ..plugin_utils._report import profile


class ActionModule(ActionBase):  # type: ignore[misc]
    """Runs only on the controller, without a connection to a host."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True
    _VALID_ARGS = frozenset({"dest", "app", "profiles", "compare"})

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        _validation, args = self.validate_argument_spec(
            {
                "dest": {"type": "str", "default": ""},
                "app": {"type": "str", "required": True},
                "profiles": {"type": "dict", "required": True},
                "compare": {"type": "str", "default": ""},
            }
        )
        find = _variables.path_resolver(task_vars or {}, self._loader.get_basedir())
        before, before_at = self._earlier(find(args["compare"])) if args["compare"] else ({}, "")
        hosts = profile.measured_hosts(args["profiles"])
        now = _timing.iso(time.time())
        is_written = bool(hosts and args["dest"])
        folder = find(args["dest"])
        result.update(changed=is_written, hosts=hosts, before=before)
        result["files"] = (
            [os.path.join(folder, name) for name in profile.FILES] if is_written else []
        )
        if is_written and not self._task.check_mode:
            run = profile.ProfileReport(args["app"], now, hosts, before, before_at)
            files = {name: make(run) for name, make in profile.FILES.items()}
            _files.write("profile_report_path", folder, files)
        return result

    def _earlier(self, path: str) -> tuple[dict[str, dict[str, Any]], str]:
        try:
            with open(path, encoding="utf-8") as stream:
                return profile.read(stream.read())
        except OSError as error:
            raise AnsibleActionFail(
                f"profile_compare: {path} cannot be read: {error.strerror}. Name a profile.json."
            ) from error
        except (profile.InvalidProfile, UnicodeError) as error:
            raise AnsibleActionFail(f"profile_compare: {path} {error}.") from error
