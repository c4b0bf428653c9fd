# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The figures of the rollout bench. Each published figure depends on these calculations."""

from __future__ import annotations

import json

import pytest
from rollout._figures import (
    Goal,
    Window,
    Wire,
    bars,
    by_task,
    operations_per_host,
    tasks_per_host,
    windows,
)

SPOKEN = """\
Inter-|   Receive                            |  Transmit
 face |bytes    packets errs drop fifo frame |bytes    packets
    lo: 1111       10    0    0    0     0       1111       10
  eth0: 5400       20    0    0    0     0       3200       20
Connection from 10.88.0.1 port 40000 on 10.88.0.16 port 22 rdomain ""
Starting session: command for deploy from 10.88.0.1 port 40000 id 0
Starting session: subsystem 'sftp' for deploy from 10.88.0.1 port 40000 id 1
Close session: user deploy from 10.88.0.1 port 40000 id 0
"""


def record(task, host, begun, ended, outcome="ok"):
    return {"task": task, "host": host, "begun": begun, "ended": ended, "outcome": outcome}


def asked(at, target, status=200, elapsed=5.0):
    return json.dumps({"time": at, "target": target, "status": status, "elapsed_ms": elapsed})


def test_bytes_are_those_from_outside_and_commands_those_of_the_log():
    assert Wire.read(SPOKEN) == Wire(bytes=5400, commands=2)


def test_tasks_are_those_of_the_host_that_had_most_and_skipped_ones_are_none():
    records = [
        record("one", "app1", 0, 1),
        record("two", "app1", 1, 2),
        record("two", "app2", 1, 2, "skipped"),
        record("three", "app2", 2, 3),
    ]
    assert tasks_per_host(records) == 2


def test_operations_are_those_of_pyinfra_s_last_line():
    log = (
        "Operation  Hosts  Success  Error  No Change\nWrite  2  2  -  -\nGrand total  12  7  -  5\n"
    )
    assert operations_per_host(log, hosts=2) == 6
    assert operations_per_host("it failed", hosts=2) == 0


def test_all_the_time_of_a_run_is_some_task_s():
    records = [
        record("gate", "app1", 10, 12),
        record("switch", "app1", 12, 13),
        record("gate", "app2", 14, 17),
        record("gate", "app3", 14, 16),
    ]
    spent = by_task(records, begun=9)
    assert spent == [(7, 2, "gate"), (1, 1, "switch")]
    assert sum(seconds for seconds, _turns, _task in spent) == 17 - 9


def test_what_came_before_during_and_after_is_kept_apart():
    lines = [
        asked(1, "lb", status=502),
        asked(5, "lb", elapsed=7.0),
        asked(5, "app1", status=None),
        asked(5, "app2", status=404),
        asked(9, "app1", status=500),
    ]
    assert windows(lines, begun=2, ended=8) == {
        "before": Window([5.0], failed=1),
        "balancer": Window([7.0], failed=0),
        "directly": Window([5.0, 5.0], failed=1),
    }


def test_p99_is_what_one_in_a_hundred_is_slower_than():
    assert Window([float(number) for number in range(1, 201)]).p99() == 199.0
    assert Window().p99() == 0.0


def test_a_bar_is_as_long_as_its_value():
    assert bars({"plain": 30.0, "ours": 6.0}, "s", width=10) == [
        "plain  ██████████ 30.0 s",
        "ours   ██ 6.0 s",
    ]


@pytest.mark.parametrize(
    ("goal", "cells"),
    [
        (Goal("speed", "5 times", 5, 5.04, at_least=True), ["5.04", "yes"]),
        (Goal("speed", "5 times", 5, 4.96, at_least=True), ["4.96", "**no**"]),
        (Goal("way back", "10 s", 10, 7.25, " s"), ["7.25 s", "yes"]),
        (Goal("lost", "0", 0, 1), ["1", "**no**"]),
        (Goal("lost", "0", 0, None), ["not measured", ""]),
    ],
)
def test_a_goal_is_reached_or_not_and_what_was_not_measured_is_neither(goal, cells):
    assert goal.cells()[2:] == cells
