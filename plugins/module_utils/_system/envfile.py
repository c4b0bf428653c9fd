# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Convert the environment of an app to a file for systemd, and back."""

from __future__ import annotations

import re
from collections.abc import Mapping

from .._errors import ArchiveError


def environment_file(environment: Mapping[str, str]) -> str:
    """Render variables for systemd (systemd.exec, EnvironmentFile=), which reads every value unchanged."""
    lines = []
    for name, value in sorted(environment.items()):
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise ArchiveError(
                f"{name!r} in flask_app_env or flask_app_secrets is no name for an environment "
                "variable: letters, digits and underscores only, not starting with a digit."
            )
        if "\0" in value:
            raise ArchiveError(f"The value of {name} holds a NUL byte, which no environment can.")
        escaped = re.sub(r'([\\"`$])', r"\\\1", value)
        lines.append(f'{name}="{escaped}"\n')
    return "".join(lines)


def read_environment(text: str) -> dict[str, str]:
    """Parse the output of C(environment_file)."""
    lines = re.finditer(r'^(\w+)="((?:[^"\\]|\\.)*)"$', text, re.MULTILINE | re.DOTALL)
    return {
        line.group(1): re.sub(r"\\(.)", r"\1", line.group(2), flags=re.DOTALL) for line in lines
    }
