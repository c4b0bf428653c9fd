# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ranks decide: right about what is slower, untouched by outliers."""

from __future__ import annotations

import itertools
import random

import pytest
from ansible_collections.evenkeel.flask.plugins.module_utils import _statistics
from hypothesis import given
from hypothesis import strategies as st


def latencies(seed, scale, n=60):
    """Times as servers have them: skewed, now and then a stall."""
    rng = random.Random(seed)
    return [
        scale * rng.lognormvariate(0, 0.2) * (10 if rng.random() < 0.03 else 1)
        for _turn in range(n)
    ]


@pytest.mark.parametrize(
    ("samples", "percent", "value"),
    [
        ([5], 95, 5),
        ([3, 1, 2], 50, 2),
        (range(1, 101), 95, 95),
        (range(1, 21), 95, 19),
        ([1, 2], 0, 1),
    ],
)
def test_percentile_is_a_sample(samples, percent, value):
    assert _statistics.percentile(list(samples), percent) == value


def test_p_value_agrees_with_counting_every_arrangement():
    left, right = [1.8, 0.5, 1.6, 2.5, 1.7, 3.1], [0.9, 0.6, 0.61, 2.1, 1.1, 1.3]

    def u(ranked_left, ranked_right):
        return sum(one > other for one in ranked_left for other in ranked_right)

    everything = left + right
    splits = list(itertools.combinations(range(12), 6))
    as_extreme = 0
    for split in splits:
        chosen = [everything[i] for i in split]
        others = [everything[i] for i in range(12) if i not in split]
        as_extreme += u(chosen, others) >= u(left, right)
    exact = as_extreme / len(splits)
    assert _statistics.mann_whitney_p(left, right) == pytest.approx(exact, abs=0.01)


@given(
    st.lists(st.integers(0, 50), min_size=2, max_size=40),
    st.lists(st.integers(0, 50), min_size=2, max_size=40),
)
def test_p_values_of_both_sides_cover_everything(one, other):
    p, q = _statistics.mann_whitney_p(one, other), _statistics.mann_whitney_p(other, one)
    assert 0 <= p <= 1
    assert p + q >= 1 - 1e-9


def test_equal_samples_say_nothing_is_greater():
    assert _statistics.mann_whitney_p([1.0] * 20, [1.0] * 20) == 1.0


def test_slowdown_is_the_ratio_that_was_put_in():
    assert _statistics.slowdown(latencies(1, 10), latencies(1, 15)) == pytest.approx(1.5, rel=0.02)


def test_too_few_samples_are_not_clear():
    assert _statistics.is_slower([1.0] * 9, [9.0] * 9, 1.25) is None


@pytest.mark.parametrize(
    ("injected", "slower"), [(1.0, False), (0.5, False), (1.5, True), (2.0, True)]
)
def test_two_hundred_decisions_are_right(injected, slower):
    decisions = [
        _statistics.is_slower(
            latencies(seed, 10, 150), latencies(seed + 1000, 10 * injected, 150), 1.25
        )
        for seed in range(200)
    ]
    assert decisions.count(slower) >= 199
    assert decisions.count(not slower) == 0


def test_at_the_limit_it_is_not_clear():
    assert _statistics.is_slower(latencies(1, 10), latencies(2, 12.5), 1.25) is None


def test_a_small_shift_is_allowed_however_clear():
    live, candidate = latencies(1, 1), [value + 0.4 for value in latencies(1, 1)]
    assert _statistics.is_slower(live, candidate, 1.25)
    assert _statistics.is_slower(live, candidate, 1.25, tolerance=1.0) is False
