# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The load: what is asked when, what is counted, and that it ends."""

from __future__ import annotations

import itertools
import socket
import threading

import pytest
from ansible_collections.evenkeel.flask.plugins.module_utils._http import client, load
from ansible_collections.evenkeel.flask.tests.unit.plugins import loopback
from ansible_collections.evenkeel.flask.tests.unit.plugins.loopback import ok, serving


def question(server, timeout=5.0):
    request = client.Request(client.Url.parse(server.url))
    family = socket.AF_UNIX if isinstance(server.address, str) else socket.AF_INET
    return load.LoadTarget(family, server.address, request.head(), timeout)


def ticking():
    """A clock that goes on by a millisecond whenever it is looked at."""
    moments = itertools.count()
    return lambda: next(moments) / 1000


def test_a_closed_loop_has_as_many_under_way_as_there_are_users():
    crowd = threading.Barrier(4)

    def answer(*_asked):
        # Nobody is answered before all four have asked.
        crowd.wait(10)
        return ok(b"hello")

    with serving(answer) as server:
        tally = load.run_load(question(server), load.closed_loop(4, 60, 12))
    assert (tally.asked, tally.errors, len(tally.latencies_ms)) == (12, 0, 12)
    assert len(server.requests) == 12


def test_a_closed_loop_ends_with_its_time():
    with serving(ok()) as server:
        tally = load.run_load(question(server), load.closed_loop(1, 0.1, 10**9), ticking())
    assert 0 < tally.asked <= 100


@pytest.mark.parametrize(
    ("rate", "seconds", "most", "total"),
    [(50, 3, 1000, 150), (50, 3, 7, 7), (0.1, 1, 5, 1)],
)
def test_an_open_loop_is_bounded_by_rate_time_and_share(rate, seconds, most, total):
    schedule = load.open_loop(rate, seconds, most)
    assert schedule.total == total
    assert schedule.due(0, 99.0) == 0.0
    assert schedule.due(5, 99.0) == 5 / rate


def test_latency_in_an_open_loop_begins_when_a_request_was_due():
    """Requests are due each millisecond; one at a time is under way, so each waits for all before it."""
    with serving(ok()) as server:
        schedule = load.Schedule(20, 1, float("inf"), lambda number, _now: number / 1000)
        tally = load.run_load(question(server), schedule, ticking())
    # The clock is looked at three times and more for each, so the last is late by forty milliseconds and more.
    assert tally.latencies_ms[-1] > 40
    assert tally.latencies_ms == sorted(tally.latencies_ms)


def test_what_is_counted_of_an_answer():
    packed = ok(b"x" * 1000, X_Cache="HIT")
    with serving(packed) as server:
        tally = load.run_load(question(server), load.closed_loop(2, 60, 6))
    assert tally.received == 6 * len(packed)
    assert tally.statuses == {200: 6}
    assert tally.cache == {"HIT": 6}


def test_an_error_is_counted_and_has_no_latency():
    with serving(ok(status="503 Service Unavailable")) as server:
        tally = load.run_load(question(server), load.closed_loop(1, 60, 3))
    assert (tally.errors, tally.statuses, tally.latencies_ms) == (3, {503: 3}, [])


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (loopback.reset, "reset by the server"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", "body cut short: 4 of 9 bytes came"),
        (b"", "connection closed without an answer"),
    ],
)
def test_no_whole_answer_is_a_failure_with_its_reason(answer, reason):
    with serving(answer) as server:
        tally = load.run_load(question(server), load.closed_loop(2, 60, 4))
    assert tally.failures == {reason: 4}
    assert (tally.errors, tally.answers) == (4, 0)


def test_an_answer_that_never_comes_ends_the_loop_all_the_same():
    with serving(loopback.silent) as server:
        tally = load.run_load(question(server, timeout=0.2), load.open_loop(50, 0.1, 3))
    assert tally.failures == {"no answer within 0.2 s": 3}


def test_where_nobody_listens_each_request_fails_at_once(tmp_path):
    nobody = load.LoadTarget(socket.AF_UNIX, str(tmp_path / "live.sock"), b"", 5.0)
    tally = load.run_load(nobody, load.closed_loop(3, 60, 5))
    assert tally.failures == {"no such file or directory": 5}


def test_a_unix_socket_is_asked_as_well(tmp_path):
    with serving(ok(), unix_socket=str(tmp_path / "live.sock")) as server:
        tally = load.run_load(question(server), load.closed_loop(2, 60, 6))
    assert tally.errors == 0


def test_a_large_answer_is_read_to_its_end():
    with serving(ok(b"x" * 3_000_000)) as server:
        tally = load.run_load(question(server), load.closed_loop(1, 60, 1))
    assert tally.received > 3_000_000
    assert tally.errors == 0
