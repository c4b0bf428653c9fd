# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is measured, within which bounds, and what is said of it."""

from __future__ import annotations

from collections import Counter

import pytest
from ansible_collections.evenkeel.flask.plugins.module_utils._errors import ArgumentError
from ansible_collections.evenkeel.flask.plugins.module_utils._http import load as http_load
from ansible_collections.evenkeel.flask.plugins.module_utils._profile import connections, workers
from ansible_collections.evenkeel.flask.plugins.module_utils._profile import measure as profile
from ansible_collections.evenkeel.flask.tests.unit.plugins.loopback import ok, serving

PARAMS = {"base_url": "http://127.0.0.1:8000", "unix_socket": None, "headers": {}, "timeout": 5.0}
PLAN = profile.Plan(seconds=60, concurrency=4, rate=200, max_requests=60)


def watch():
    return workers.WorkerSampler(0, connections.Connections("", {}))


def measure(server, *paths, plan=PLAN):
    endpoints = profile.read_endpoints(paths, {**PARAMS, "base_url": server.url})
    return list(profile.measure(endpoints, plan, watch()))


def test_each_endpoint_is_asked_cold_and_warm_in_both_loops():
    with serving(ok(b"hello", X_Cache="HIT")) as server:
        (told,) = measure(server, "/a")
    assert [(one["cache"], one["loop"]) for one in told["loops"]] == [
        ("cold", "closed"), ("cold", "open"), ("warm", "closed"), ("warm", "open"),
    ]  # fmt: skip
    assert (told["name"], told["status"], told["body_bytes"]) == ("/a", 200, 5)
    cold = [request for request in server.requests if b"Cache-Control: no-cache" in request]
    warm = [request for request in server.requests if b"Cache-Control" not in request]
    # One of each before its loops, and the very first one.
    assert len(cold) == 1 + sum(one["requests"] for one in told["loops"][:2])
    assert len(warm) == 2 + sum(one["requests"] for one in told["loops"][2:])


def test_the_whole_has_a_bound_and_every_loop_its_share():
    with serving(ok()) as server:
        told = measure(server, "/a", "/b")
    assert len(server.requests) <= 60
    requests = [one["requests"] for endpoint in told for one in endpoint["loops"]]
    assert min(requests) >= 60 // 8 - 1


def test_fewer_requests_than_are_needed_are_refused():
    with serving(ok()) as server, pytest.raises(ArgumentError, match="at least 12 for 2 endpoints"):
        measure(server, "/a", "/b", plan=profile.Plan(1, 1, 1, 11))
    assert server.requests == []


def test_an_endpoint_that_does_not_answer_well_is_left_in_peace():
    def answer(_conn, request):
        return ok(status="500 Oh") if b" /bad" in request else ok()

    with serving(answer) as server:
        bad, good = measure(server, "/bad", "/good")
    assert (bad["loops"], bad["error"]) == ([], "not measured: it answers 500")
    assert server.paths.count("/bad") == 1
    # What it did not use goes to the other one.
    assert sum(one["requests"] for one in good["loops"]) > 50


@pytest.mark.parametrize(
    ("samples", "wanted"),
    [
        ([], {}),
        ([7.0], {"p50": 7.0, "p90": 7.0, "p95": 7.0, "p99": 7.0, "max": 7.0}),
        (
            [float(number) for number in range(100, 0, -1)],
            {"p50": 50.0, "p90": 90.0, "p95": 95.0, "p99": 99.0, "max": 100.0},
        ),
        ([1.0, 2.0, 3.0], {"p50": 2.0, "p90": 3.0, "p95": 3.0, "p99": 3.0, "max": 3.0}),
    ],
)
def test_percentiles_are_times_that_an_answer_took(samples, wanted):
    assert profile.percentiles(samples) == wanted


def test_a_loop_is_told_in_figures():
    tally = http_load.Tally(
        [10.0, 30.0], Counter({200: 2, 503: 2}), Counter({"reset": 1}), Counter(HIT=3, MISS=1),
        4000, elapsed=2.0, own_cpu=0.5,
    )  # fmt: skip
    load = workers.WorkerActivity(Counter(database=3, cpu=1, idle=9), cpu_seconds=0.4)
    told = profile.describe_loop(tally, load)
    assert (told["requests"], told["errors"], told["throughput"]) == (5, 3, 1.0)
    assert (told["wire_bytes"], told["hit_rate"], told["cpu_ms"]) == (1000, 0.75, 100.0)
    assert (told["waits"], told["looks"]) == ({"cpu": 0.25, "database": 0.75}, 4)
    assert told["client_cpu_share"] == 0.25
    assert (told["quantiles_ms"][0], told["quantiles_ms"][-1]) == (10.0, 30.0)


