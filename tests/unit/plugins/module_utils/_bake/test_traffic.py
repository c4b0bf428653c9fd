# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The judgement on a release under real traffic, by logs that are written here."""

from __future__ import annotations

import json
import random
import re

import pytest
from ansible_collections.evenkeel.flask.plugins.module_utils._bake import traffic as bake_traffic
from ansible_collections.evenkeel.flask.plugins.module_utils._bake.traffic import (
    RequestSample,
    Traffic,
)
from hypothesis import given
from hypothesis import strategies as st

SINCE = "2026-11-25T10:00:00.000Z"
LATER = "2026-11-25T10:00:01.500Z"


def line(**more):
    record = {"time": LATER, "release": "2-b", "path": "/cart", "status": 200, "duration_ms": 5.0}
    return json.dumps({**record, **more})


def traffic(errors=0, of=100, route="/cart", ms=5.0, seed=1, **more):
    rng = random.Random(seed)
    asked = [
        RequestSample(route, 500 if number < errors else 200, ms * rng.lognormvariate(0, 0.3))
        for number in range(of)
    ]
    return served(asked, **more)


def served(asked, **more):
    told = Traffic(**more)
    told.add(asked)
    return told


def heard(*lines, release="2-b", requests=0):
    told = traffic(of=requests)
    told.add_log_lines(lines, release, SINCE)
    return told


def error(number=0, release="2-b", **more):
    told = {"level": "ERROR", "logger": "shop.mail", "message": "no mail", "release": release}
    return line(**{**told, "request_id": f"r{number}", **more})


def traceback_of(said):
    frame = '  File "/srv/shop/cart.py", line 3, in add\n    return cart[name]\n           ~~~~^^\n'
    return f"Traceback (most recent call last):\n{frame}{frame}{said}"


@pytest.mark.parametrize(
    "ms",
    ["NaN", "Infinity", "-Infinity", "-1", "1e308", "1" + "0" * 400, "true", '"5"', "null", "[]"],
)
def test_a_duration_that_no_request_has_ends_the_judgement_of_nothing(ms):
    """The app writes the lines, and can write what it wants."""
    text = line().replace("5.0", ms)
    found = list(bake_traffic.requests([text, line()], "2-b", SINCE))
    assert found[-1].ms == 5.0
    assert all(0 <= one.ms <= bake_traffic.MAX_MS for one in found)
    assert bake_traffic.evaluate(traffic(), served(found * 50), 1.25) == []


def test_being_sent_away_for_asking_too_often_is_a_failure():
    sent_away = served([RequestSample("/cart", 429, 1.0)] * 50)
    assert bake_traffic.evaluate(traffic(), sent_away, 1.25) == [
        "/cart: 50 of 50 requests failed, before 0 of 100"
    ]


@pytest.mark.parametrize(
    ("was", "now", "requests", "problems"),
    [
        (200, 40_000, 100, ["39 KiB are logged for each request"]),
        (200, 30_000, 100, []),
        (20_000, 60_000, 100, []),
        (200, 40_000, 19, []),
    ],
)
def test_what_would_fill_the_disk_with_logs_is_a_problem(was, now, requests, problems):
    before = traffic(volume=was * 100)
    after = traffic(of=requests, volume=now * requests)
    assert bake_traffic.evaluate(before, after, 1.25) == problems


def test_the_requests_of_a_release_are_those_of_its_name_since_it_serves():
    lines = [
        line(),
        line(release="1-a"),
        line(time="2026-11-25T09:59:59.999Z"),
        line(path="/2-b", release="1-a"),
        line(status="none"),
        line(path="/api", worker=17),
        "2-b is no JSON",
        '["2-b"]',
    ]
    assert list(bake_traffic.requests(lines, "2-b", SINCE)) == [
        RequestSample("/cart", 200, 5.0),
        RequestSample("/api", 200, 5.0, worker=17),
    ]


def test_what_machines_ask_tells_nothing_of_users_and_is_work_all_the_same():
    told = Traffic()
    told.add(
        [RequestSample("/health", 500, 9.0, 17), RequestSample("/cart", 200, 5.0, 17)],
        leave_out="/health",
    )
    assert (told.total.asked, told.total.errors, told.by_worker[17]) == (1, 0, 2)


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/", "/"),
        ("/products/17", "/products/*"),
        ("/products/17/reviews/3", "/products/*/reviews/*"),
        ("/files/0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0", "/files/*"),
        ("/v1/cart", "/v1/cart"),
        ("/2026/", "/*/"),
    ],
)
def test_paths_that_differ_by_an_id_are_one_route(path, route):
    assert bake_traffic.route(path) == route


@given(st.text(), st.text())
def test_no_line_is_too_odd(text, release):
    list(bake_traffic.requests([text, text + release], release, ""))
    Traffic().add_log_lines([text, text + release], release, "")
    bake_traffic.kind_of({"message": text, "exception": release})


