# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lay out tables for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from ..module_utils._printable import columns, pad, printable_line

# A longer cell is not readable in a table. In characters.
MAX_CELL = 400


def lay_out(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table. Each column is as wide as its widest cell."""
    shown = [[printable_line(cell, MAX_CELL) for cell in row] for row in rows]
    widths = [max(map(columns, column)) for column in zip(*shown)]
    return ["  ".join(map(pad, row, widths)).rstrip() for row in shown]
