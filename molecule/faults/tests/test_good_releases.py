# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""No good release is refused, one after the other, while another process loads the machine.

Fifty of them, in C(make test-long).
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

RELEASES = 50 if os.environ.get("LONG") else 0


@pytest.fixture
def busy_machine():
    """Another process takes all it can get of a core."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as process:
        yield
        process.kill()


@pytest.mark.skipif(RELEASES == 0, reason="takes long: make test-long")
def test_no_good_release_is_refused_while_the_machine_is_loaded(fleet, busy_machine):
    refused = []
    with fleet.users() as users:
        for number in range(RELEASES):
            fleet.lay_out("v1")
            (fleet.folder / "storefront" / "NOTES").write_text(f"{number}\n")
            play = fleet.play("rollout")
            if play.status != 0:
                refused.append((number, play.said[-2000:]))
    assert refused == []
    assert users.summary.failed == 0
    # The release that served at first, and each later one.
    assert len(users.summary.releases) == 1 + RELEASES
