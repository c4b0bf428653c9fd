# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts of the documentation that the benches write."""

from __future__ import annotations

import page


def test_what_looks_like_the_border_of_a_cell_is_none():
    """Tasks are named like this."""
    assert page.table(["task", "ms"], [["build | Build", "5"]]) == [
        "| task | ms |",
        "| --- | --- |",
        r"| build \| Build | 5 |",
    ]
