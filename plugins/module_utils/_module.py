# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The base of the collection's modules: results that are safe to show.

A result quotes logs, responses and errors of apps and visitors. Ansible displays it unchanged.
"""

from __future__ import annotations

from typing import Any, NoReturn

from ansible.module_utils import basic
from ansible.module_utils.common.parameters import remove_values

from ._printable import printable, printable_all


class AnsibleModule(basic.AnsibleModule):  # type: ignore[misc]
    """Ansible's own module class, with printable results and warnings."""

    def exit_json(self, **kwargs: Any) -> NoReturn:
        super().exit_json(**self._presentable(kwargs))
        raise AssertionError("exit_json() returned")

    def fail_json(self, msg: str, **kwargs: Any) -> NoReturn:
        super().fail_json(**self._presentable({**kwargs, "msg": str(msg)}))
        raise AssertionError("fail_json() returned")

    def _presentable(self, result: dict[str, Any]) -> dict[str, Any]:
        """Mask secrets before any text is changed or cut, because they are not recognized afterwards."""
        masked = remove_values(result, self.no_log_values)
        # As Ansible does: a secret with the text V(True) changes no flag.
        flags = {
            name: value
            for name, value in result.items()
            if value is None or isinstance(value, bool)
        }
        return {**printable_all(masked), **flags}

    def warn(self, warning: str, **kwargs: Any) -> None:
        super().warn(printable(warning), **kwargs)
