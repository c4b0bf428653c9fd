# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bake counts clients: one client has no release taken back, and a bad release still is."""

from __future__ import annotations

import itertools
import json
import random

import pytest
from ansible_collections.evenkeel.flask.plugins.module_utils._bake import traffic as bake
from hypothesis import assume, example, given
from hypothesis import strategies as st

BEFORE, AFTER = "1-a", "2-b"
VISITOR = "203.0.113.66"
ids = (f"id{number}" for number in itertools.count())


def access(client, path="/", status=200, ms=3.0, request_id=None, **more):
    record = {"path": path, "status": status, "duration_ms": ms, "remote_addr": client}
    return {**record, "request_id": request_id or next(ids), **more}


def error(client, message, request_id, **more):
    record = {"level": "ERROR", "logger": "shop", "message": message, "request_id": request_id}
    return {**record, **({"remote_addr": client} if client else {}), **more}


def traffic(release, asked, said=()):
    found = bake.Traffic()
    lines = [json.dumps({"time": "2026", "release": release, **one}) for one in asked]
    found.add(bake.requests(lines, release, ""), "/health")
    lines = [json.dumps({"time": "2026", "release": release, **one}) for one in said]
    found.add_log_lines(lines, release, "")
    return found


def crowd(number, of=50, **more):
    return [access(f"198.51.100.{turn % of}", **more) for turn in range(number)]


def judged(before, after):
    return bake.evaluate(before, after, 1.25)


WORDS = [
    "amber",
    "birch",
    "cedar",
    "delta",
    "ember",
    "fjord",
    "grove",
    "heron",
    "ivory",
    "juniper",
    "karst",
    "larch",
]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ([access(VISITOR, "/old", 500)] * 2, []),
        ([access(VISITOR, "/", 429)] * 6, []),
        ([access(VISITOR, f"/{word}", 500) for word in WORDS] * 20, []),
        ([access(f"2001:db8:0:1::{number}", "/old", 500) for number in range(9)], []),
        (
            [access(VISITOR, "/login", request_id=word) for word in WORDS],
            [error(VISITOR, f"login failed for {word}", word) for word in WORDS],
        ),
        # Lines of an older release, which have no address; and ids that no request has.
        (
            [access(VISITOR, "/login", request_id=word) for word in WORDS],
            [error(None, f"login failed for {word}", word) for word in WORDS],
        ),
        (
            [access(VISITOR, "/login") for _word in WORDS],
            [error(None, f"login failed for {word}", word) for word in WORDS],
        ),
        # A visitor that uses the ids of other requests.
        (
            [access(VISITOR, "/login", request_id=f"foreign{n}") for n in range(40)]
            + [access(f"198.51.100.{n}", request_id=f"foreign{n}") for n in range(40)],
            [error(None, "login failed", f"foreign{n}") for n in range(40)],
        ),
        ([access(VISITOR, "/search", ms=900.0 + number) for number in range(40)], []),
        (
            [access(VISITOR, request_id=f"loud{number}") for number in range(40)],
            [error(VISITOR, "x" * 4_000, f"loud{number}", level="INFO") for number in range(40)],
        ),
        (
            [access(VISITOR, request_id="named")],
            [error(VISITOR, "WORKER TIMEOUT (pid:11)", "named")],
        ),
        (
            [access(VISITOR, request_id="named")],
            [{"level": "INFO", "logger": "shop", "message": "login of WORKER TIMEOUT (pid:11)"}],
        ),
    ],
    ids=[
        "a page that always failed",
        "refused by a limit",
        "many routes",
        "many addresses of one IPv6 network",
        "errors of many kinds",
        "without an address",
        "without a request",
        "ids of others",
        "costly searches",
        "a full disk",
        "the words of the arbiter",
        "the words of the arbiter as its name",
    ],
)
def test_one_visitor_has_no_good_release_taken_back(asked, said):
    searches = crowd(400, path="/search", ms=5.0)
    before = traffic(BEFORE, crowd(2000) + searches)
    after = traffic(AFTER, crowd(200) + searches[:20] + asked, said)
    assert judged(before, after) == []


# What one client may do: any route and status, fast or slow, with errors and ids of any kind.
ROUTES = st.sampled_from(["/", "/cart", "/search", "/old"])
STATUSES = st.sampled_from([200, 200, 200, 404, 429, 500, 503])
TIMES = st.sampled_from([1.0, 3.0, 3.5, 40.0, 900.0])
SAID = st.sampled_from([None, None, None, "no mail", "lost 17", "x" * 900])
IDS = st.sampled_from([None, None, "one", "two"])
LINES = st.lists(
    st.tuples(ROUTES, STATUSES, TIMES, SAID, IDS, st.sampled_from([1, 1, 3, 12])), max_size=4
)