def test_nothing_is_told_of_what_was_not_seen():
    told = profile.describe_loop(http_load.Tally(elapsed=1.0), workers.WorkerActivity())
    assert (told["latency_ms"], told["quantiles_ms"], told["waits"]) == ({}, [], {})
    assert (told["wire_bytes"], told["hit_rate"], told["cpu_ms"]) == (None, None, None)


def loop(kind, p95, waits, cpu_ms=5.0, statuses=None, busy=0.1, looks=100):
    latency = {"p50": p95 / 2, "p95": p95}
    return {
        "cache": "cold", "loop": kind, "latency_ms": latency, "waits": waits, "cpu_ms": cpu_ms, "looks": looks,
        "statuses": statuses or {"200": 9}, "client_cpu_share": busy,
    }  # fmt: skip


def endpoint(name, p95, waits, **more):
    loops = [loop("closed", 2 * p95, waits, **more), loop("open", p95, waits, **more)]
    return {"name": name, "error": None, "loops": loops}


def test_the_slowest_are_named_with_what_they_wait_for():
    bad = {"name": "/bad", "error": "not measured: it answers 500", "loops": []}
    measured = [
        endpoint("/fast", 2.0, {"cpu": 1.0}),
        endpoint("/slow", 90.0, {"cpu": 0.05, "database": 0.95}),
        bad,
    ]
    assert profile.message(measured) == (
        "2 of 3 endpoints were measured. Slowest: /slow p95 90 ms (database 95%); /fast p95 2 ms (cpu 100%). "
        "/bad: not measured: it answers 500."
    )


@pytest.mark.parametrize("looks", [0, 3])
def test_without_enough_looks_at_workers_only_cpu_is_known(looks):
    (told,) = profile.slowest([endpoint("/", 20.0, {"redis": 1.0}, cpu_ms=5.0, looks=looks)])
    assert told["waits_for"] == "cpu 50%, unknown 50%"


def test_figures_that_say_less_than_they_seem_to_are_told():
    measured = [
        endpoint("/limited", 1.0, {}, statuses={"200": 1, "429": 7}),
        endpoint("/static", 1.0, {}, busy=0.95),
    ]
    limited, busy = profile.warnings(measured)
    assert "/limited: a rate limit refused 14 requests" in limited
    assert "/static: the client was busy 95% of the time" in busy


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (["products"], r"endpoints\[0\]: wanted a path that begins with /"),
        (["/", {"name": "x"}], r"endpoints\[1\]: wanted a path"),
        ([7], r"endpoints\[0\]: wanted a path"),
        (
            [{"path": "/", "method": "POST"}],
            "method is no setting; there are headers, name and path",
        ),
        (["/a?token=s3cret", "/a?token=other"], r"endpoints\[1\]: another one is called /a\?…"),
        ([{"path": "/", "headers": {"a b": "c"}}], "'a b' is no header"),
    ],
)
def test_an_endpoint_that_makes_no_sense_is_refused(given, why):
    with pytest.raises(ArgumentError, match=why):
        profile.read_endpoints(given, PARAMS)


def test_tls_is_refused():
    with pytest.raises(ArgumentError, match="must begin with http://"):
        profile.read_endpoints(["/"], {**PARAMS, "base_url": "https://shop.example"})


def test_an_endpoint_is_called_by_its_path_or_its_name_and_shows_no_query():
    given = ["/a?token=s3cret", {"path": "/a?page=2", "name": "second page"}]
    assert [one.name for one in profile.read_endpoints(given, PARAMS)] == ["/a?…", "second page"]


@pytest.mark.parametrize(
    ("name", "value"), [("concurrency", 0), ("concurrency", 201), ("seconds", 0), ("rate", -1)]
)
def test_bounds_that_are_none_are_refused(name, value):
    good = {"seconds": 3.0, "concurrency": 10, "rate": 50.0, "max_requests": 20000}
    assert profile.read_plan(good) == profile.Plan(3.0, 10, 50.0, 20000)
    with pytest.raises(ArgumentError, match=f"{name} must be at"):
        profile.read_plan({**good, name: value})


def test_routes_are_found_among_whatever_the_app_says():
    said = f'loading\n{profile.MARK}["/", "/about"]\ngoodbye\n'
    assert profile.read_routes(0, said) == ["/", "/about"]


@pytest.mark.parametrize(
    ("status", "said", "why"),
    [
        (1, "Traceback\nAttributeError: no url_map\n\n", "status 1: AttributeError: no url_map"),
        (0, "", "nothing was said"),
        (0, f"{profile.MARK}[]\n", "no route for GET without arguments"),
    ],
)
def test_an_app_whose_routes_are_not_found_is_told_what_to_do(status, said, why):
    with pytest.raises(ArgumentError, match=why) as raised:
        profile.read_routes(status, said)
    assert "name what to measure in endpoints" in str(raised.value)
