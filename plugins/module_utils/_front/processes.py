# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read the processes of nginx, and detect whether a reload is complete."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping

# Longer than the title of a worker. A process can have a title of megabytes.
TITLE_BYTES = 64


def is_reloaded(before: Mapping[int, int], after: Mapping[int, int]) -> bool:
    """Return whether a master has new workers, and none that accepts connections with its old configuration.

    @param before: the masters of the workers that accepted connections before
    @param after: the same for now
    """
    masters = {master for worker, master in after.items() if worker not in before}
    return bool(masters - {master for worker, master in after.items() if worker in before})


def workers() -> dict[int, int]:
    """Return the master of each worker of nginx that accepts connections; an ending one has another title."""
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        # A process that ends during the read is not a worker.
        with contextlib.suppress(OSError):
            with open(f"/proc/{pid}/cmdline", "rb") as stream:
                title = stream.read(TITLE_BYTES).rstrip(b"\0")
            if title == b"nginx: worker process":
                with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stream:
                    found[int(pid)] = int(stream.read().rpartition(")")[2].split()[1])
    return found