def lines_of(client, lines, addressed=True):
    asked, said = [], []
    for path, status, ms, message, request_id, times in lines:
        for _turn in range(times):
            own = request_id or next(ids)
            asked.append(access(client, path, status, ms, own))
            if message:
                said.append(error(client if addressed else None, message, own))
    return asked, said


def joined(parts):
    asked, said = [], []
    for more_asked, more_said in parts:
        asked += more_asked
        said += more_said
    return asked, said


def by_client(population, addressed=True):
    return joined(
        lines_of(f"198.51.100.{number}", lines, addressed)
        for number, lines in enumerate(population)
    )


@pytest.fixture(autouse=True, scope="module")
def _little_is_much():
    """So that an example needs no hundred kilobytes to fill a disk."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bake, "MAX_LOGGED", 512)
        yield


def plainly_judged(before, after):
    """The judgement that believes each client, and asks for no number of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bake, "LEFT_OUT", 0)
        patch.setattr(bake, "MIN_CLIENTS", 1)
        shared = bake.find_shared(before.total.by_client)
        return bake._evaluate(before, after, 1.25, shared)


POPULATION = st.lists(LINES, max_size=8)
KNOWN = st.lists(LINES.filter(bool), min_size=5, max_size=8)


@given(KNOWN, POPULATION, LINES, LINES, st.booleans())
def test_whatever_one_client_does_traffic_that_passes_still_passes(
    was, now, visited_before, visited, addressed
):
    check_that_it_still_passes(was, now, visited_before, visited, addressed)


@given(st.lists(LINES, max_size=4), POPULATION, LINES, LINES)
def test_nor_on_a_site_with_few_clients_unless_it_sent_most_requests_before(
    was, now, visited_before, visited
):
    asked = len(by_client(was)[0])
    assume(not visited_before or len(lines_of(VISITOR, visited_before)[0]) <= asked)
    check_that_it_still_passes(was, now, visited_before, visited)


def check_that_it_still_passes(was, now, visited_before, visited, addressed=True):
    was_asked, was_said = by_client(was, addressed)
    now_asked, now_said = by_client(now, addressed)
    usual = traffic(BEFORE, was_asked, was_said), traffic(AFTER, now_asked, now_said)
    assume(not plainly_judged(*usual))
    asked, said = lines_of(VISITOR, visited_before, addressed)
    before = traffic(BEFORE, was_asked + asked, was_said + said)
    asked, said = lines_of(VISITOR, visited, addressed)
    after = traffic(AFTER, now_asked + asked, now_said + said)
    assert judged(before, after) == []


@given(LINES, LINES)
@example([("/", 200, 3.0, None, None, 1)], [("/old", 500, 3.0, None, None, 60)])
def test_a_visitor_beside_an_untrusted_balancer_has_no_release_taken_back(visited_before, visited):
    before = traffic(BEFORE, crowd(400, of=1) + lines_of(VISITOR, visited_before)[0][:20])
    after = traffic(AFTER, *joined([(crowd(40, of=1), []), lines_of(VISITOR, visited)]))
    assert judged(before, after) == []


def broken(of, path="/products/7", **more):
    return crowd(4 * of, of=of, path=path, **more)


BAD = {
    "a page fails": (
        lambda of: (broken(of, status=500), []),
        r"/products/\*: \d+ of \d+ requests failed",
    ),
    "a page fails for half": (
        lambda of: (broken(of, status=500)[: 2 * of] + broken(of)[: 2 * of], []),
        r"/products/\*: \d+ of \d+ requests failed",
    ),
    "many are sent away": (
        lambda of: (broken(of, status=429), []),
        r"/products/\*: \d+ of \d+ requests failed",
    ),
    "failures are spread over routes": (
        lambda of: (
            [one for word in WORDS for one in crowd(1, of=of, path=f"/{word}", status=500)]
            + [access(f"198.51.100.{n % of}", f"/{n}x", 500) for n in range(12)],
            [],
        ),
        r"\d+ of \d+ requests failed",
    ),
    "a page is slow": (
        lambda of: (crowd(15 * of, of=of, path="/search", ms=60.0), []),
        r"/search: 12.0 times as slow as before",
    ),
    "errors are logged": (
        lambda of: (
            [access(f"198.51.100.{n % of}", request_id=f"e{n}") for n in range(max(40, 2 * of))],
            [error(f"198.51.100.{n % of}", "no mail", f"e{n}") for n in range(max(40, 2 * of))],
        ),
        r"\d+ of \d+ requests logged errors of a new kind",
    ),
    "the disk is filled": (
        lambda of: (
            [access(f"198.51.100.{n % of}", request_id=f"e{n}") for n in range(max(40, 2 * of))],
            [
                error(f"198.51.100.{n % of}", "x" * 3_000, f"e{n}", level="INFO")
                for n in range(max(40, 2 * of))
            ],
        ),
        r"\d+ KiB are logged for each request",
    ),
}


