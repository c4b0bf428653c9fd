# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The comparison, with a clock and latencies from a script."""

from __future__ import annotations

import contextlib
import itertools
import random

import pytest
from ansible_collections.evenkeel.flask.plugins.module_utils._errors import HttpError
from ansible_collections.evenkeel.flask.plugins.module_utils._gate.check import (
    CheckContext,
    Failed,
    Inconclusive,
)
from ansible_collections.evenkeel.flask.plugins.module_utils._gate.checks import response_times
from ansible_collections.evenkeel.flask.plugins.module_utils._http.client import (
    Deadline,
    Headers,
    Response,
    Url,
)
from ansible_collections.evenkeel.flask.plugins.module_utils._http.response import RawResponse

SETTINGS = {
    **{name: option.get("default") for name, option in response_times.SPEC.items()},
    "paths": ["/"],
}


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


class FakeSite:
    """A site with a given latency, on the clock that it shares with the other site."""

    def __init__(self, clock, times, status=200, log=None):
        self.clock, self.times, self.status, self.log = clock, times, status, log
        self.deadline = Deadline(1000, clock)
        self.asked = 0

    def fetch(self, where):
        self.asked += 1
        if self.log is not None:
            self.log.append(self)
        if self.status is None:
            raise HttpError("refused")
        elapsed = next(self.times)
        self.clock.now += elapsed / 1000
        return Response(Url.parse("http://h/"), RawResponse(self.status, Headers()), elapsed)


def noisy(scale, seed, sigma=0.15):
    rng = random.Random(seed)
    return (scale * rng.lognormvariate(0, sigma) for _turn in itertools.count())


def trial(slowdown=1.0, live_status=200, candidate_status=200, ms=10.0, sigma=0.15):
    clock, log = Clock(), []
    candidate = FakeSite(clock, noisy(ms * slowdown, 1, sigma), candidate_status, log)
    live = FakeSite(clock, noisy(ms, 2, sigma), live_status, log)
    return CheckContext(candidate, live), log


@pytest.mark.parametrize("slowdown", [0.5, 1.0, 1.05])
def test_a_candidate_that_is_as_fast_passes(slowdown):
    finding = response_times.run(trial(slowdown)[0], SETTINGS)
    assert finding.measured["/"]["slowdown"] == pytest.approx(slowdown, rel=0.1)


@pytest.mark.parametrize("slowdown", [1.5, 2.0, 10.0])
def test_a_slower_candidate_fails_and_is_measured(slowdown):
    with pytest.raises(
        Failed, match=r"/: \d+\.\d\d times the live release, wanted at most 1\.25"
    ) as caught:
        response_times.run(trial(slowdown)[0], SETTINGS)
    assert caught.value.measured["/"]["slowdown"] == pytest.approx(slowdown, rel=0.1)


def test_a_trifle_is_no_slowdown_however_many_times_the_live_release_it_is():
    """On a busy host, /health took 4.3 ms instead of 3 ms in a slot that had become cold."""
    finding = response_times.run(trial(1.45, ms=3.0)[0], SETTINGS)
    assert finding.measured["/"]["slowdown"] == pytest.approx(1.45, rel=0.1)


def test_what_is_not_clear_is_inconclusive():
    with pytest.raises(Inconclusive, match="not clear after"):
        response_times.run(trial(1.25, sigma=0.5)[0], SETTINGS)


@pytest.mark.parametrize("ms", [1.0, 10.0, 25.0])
@pytest.mark.parametrize("slowdown", [1.0, 1.25])
def test_a_decision_takes_at_most_three_seconds(slowdown, ms):
    one, _pairs = trial(slowdown, ms=ms, sigma=0.5)
    with contextlib.suppress(Inconclusive, Failed):
        response_times.run(one, SETTINGS)
    assert one.candidate.clock.now < 3.0


def test_a_slow_page_is_still_judged():
    one, _pairs = trial(1.0, ms=1500.0)
    response_times.run(one, {**SETTINGS, "max_ms": 5000})
    assert one.live.asked < 25


def test_both_sides_are_asked_in_turn_and_neither_is_always_first():
    one, log = trial(1.0)
    response_times.run(one, SETTINGS)
    pairs = [log[i : i + 2] for i in range(2 + 2 * response_times.WARM_UP, len(log), 2)]
    assert all({first, second} == {one.live, one.candidate} for first, second in pairs)
    assert {first for first, _second in pairs} == {one.live, one.candidate}


def test_the_budget_counts_without_a_live_release():
    one, _pairs = trial(1.0, ms=50.0)
    alone = CheckContext(one.candidate)
    assert response_times.run(alone, SETTINGS).measured["/"]["samples"] == 30
    with pytest.raises(Failed, match=r"/: p95 \d+ ms, wanted 20"):
        response_times.run(alone, {**SETTINGS, "max_ms": 20})


@pytest.mark.parametrize(("status", "response"), [(500, "500"), (None, "refused")])
def test_a_broken_live_release_does_not_stop_the_one_that_mends_it(status, response):
    finding = response_times.run(trial(5.0, live_status=status)[0], SETTINGS)
    assert finding.warnings == (
        f"/: the live release answers {response}, so only max_ms was judged",
    )


def test_an_error_is_not_worth_timing():
    with pytest.raises(Failed, match="/: 500, which is not worth timing"):
        response_times.run(trial(candidate_status=500)[0], SETTINGS)
