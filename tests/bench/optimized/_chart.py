# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bars whose lengths are logarithms, as SVG: what differs a thousandfold stays readable."""

from __future__ import annotations

import math
from collections.abc import Mapping
from html import escape

COLOURS = ("#b4552d", "#d9a441", "#2f6f5e", "#9aa5a0")
LEFT, WIDTH, BAR, GAP, HEAD = 230, 560, 9, 11, 64
# The right of the scale has room for the number at the longest bar.
RIGHT = 60


def bars(title: str, unit: str, rows: Mapping[str, Mapping[str, float]]) -> str:
    """A group of bars for each row, and one of them for each of its values."""
    values = [value for row in rows.values() for value in row.values()]
    low = math.floor(math.log10(min(values)))
    high = max(low + 1, math.ceil(math.log10(max(values))))

    def place(value: float) -> float:
        return LEFT + WIDTH * (math.log10(value) - low) / (high - low)

    names = list(dict.fromkeys(name for row in rows.values() for name in row))
    colours = {name: COLOURS[number % len(COLOURS)] for number, name in enumerate(names)}
    bottom = HEAD + sum(BAR * len(row) + GAP for row in rows.values())
    lines = [
        f'<text x="12" y="20" font-size="14" font-weight="bold">{escape(title)}</text>',
        *(
            f'<rect x="{LEFT + 130 * number}" y="31" width="10" height="10" fill="{colours[name]}"/>'
            f'<text x="{LEFT + 130 * number + 15}" y="40">{escape(name)}</text>'
            for number, name in enumerate(names)
        ),
        *(
            f'<path d="M{place(10**power):.1f} {HEAD - 8}V{bottom}" stroke="#ddd"/>'
            f'<text x="{place(10**power):.1f}" y="{bottom + 14}" text-anchor="middle">'
            f"{10.0**power:g} {escape(unit)}</text>"
            for power in range(low, high + 1)
        ),
    ]
    y = HEAD
    for label, row in rows.items():
        middle = y + BAR * len(row) / 2 + 4
        lines.append(
            f'<text x="{LEFT - 8}" y="{middle:g}" text-anchor="end">{escape(label)}</text>'
        )
        for name, value in row.items():
            end = place(value)
            lines.append(
                f'<rect x="{LEFT}" y="{y}" width="{end - LEFT:.1f}" height="{BAR - 1}" fill="{colours[name]}"/>'
                f'<text x="{end + 4:.1f}" y="{y + BAR - 1}" font-size="9">{value:.3g}</text>'
            )
            y += BAR
        y += GAP
    width, height = LEFT + WIDTH + RIGHT, bottom + 26
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            f'width="{width}" height="{height}" font-family="sans-serif" font-size="11" fill="#222">',
            f'<rect width="{width}" height="{height}" fill="#fff"/>',
            *lines,
            "</svg>",
            "",
        ]
    )
