# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The base of the collection's modules: a result that is safe to show.

A result quotes logs, answers and errors of apps and visitors. Ansible displays it as it is.
"""

from __future__ import annotations

from typing import Any, NoReturn

from ansible.module_utils import basic
from ansible.module_utils.common.parameters import remove_values

from ._printable import printable, printable_all


class AnsibleModule(basic.AnsibleModule):  # type: ignore[misc]
    """Ansible's own, whose results and warnings are printable."""

    def exit_json(self, **kwargs: Any) -> NoReturn:
        super().exit_json(**self._presentable(kwargs))
        raise AssertionError("exit_json() returned")

    def fail_json(self, msg: str, **kwargs: Any) -> NoReturn:
        super().fail_json(**self._presentable({**kwargs, "msg": str(msg)}))
        raise AssertionError("fail_json() returned")

    def _presentable(self, result: dict[str, Any]) -> dict[str, Any]:
        """Mask what is secret before any text is changed or cut, as it is not recognised afterwards."""
        masked = remove_values(result, self.no_log_values)
        # As Ansible does: a secret that reads V(True) changes no flag.
        flags = {
            name: value
            for name, value in result.items()
            if value is None or isinstance(value, bool)
        }
        return {**printable_all(masked), **flags}

    def warn(self, warning: str, **kwargs: Any) -> None:
        super().warn(printable(warning), **kwargs)