@pytest.mark.parametrize("of", [1, 2, 3, 5, 40])
@pytest.mark.parametrize("bad", BAD)
def test_a_bad_release_is_refused_by_one_balancer_and_by_many_clients(bad, of):
    release, says = BAD[bad]
    asked, said = release(of)
    before = traffic(BEFORE, crowd(4000, of=of) + crowd(400, of=of, path="/search", ms=5.0))
    (problem,) = judged(before, traffic(AFTER, crowd(20, of=of) + asked, said))
    assert bake.re.match(says, problem)


@pytest.mark.parametrize("of", [1, 2, 40])
@pytest.mark.parametrize("bad", BAD)
def test_a_visitor_hides_no_bad_release(bad, of):
    """Not by good requests before or after, and not by failures before."""
    release, says = BAD[bad]
    asked, said = release(of)
    mine = [access(VISITOR, path, ms=3.0) for path in ("/products/7", "/search", "/") * 10]
    failed = [access(VISITOR, path, 500) for path in ("/products/7", "/search", "/") * 3]
    before = traffic(
        BEFORE, crowd(4000, of=of) + crowd(400, of=of, path="/search", ms=5.0) + mine + failed
    )
    problems = judged(before, traffic(AFTER, crowd(20, of=of) + asked + mine, said))
    assert any(bake.re.match(says, problem) for problem in problems)


def test_a_refusal_says_how_many_clients_were_affected():
    before = traffic(BEFORE, crowd(1000))
    after = traffic(
        AFTER, crowd(40) + crowd(12, of=4, path="/cart", status=500) + crowd(10, path="/cart")
    )
    assert judged(before, after) == [
        "/cart: 12 of 22 requests failed for 4 of 10 clients, before 0 of 0"
    ]


def test_a_refusal_names_the_balancer_that_clients_cannot_be_told_apart_behind():
    before = traffic(BEFORE, crowd(1000, of=1))
    after = traffic(AFTER, crowd(40, of=1) + crowd(12, of=1, path="/cart", status=500))
    assert judged(before, after) == [
        "/cart: 12 of 12 requests failed, all of them through 198.51.100.0, before 0 of 0"
    ]
    assert bake.warning(before, after) == (
        "nginx_trusted_proxies: 52 of 52 requests came from 198.51.100.0; each of them was counted by "
        "itself, so one visitor can have a release taken back. If this is a balancer, name it there."
    )


def test_a_client_that_sends_most_requests_of_a_known_crowd_is_warned_of():
    before, after = traffic(BEFORE, crowd(1000)), traffic(AFTER, [access(VISITOR)] * 30)
    assert "count as those of one client" in bake.warning(before, after)
    assert bake.warning(before, traffic(AFTER, crowd(100))) is None


def test_what_the_collection_s_own_limit_refuses_is_no_failure():
    before = traffic(BEFORE, crowd(1000))
    own = traffic(AFTER, crowd(100) + crowd(50, status=429, limited=True))
    assert (judged(before, own), own.total.asked) == ([], 100)
    of_the_app = traffic(AFTER, crowd(100) + crowd(50, status=429))
    assert judged(before, of_the_app)


def test_errors_of_one_template_are_of_one_kind():
    kinds = {
        bake.kind_of(error(VISITOR, f"login failed for {word}", "", template="login failed for %s"))
        for word in WORDS
    }
    assert kinds == {"shop: login failed for %s"}


def test_a_client_adds_so_many_kinds_of_errors_and_no_more():
    said = [error(VISITOR, "".join(pair), "mine") for pair in itertools.product(WORDS, WORDS)]
    after = traffic(AFTER, [access(VISITOR, request_id="mine")], said)
    assert len(after.logged) == bake.MAX_KINDS


@pytest.mark.parametrize("of", [4, 10, 100])
@pytest.mark.parametrize(
    ("rate", "was", "refused"), [(0.02, 0.0, True), (0.0005, 0.0, False), (0.02, 0.02, False)]
)
def test_rare_failures_are_caught_and_usual_ones_are_not(of, rate, was, refused):
    """Two minutes at fifteen requests a second, as in the catalogue, after ten minutes of the same."""
    found = [watched(of, rate, was, seed) for seed in range(4)]
    assert sum(found) == (len(found) if refused else 0)


def watched(of, rate, was, seed):
    rng = random.Random(seed)

    def ask(traffic, number, rate):
        traffic.add(
            bake.RequestSample(
                "/", 500 if rng.random() < rate else 200, 5.0, client=f"192.0.2.{rng.randrange(of)}"
            )
            for _turn in range(number)
        )

    before, after = bake.Traffic(), bake.Traffic()
    ask(before, 9000, was)
    for _look in range(24):
        ask(after, 75, rate)
        if bake.evaluate(before, after, 1e9):
            return True
    return False
