# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan that drains a server and returns it to service is the same for each kind of balancer."""

from __future__ import annotations

import threading
import time

import pytest
from ansible_collections.evenkeel.flask.plugins.module_utils import _errors
from ansible_collections.evenkeel.flask.plugins.module_utils._balancer import plan as balancer
from ansible_collections.evenkeel.flask.plugins.module_utils._balancer.plan import Server

STATES = ["serving", "drained", "maintenance", "down"]
OTHERS = {"app2": Server("serving"), "app3": Server("down")}


class Pool:
    """A balancer whose states over time a test sets."""

    pool = "the pool"
    poll_seconds = 1.0

    def __init__(self, states, server="app1", busy=(), obeys=True, takes=0.0):
        self.states = dict(states)
        self.server = server
        self.busy = [*busy]
        self.obeys = obeys
        self.takes = takes
        self.done = []
        self.now = 0.0

    def servers(self):
        busy = self.busy.pop(0) if self.busy and self.done else 0
        found = {
            name: Server(state, busy if name == self.server else 0)
            for name, state in self.states.items()
        }
        # Long enough for another thread to look as well, if it may.
        time.sleep(self.takes)
        return found

    def take_out(self):
        self._become("drained")

    def put_back(self):
        self._become("serving")

    def _become(self, state):
        self.done.append(state)
        if self.obeys:
            self.states[self.server] = state

    def move(self, wanted, **more):
        def sleep(seconds):
            self.now += seconds

        return balancer.move(
            self, wanted, drain_timeout=30, healthy_timeout=300, clock=lambda: self.now, sleep=sleep, **more
        )  # fmt: skip


@pytest.mark.parametrize("found", STATES)
def test_only_what_serves_is_taken_out(found):
    plan = balancer.plan("drained", "app1", "the pool", {"app1": Server(found), **OTHERS})
    assert plan == balancer.Plan("take_out" if found == "serving" else None)


@pytest.mark.parametrize("found", STATES)
def test_only_what_a_run_took_out_is_put_back(found):
    plan = balancer.plan("serving", "app1", "the pool", {"app1": Server(found), **OTHERS})
    assert plan.verb == ("put_back" if found == "drained" else None)
    assert bool(plan.warning) == (found == "maintenance")


@pytest.mark.parametrize("others", [[], ["down"], ["drained", "maintenance", "down"]])
def test_the_last_that_serves_stays_in_and_that_is_told(others):
    servers = {
        "app1": "serving",
        **{f"other{number}": state for number, state in enumerate(others)},
    }
    pool = Pool(servers)
    outcome = pool.move("drained")
    assert (pool.done, outcome.after.state) == ([], "serving")
    assert "app1 is the last server of the pool that serves" in outcome.plan.warning


def test_of_all_that_are_drained_at_once_one_stays_in():
    names = [f"app{number}" for number in range(5)]
    shared = dict.fromkeys(names, "serving")
    pools = [Pool({}, name, takes=0.02) for name in names]
    for pool in pools:
        pool.states = shared
    threads = [threading.Thread(target=pool.move, args=("drained",)) for pool in pools]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(shared.values()) == ["drained"] * 4 + ["serving"]


def test_requests_that_are_under_way_are_waited_for():
    pool = Pool({"app1": "serving", "app2": "serving"}, busy=[3, 2, 0])
    assert pool.move("drained").after == Server("drained")
    assert pool.now == 2


def test_requests_that_take_too_long_are_left_to_themselves():
    pool = Pool({"app1": "serving", "app2": "serving"}, busy=[1] * 100)
    assert pool.move("drained").after == Server("drained", busy=1)
    assert pool.now == 30


def test_what_an_earlier_run_drained_is_waited_for_too():
    pool = Pool({"app1": "drained", "app2": "serving"})
    pool.done.append("by an earlier run")
    pool.busy = [2, 2, 0]
    outcome = pool.move("drained")
    assert (outcome.plan.verb, outcome.after.busy, pool.now) == (None, 0, 1)


def test_a_server_that_gets_users_all_the_same_is_a_failure():
    with pytest.raises(_errors.BalancerError, match=r"is sent users all the same 30 s later"):
        Pool({"app1": "serving", "app2": "serving"}, obeys=False).move("drained")


def test_a_server_that_is_not_well_when_it_is_put_back_is_a_failure():
    with pytest.raises(_errors.BalancerError, match=r"is drained there 300 s later"):
        Pool({"app1": "drained", "app2": "serving"}, obeys=False).move("serving")


@pytest.mark.parametrize(
    ("found", "wanted", "after"),
    [("serving", "drained", "drained"), ("drained", "serving", "serving"), ("down", "serving", "down")],
)  # fmt: skip
def test_check_mode_foresees_and_touches_nothing(found, wanted, after):
    pool = Pool({"app1": found, "app2": "serving"})
    outcome = pool.move(wanted, check_mode=True)
    assert (pool.done, outcome.before.state, outcome.after.state) == ([], found, after)
