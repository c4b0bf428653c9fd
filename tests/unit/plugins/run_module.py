# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a module in this process, as Ansible would, and return its result."""

from __future__ import annotations

import contextlib
import io
import json
from typing import Any

from ansible.module_utils.testing import patch_module_args


def run_module(module: Any, check_mode: bool = False, **params: Any) -> dict[str, Any]:
    """Run C(module), a Python module with a C(main), with C(params) and return its result."""
    output = io.StringIO()
    arguments = {**params, "_ansible_check_mode": check_mode}
    with (
        patch_module_args(arguments),
        contextlib.redirect_stdout(output),
        contextlib.suppress(SystemExit),
    ):
        module.main()
    answer: dict[str, Any] = json.loads(output.getvalue())
    return answer
