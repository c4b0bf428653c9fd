# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A client has a number of requests per minute for all hosts, and a refused request costs almost nothing."""

from __future__ import annotations

import pytest
from ansible_collections.evenkeel.flask.roles.redis_client.files import evenkeel_limit
from werkzeug.test import Client
from werkzeug.wrappers import Response

ALICE, BOB = "203.0.113.7", "203.0.113.8"


@pytest.fixture(name="worker")
def _worker(store):
    """One of a fleet's workers."""

    def worker(per_minute=3, **options):
        limit = evenkeel_limit.FleetLimit(
            Response("welcome"),
            store.guarded(),
            "shop:",
            per_minute,
            clock=lambda: store.time,
            **options,
        )
        client = Client(limit)

        def ask(address=ALICE, path="/", method="GET"):
            return client.open(path, method=method, environ_overrides={"REMOTE_ADDR": address})

        return ask

    return worker


def statuses(ask, times, *args):
    return [ask(*args).status_code for _turn in range(times)]


def test_who_asks_too_often_is_refused_and_told_when_to_come_again(worker, store):
    ask = worker()
    assert statuses(ask, 3) == [200, 200, 200]
    store.inside.pexpire("shop:limit:" + ALICE, 41_500)
    answer = ask()
    assert answer.status_code == 429
    assert answer.headers["Retry-After"] == "42"
    assert answer.text == "Too many requests. Try again in 42 s.\n"
    assert answer.content_type == "text/plain; charset=utf-8"


def test_a_refusal_to_show_the_head_has_no_body(worker):
    ask = worker(per_minute=0)
    answer = ask(method="HEAD")
    assert answer.status_code == 429
    assert answer.data == b""


def test_all_workers_of_all_hosts_count_together(worker):
    asks = [worker() for _turn in range(4)]
    assert sorted(ask().status_code for ask in asks) == [200, 200, 200, 429]


def test_one_client_does_not_use_up_the_requests_of_another(worker):
    ask = worker()
    assert statuses(ask, 4) == [200, 200, 200, 429]
    assert ask(BOB).status_code == 200


def test_it_costs_one_round_trip(worker, store):
    ask = worker()
    ask()
    ask()
    assert store.asked == 2


def test_a_window_begins_with_its_first_request_and_ends_in_any_case(worker, store):
    ask = worker()
    ask()
    store.inside.pexpire("shop:limit:" + ALICE, 30_000)
    ask()
    assert 0 < store.inside.pttl("shop:limit:" + ALICE) <= 30_000


def test_who_is_over_costs_no_redis_until_the_window_ends(worker, store):
    ask = worker()
    statuses(ask, 4)
    asked = store.asked
    store.time += 30
    answer = ask()
    assert answer.status_code == 429
    assert 29 <= int(answer.headers["Retry-After"]) <= 30
    assert store.asked == asked
    store.inside.flushall()
    store.time += 30
    assert ask().status_code == 200
    assert store.asked == asked + 1


def test_no_number_of_clients_fills_a_worker(worker, monkeypatch, store):
    monkeypatch.setattr(evenkeel_limit, "CLIENTS", 5)
    limit = evenkeel_limit.FleetLimit(Response("welcome"), store.guarded(), "shop:", 0)
    ask = Client(limit)
    for number in range(50):
        assert (
            ask.get("/", environ_overrides={"REMOTE_ADDR": f"10.0.0.{number}"}).status_code == 429
        )
    assert 0 < len(limit.over) <= 5
    assert limit.client.cache_info().currsize == 5


def test_a_network_of_ipv6_is_one_client(worker):
    ask = worker()
    addresses = ["2001:db8::1", "2001:db8::2", "2001:db8:0:0:ffff::", "2001:db8::3"]
    assert [ask(address).status_code for address in addresses] == [200, 200, 200, 429]
    assert ask("2001:db8:0:1::1").status_code == 200


def test_an_address_is_the_same_client_in_ipv6_dress(worker):
    ask = worker(per_minute=1)
    assert ask("::ffff:" + ALICE).status_code == 200
    assert ask(ALICE).status_code == 429


@pytest.mark.parametrize("address", ["unknown", "fe80::1%eth0"])
def test_a_client_without_a_sound_address_is_counted_as_well(worker, address):
    ask = worker()
    assert statuses(ask, 4, address) == [200, 200, 200, 429]


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "::1", "::ffff:127.0.0.2", "192.0.2.9", "2001:db8:7::1", "", None]
)
def test_who_is_exempt_asks_as_often_as_it_likes(worker, store, address):
    ask = worker(per_minute=0, exempt_networks=["192.0.2.0/24", "2001:db8:7::/48"])
    assert ask(address).status_code == 200
    assert store.asked == 0


def test_the_exempt_paths_are_free_and_no_others(worker, store):
    ask = worker(per_minute=0, exempt_paths=["/health"])
    assert ask(path="/health?full=1").status_code == 200
    assert store.asked == 0
    assert ask(path="/health/").status_code == 429
    assert ask(path="/healthy").status_code == 429


def test_nobody_is_refused_because_redis_is_away(worker, store):
    ask = worker(per_minute=0)
    store.go()
    assert statuses(ask, 3) == [200, 200, 200]
    store.come_back()
    assert ask().status_code == 429


@pytest.mark.parametrize(
    ("path", "method", "is_counted"),
    [
        ("/health", "GET", False),
        ("/health", "POST", False),
        ("/Health", "GET", True),
        ("/x/../health", "GET", True),
        ("/static/a b.css", "GET", False),
        ("/static/a b.css", "HEAD", False),
        ("/static/a b.css", "POST", True),
        ("/static/b.css", "GET", True),
        ("/x/../static/a b.css", "GET", True),
    ],
)
def test_what_is_not_counted(worker, path, method, is_counted):
    ask = worker(per_minute=0, exempt_paths=["/health"], exempt_files=["/static/a%20b.css"])
    assert (ask(path=path, method=method).status_code == 429) == is_counted


def test_a_health_endpoint_below_a_prefix_is_not_counted(store):
    limit = evenkeel_limit.FleetLimit(
        Response("welcome"), store.guarded(), "shop:", 0, exempt_paths=["/kitchen/health"]
    )
    client = Client(limit)

    def status(path):
        outer = {"REMOTE_ADDR": ALICE, "SCRIPT_NAME": "/kitchen", "PATH_INFO": path}
        return client.get("/", environ_overrides=outer).status_code

    assert [status("/health"), status("/pages")] == [200, 429]


def test_a_refusal_is_marked_for_the_access_log_so_that_no_release_is_blamed_for_it(store):
    limit = evenkeel_limit.FleetLimit(Response("welcome"), store.guarded(), "shop:", 1)
    marked = []
    for _turn in range(2):
        environ = {"REMOTE_ADDR": ALICE, "PATH_INFO": "/", "REQUEST_METHOD": "GET"}
        b"".join(limit(environ, lambda *_answer: None))
        marked.append(environ.get("evenkeel.limited"))
    assert marked == [None, True]
