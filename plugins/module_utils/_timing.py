# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure the start and the duration of a module, in the form that all modules return."""

from __future__ import annotations

import datetime
import time


def iso(seconds: float) -> str:
    """Format seconds since 1970 as ISO 8601 in UTC."""
    moment = datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)
    return moment.isoformat(timespec="seconds")


class Timing:
    """A stopwatch that starts when it is created."""

    def __init__(self) -> None:
        self._began = time.time()
        self._begun = time.monotonic()

    def as_dict(self) -> dict[str, float]:
        elapsed = time.monotonic() - self._begun
        return {"began": round(self._began, 2), "elapsed": round(elapsed, 2)}
