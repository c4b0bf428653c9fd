# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Leaks are found and warm-up is none: by workers whose growth is known, and by simulated ones."""

from __future__ import annotations

import itertools
import math
import random

import pytest
from ansible_collections.evenkeel.flask.plugins.module_utils._bake import leaks as bake_leaks
from ansible_collections.evenkeel.flask.plugins.module_utils._bake.leaks import WorkerSample

LIMIT = {"memory_mb": 48.0, "open_files": 12.0, "port_5432": 1.0}


def worker(grow, name="memory_mb", start=45.0, a_second=6, seconds=10):
    """A worker that is looked at each second, and holds C(grow(requests)) more than at first."""
    return [
        WorkerSample(second * a_second, {**LIMIT, name: start + grow(second * a_second)})
        for second in range(seconds + 1)
    ]


def fleet(*workers):
    return dict(enumerate(workers))


@pytest.mark.parametrize(
    ("name", "start", "said"),
    [
        ("memory_mb", 45.0, "0.5 MB of memory more for each request, and has 75, before 48"),
        ("open_files", 12.0, "0.5 open files more for each request, and has 42, before 12"),
        ("port_5432", 1.0, "0.5 connections to port 5432 more for each request, and has 31, before 1"),
    ],
)  # fmt: skip
def test_what_grows_with_each_request_is_a_leak(name, start, said):
    workers = fleet(*[worker(lambda requests: requests / 2, name, start)] * 3)
    assert bake_leaks.evaluate(workers, LIMIT) == [f"each worker takes {said}"]


@pytest.mark.parametrize(
    ("grow", "start"),
    [
        (lambda requests: 0, 45.0),
        (lambda requests: 40 * (1 - math.exp(-requests / 20)), 45.0),
        (lambda requests: 10 * math.log(1 + requests), 45.0),
        (lambda requests: 60 * (requests > 40), 45.0),
        (lambda requests: 30 * (requests > 25) + 30 * (requests > 50), 45.0),
        (lambda requests: requests / 5 % 4, 60.0),
        (lambda requests: requests / 10, 45.0),
        (lambda requests: 0, 200.0),
        (lambda requests: -requests, 200.0),
    ],
    ids=[
        "flat", "warms up", "ever rarer", "one import", "two imports", "garbage", "below its limit",
        "a bigger app", "shrinks",
    ],
)  # fmt: skip
def test_what_bends_or_jumps_or_is_as_before_is_none(grow, start):
    assert bake_leaks.evaluate(fleet(*[worker(grow, start=start)] * 5), LIMIT) == []


def test_it_is_no_leak_of_the_release_if_it_is_one_of_few_workers():
    leaks, sound = worker(lambda requests: requests), worker(lambda requests: 0)
    assert bake_leaks.evaluate(fleet(leaks, sound, sound), LIMIT) == []
    assert bake_leaks.evaluate(fleet(leaks, leaks, leaks, sound), LIMIT) != []


def test_a_worker_that_was_hardly_asked_has_no_say():
    leaks = worker(lambda requests: requests)
    idle = worker(lambda requests: requests, a_second=2)
    assert bake_leaks.evaluate(fleet(leaks, idle, idle), LIMIT) != []
    assert bake_leaks.evaluate(fleet(idle, idle), LIMIT) == []
    assert bake_leaks.evaluate({}, LIMIT) == []


def test_a_leak_that_the_predecessor_has_too_is_none_of_the_release():
    assert bake_leaks.evaluate(fleet(worker(lambda requests: requests)), {"memory_mb": 100.0}) == []


def test_a_big_app_may_vary_more():
    assert bake_leaks.tolerance("memory_mb", 48.0) == 8.0
    assert bake_leaks.tolerance("memory_mb", 900.0) == 90.0
    assert bake_leaks.tolerance("open_files", 900.0) == 16.0


def test_the_most_of_each_thing_is_what_one_of_the_workers_has():
    workers = {1: {"memory_mb": 40.0, "open_files": 12.0}, 2: {"memory_mb": 44.0, "port_6379": 1.0}}
    assert bake_leaks.most(workers) == {"memory_mb": 44.0, "open_files": 12.0, "port_6379": 1.0}
    assert bake_leaks.most({}) == {}


def simulated(seed, leak=0.0, chance=1.0, a_second=6.0, seconds=10, cache=6.0, workers=5):
    """Whether a bake takes a release for one that leaks, looked at each second as a bake does.

    Each worker warms up by steps: of its routes, popular and rare ones (Zipf), each takes memory
    when it is first asked, and a cache fills besides. Garbage comes and goes, the heap is noisy,
    and the load is never even. The predecessor's limit is what a warm worker of it has.

    @param leak: MB that a request leaves behind, of one in C(1 / chance)
    """
    rng = random.Random(seed)
    routes = [1 / rank for rank in range(1, 31)]
    late = [rng.expovariate(1 / 0.4) for _route in routes]
    garbage = max(rng.expovariate(1 / 2.5) for _worker in range(workers))
    limit = {"memory_mb": 42 + sum(late) + cache + garbage}
    seen = {pid: [] for pid in range(workers)}
    state = {pid: {"requests": 0, "known": set(), "leaked": 0.0, "garbage": 0.0} for pid in seen}
    for _second in range(seconds + 1):
        for pid, one in state.items():
            rate = a_second * rng.uniform(0.5, 1.5)
            for _request in range(int(rate) + (rng.random() < rate % 1)):
                one["requests"] += 1
                one["known"].add(rng.choices(range(30), routes)[0])
                one["leaked"] += leak / chance * (rng.random() < chance)
                one["garbage"] = (one["garbage"] + rng.uniform(0, 0.05)) * (rng.random() > 0.01)
            has = 42 + sum(late[route] for route in one["known"]) + one["leaked"] + one["garbage"]
            has += cache * (1 - math.exp(-one["requests"] / 100)) + rng.gauss(0, 0.2)
            seen[pid].append(WorkerSample(one["requests"], {"memory_mb": has}))
        if bake_leaks.evaluate(seen, limit):
            return True
    return False


@pytest.mark.parametrize("a_second", [2.0, 6.0, 40.0])
@pytest.mark.parametrize("seconds", [10, 40])
def test_no_release_that_warms_up_is_taken_for_one_that_leaks(a_second, seconds):
    refused = [simulated(seed, a_second=a_second, seconds=seconds) for seed in range(20)]
    assert not any(refused)


@pytest.mark.parametrize(
    ("leak", "chance", "a_second", "seconds"),
    [(0.2, 1.0, 6.0, 30), (0.2, 1.0, 12.0, 12), (0.2, 0.5, 12.0, 20), (0.02, 1.0, 40.0, 40)],
)
def test_a_release_that_leaks_is_caught(leak, chance, a_second, seconds):
    caught = [simulated(seed, leak, chance, a_second, seconds) for seed in range(20)]
    assert sum(caught) >= 19


def test_each_look_sees_what_the_looks_before_it_saw():
    leaks = worker(lambda requests: requests, seconds=40)
    found = [
        bool(bake_leaks.evaluate(fleet(leaks[: end + 1]), LIMIT)) for end in range(1, len(leaks))
    ]
    assert [key for key, _group in itertools.groupby(found)] == [False, True]