def test_workers_that_died_are_counted_and_recycled_ones_are_not():
    said = [
        "WORKER TIMEOUT (pid:11)",
        "Worker (pid:12) was sent SIGKILL! Perhaps out of memory?",
        "Worker (pid:13) exited with code 3",
        "Autorestarting worker after current request.",
        "Worker exiting (pid: 14)",
    ]
    lines = [line(message=message, logger="gunicorn.error") for message in said]
    assert heard(*lines).deaths == 3
    assert not heard(*lines).logged


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (traffic(), traffic(seed=2)),
        (traffic(), Traffic()),
        (Traffic(), traffic()),
        (traffic(), traffic(errors=1, of=30)),
        (traffic(errors=5), traffic(errors=6)),
        (traffic(), traffic(ms=9.0, seed=2)),
        (traffic(ms=2.0), traffic(ms=8.0, seed=2)),
        (traffic(deaths=1), traffic(deaths=1)),
        (Traffic(), traffic(ms=5000.0)),
        (traffic(of=5), traffic(of=5, ms=5000.0)),
    ],
)
def test_a_release_that_does_as_its_predecessor_is_left_alone(before, after):
    assert bake_traffic.evaluate(before, after, 1.25) == []


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (traffic(), traffic(errors=4, of=40), "/cart: 4 of 40 requests failed, before 0 of 100"),
        (
            traffic(),
            traffic(errors=2, of=2, route="/new"),
            "/new: 2 of 2 requests failed, before 0 of 0",
        ),
        (
            traffic(errors=2),
            traffic(errors=20),
            "/cart: 20 of 100 requests failed, before 2 of 100",
        ),
        (Traffic(), traffic(errors=9, of=9), "/cart: 9 of 9 requests failed, before 0 of 0"),
        (traffic(ms=20.0), traffic(ms=100.0, seed=2), r"/cart: [45]\.\d times as slow as before"),
        (traffic(), traffic(deaths=1), "1 workers died"),
    ],
)
def test_a_release_that_does_worse_is_told_by_its_route(before, after, said):
    (problem,) = bake_traffic.evaluate(before, after, 1.25)
    assert re.fullmatch(said, problem)


def test_errors_that_are_spread_over_routes_count_together():
    spread = served(
        [RequestSample(f"/{name}", 500 if name < 4 else 200, 5.0) for name in range(40)]
    )
    assert bake_traffic.evaluate(traffic(), spread, 1.25) == [
        "4 of 40 requests failed, before 0 of 100"
    ]


def test_a_slowdown_that_is_allowed_is_no_problem():
    assert bake_traffic.evaluate(traffic(ms=20.0), traffic(ms=50.0, seed=2), 3.0) == []


@pytest.mark.parametrize(
    ("errors", "asked", "rate", "likely"),
    [(0, 10, 0.5, 1.0), (1, 1, 0.25, 0.25), (2, 2, 0.5, 0.25), (1, 2, 0.5, 0.75), (3, 3, 1.0, 1.0)],
)
def test_the_binomial_tail_is_as_in_the_book(errors, asked, rate, likely):
    assert bake_traffic.binomial_tail(errors, asked, rate) == pytest.approx(likely)


@pytest.mark.parametrize(
    ("record", "kind"),
    [
        ({"message": "no mail"}, "shop.mail: no mail"),
        ({"message": "order 17 of 'eve' at 0x7f3b: no"}, "shop.mail: order * of * at *: no"),
        (
            {"message": "Exception on /cart", "exception": traceback_of("KeyError: 'x'")},
            "shop.mail: KeyError",
        ),
        (
            {"exception": traceback_of("db.Error: no\nDETAIL: none\n(Background: there)")},
            "shop.mail: db.Error",
        ),
        (
            {"exception": traceback_of("KeyError") + "\n\n" + traceback_of("ValueError: 1")},
            "shop.mail: ValueError",
        ),
        ({"message": ""}, "shop.mail: no message"),
        ({"message": "a " * 99}, "shop.mail: " + "a " * 34 + "a"),
    ],
)
def test_what_differs_from_one_error_to_the_next_is_not_in_its_kind(record, kind):
    assert bake_traffic.kind_of({"logger": "shop.mail", **record}) == kind


def test_errors_that_the_release_before_logged_too_are_not_new():
    old = error(message="order 1 lost", release="1-a")
    before = heard(old, release="1-a", requests=100)
    after = heard(error(message="order 2 lost"), error(), error(), error(level="WARNING"))
    assert bake_traffic.news(before, after) == {"shop.mail: no mail": 2}


def test_new_errors_in_many_requests_speak_against_a_release():
    after = heard(*[error(number) for number in range(8)], requests=100)
    assert bake_traffic.evaluate(traffic(), after, 2) == [
        "8 of 100 requests logged errors of a new kind"
    ]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (traffic(), heard(*[error(number) for number in range(4)], requests=100)),
        (traffic(), heard(*[error()] * 50, requests=100)),
        (traffic(), heard(*[error(request_id=None)] * 50, requests=100)),
        (traffic(), heard(error())),
        (traffic(of=20), heard(*[error(number) for number in range(50)], requests=100)),
        (
            heard(
                *[error(number, "1-a", message="it failed") for number in range(20)],
                release="1-a",
                requests=100,
            ),
            heard(*[error(number, message="it went wrong") for number in range(20)], requests=100),
        ),
    ],
    ids=[
        "few",
        "one request says much",
        "no request",
        "its request is not there yet",
        "the release before was hardly asked",
        "reworded",
    ],
)
def test_new_errors_that_may_be_harmless_are_only_told(before, after):
    assert bake_traffic.evaluate(before, after, 2) == []
    assert bake_traffic.news(before, after)


def bake(rate, seed):
    """Whether five minutes at ten requests a second, looked at each second, speak against a release."""
    rng = random.Random(seed)
    before, after = traffic(of=100, route="/"), Traffic()
    for _second in range(300):
        after.add(
            RequestSample("/", 500 if rng.random() < rate else 200, 5.0) for _turn in range(10)
        )
        if bake_traffic.evaluate(before, after, 1e9):
            return True
    return False


def test_one_failure_in_a_hundred_is_caught_and_a_sound_release_never_refused():
    assert all(bake(0.01, seed) for seed in range(5))
    assert not any(bake(0.0005, seed) for seed in range(5))


def test_the_figures_are_those_of_what_users_met():
    assert traffic(errors=1, of=3, deaths=2).as_dict().items() >= {
        "requests": 3, "errors": 1, "worker_deaths": 2
    }.items()  # fmt: skip
    assert Traffic().as_dict()["p95_ms"] is None
