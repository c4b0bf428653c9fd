# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Report files on the controller."""

from __future__ import annotations

import os
from collections.abc import Mapping

from ansible.errors import AnsibleActionFail


def write(variable: str, folder: str, files: Mapping[str, str]) -> None:
    """Write each file atomically.

    @param variable: the variable that names the folder; error messages show it
    """
    try:
        os.makedirs(folder, exist_ok=True)
        for name, text in files.items():
            partial = os.path.join(folder, f".{name}.{os.getpid()}")
            with open(partial, "w", encoding="utf-8", errors="backslashreplace") as stream:
                stream.write(text)
            os.replace(partial, os.path.join(folder, name))
    except OSError as error:
        raise AnsibleActionFail(
            f"{variable}: {folder} cannot be written: {error.strerror}. Name another folder."
        ) from error
