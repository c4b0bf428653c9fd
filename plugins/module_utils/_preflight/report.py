# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The findings of preflight on a host: problems, warnings and facts."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from .._errors import PreflightError, PreflightWarning


@dataclass
class Report:
    """All findings of a run, so that the user can fix them together."""

    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    @contextlib.contextmanager
    def about(self, variable: str) -> Iterator[None]:
        """Record an error of the block under the variable that can fix it."""
        try:
            yield
        except PreflightError as problem:
            self.problems.append(f"{variable}: {problem}")
        except PreflightWarning as doubt:
            self.warnings.append(f"{variable}: {doubt}")
