# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When something was, and how long it took, as all modules say it."""

from __future__ import annotations

import datetime
import time


def iso(seconds: float) -> str:
    """A moment in seconds since 1970, as ISO 8601 in UTC."""
    moment = datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)
    return moment.isoformat(timespec="seconds")


class Timing:
    """Begins when it is made."""

    def __init__(self) -> None:
        self._began = time.time()
        self._begun = time.monotonic()

    def told(self) -> dict[str, float]:
        elapsed = time.monotonic() - self._begun
        return {"began": round(self._began, 2), "elapsed": round(elapsed, 2)}
