# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The definition of a healthy response, and the number of healthy responses in a row."""

from __future__ import annotations

import pytest
from ansible_collections.evenkeel.flask.plugins.module_utils._errors import HttpError
from ansible_collections.evenkeel.flask.plugins.module_utils._health import poll
from ansible_collections.evenkeel.flask.plugins.module_utils._health.poll import Endpoint, Policy
from ansible_collections.evenkeel.flask.plugins.module_utils._http import expect
from ansible_collections.evenkeel.flask.plugins.module_utils._http.client import (
    Deadline,
    Headers,
    Request,
    Response,
    Url,
)
from ansible_collections.evenkeel.flask.plugins.module_utils._http.expect import DAY, Expected
from ansible_collections.evenkeel.flask.plugins.module_utils._http.response import RawResponse

URL = Url.parse("http://127.0.0.1/health?token=hunter2")


def response(
    status=200, body=b"", headers=(), elapsed_ms=5.0, certificate_end=None, truncated=False
):
    answer = RawResponse(status, Headers(tuple(headers)), body, len(body), truncated)
    return Response(URL, answer, elapsed_ms, certificate_end)


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        (response(), Expected()),
        (response(204), Expected(status=(200, 204))),
        (response(body=b"all ready"), Expected(contains="ready")),
        (response(body=b"all r\xffeady"), Expected(matches="^all r.eady$")),
        (response(body=b'{"a": {"b": [1]}}'), Expected(json={"a.b.0": 1})),
        (response(headers=[("X-A", "b")]), Expected(response_headers={"x-a": "b"})),
        (response(elapsed_ms=5), Expected(max_ms=5)),
        (response(certificate_end=15 * DAY), Expected(min_certificate_days=14)),
        (response(), Expected(min_certificate_days=14)),
    ],
)
def test_what_was_wanted_is_healthy(answer, wanted):
    assert expect.evaluate(answer, wanted, now=0) is None


@pytest.mark.parametrize(
    ("answer", "wanted", "reason"),
    [
        (response(503), Expected(), "503, wanted 200"),
        (response(500), Expected(status=(200, 204)), "500, wanted 200 or 204"),
        (
            response(302, headers=[("Location", "/login?next=secret")]),
            Expected(),
            "302 to '/login', wanted 200",
        ),
        (response(body=b"not yet"), Expected(contains="ready"), "body does not contain 'ready'"),
        (
            response(body=b"x", truncated=True),
            Expected(contains="ready"),
            "the first MiB of the body does not contain 'ready'",
        ),
        (response(body=b"x"), Expected(matches="^y"), "body does not match '^y'"),
        (response(body=b"{"), Expected(json={"a": 1}), "body is no JSON"),
        (
            response(body=b"{}", truncated=True),
            Expected(json={"a": 1}),
            "body is larger than 1 MiB, too large to be read as JSON",
        ),
        (response(body=b"{}"), Expected(json={"a": 1}), "JSON has no a"),
        (response(), Expected(response_headers={"X-A": "b"}), "header X-A is missing, wanted 'b'"),
        (
            response(headers=[("X-A", "secret")]),
            Expected(response_headers={"X-A": "b"}),
            "header X-A is not 'b'",
        ),
        (response(elapsed_ms=80.4), Expected(max_ms=50), "took 80 ms, wanted at most 50 ms"),
        (
            response(certificate_end=3 * DAY),
            Expected(min_certificate_days=14),
            "certificate expires in 3 days, wanted 14",
        ),
    ],
)
def test_the_reason_says_what_was_wanted_and_what_came(answer, wanted, reason):
    assert expect.evaluate(answer, wanted, now=0) == reason


class World:
    """A clock, and an endpoint that answers from a script and takes a second for it."""

    def __init__(self, script):
        self.now = 0.0
        self.script = list(script)
        self.timeouts = []

    def clock(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds

    def ask(self, request):
        self.now += 1
        self.timeouts.append(request.timeout)
        scripted = self.script.pop(0)
        if scripted == "x":
            raise HttpError("refused")
        return response(200 if scripted == "+" else 503)


def check(script, deadline=None, **policy):
    world = World(script)
    limit = Deadline(deadline, world.clock) if deadline else None
    endpoint = Endpoint("health", Request(URL), Expected())
    result = poll.check(endpoint, Policy(**policy), world.ask, world.sleep, limit)
    return result, world


@pytest.mark.parametrize(
    ("script", "policy", "healthy", "asked"),
    [
        ("+", {}, True, 1),
        ("-", {}, False, 1),
        ("--+", {"attempts": 3}, True, 3),
        ("xx+", {"attempts": 9}, True, 3),
        ("+++", {"attempts": 3, "successes": 3}, True, 3),
        ("+-+++", {"attempts": 9, "successes": 3}, True, 5),
        ("+-+-+-", {"attempts": 6, "successes": 3}, False, 4),
        ("-", {"attempts": 3, "successes": 3}, False, 1),
    ],
)
def test_healthy_is_healthy_often_enough_in_a_row(script, policy, healthy, asked):
    result, _world = check(script, **policy)
    assert (result.healthy, result.attempts) == (healthy, asked)


def test_flapping_is_named():
    result, _world = check("+-+-", attempts=4, successes=2)
    assert result.reason == "healthy 2 of 4 times, never 2 in a row; 503, wanted 200"


def test_there_is_a_pause_between_attempts_and_none_after_the_last():
    _result, world = check("---", attempts=3, interval=10)
    assert world.now == 3 + 2 * 10


def test_the_deadline_ends_everything():
    result, world = check("-" * 99, attempts=99, interval=2, deadline=10)
    assert world.now == 10
    assert result.reason == "503, wanted 200, when the deadline of 10 s was over"


def test_a_request_gets_no_more_time_than_the_deadline_leaves():
    _result, world = check("--", attempts=2, interval=2, deadline=4)
    assert world.timeouts == [4, 1]


def test_a_query_is_not_in_the_result():
    result, _world = check("+")
    assert "hunter2" not in repr(result)


def test_results_come_in_the_order_of_the_endpoints():
    world = World("+++++")
    endpoints = [Endpoint(str(n), Request(URL), Expected()) for n in range(5)]
    results = poll.check_all(endpoints, Policy(), world.ask, 3, None, world.sleep)
    assert [result.name for result in results] == list("01234")


def test_the_message_names_what_is_not_healthy():
    good, _rest = check("+")
    bad, _rest = check("x")
    assert poll.message([good]) == "All endpoints are healthy (1)."
    assert poll.message([good, bad]) == "1 of 2 endpoints are not healthy: health: refused."
