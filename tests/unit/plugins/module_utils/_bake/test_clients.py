# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The client of a request, and the addresses that represent many clients."""

from __future__ import annotations

import pytest
from ansible_collections.evenkeel.flask.plugins.module_utils._bake import clients
from ansible_collections.evenkeel.flask.plugins.module_utils._bake.clients import RouteStats, Tally
from hypothesis import given
from hypothesis import strategies as st

ALWAYS = {None, "127.0.0.1"}


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("127.0.0.53", "127.0.0.1"),
        ("::1", "127.0.0.1"),
        ("unix:", "unix:"),
        ("", None),
        (None, None),
        (17, None),
        ([], None),
    ],
)
def test_a_client_is_an_address_or_a_network_of_ipv6(address, client):
    assert clients.client_of(address) == client


@given(st.text())
def test_any_text_names_a_client_in_bounds(text):
    assert len(clients.client_of(text) or "") <= 64


@pytest.mark.parametrize(
    ("counts", "shared"),
    [
        ({}, set()),
        ({"10.0.0.1": 500}, {"10.0.0.1"}),
        ({"10.0.0.1": 500, "10.0.0.2": 400}, {"10.0.0.1", "10.0.0.2"}),
        ({"10.0.0.1": 500, "192.0.2.1": 3, "192.0.2.2": 2}, {"10.0.0.1"}),
        ({"10.0.0.1": 500, "127.0.0.1": 900, "192.0.2.1": 3}, {"10.0.0.1"}),
        ({"10.0.0.1": 10}, set()),
        ({"10.0.0.1": 50, "10.0.0.2": 50, "10.0.0.3": 50}, set()),
        ({"10.0.0.1": 5000, **{f"192.0.2.{n}": 1 for n in range(10)}}, set()),
        ({None: 500}, set()),
    ],
    ids=[
        "nobody",
        "one balancer",
        "two balancers",
        "strays beside it",
        "the gate asked from the host",
        "too few to tell",
        "three clients",
        "one busy client among many",
        "no addresses",
    ],
)
def test_an_address_that_sends_nearly_all_stands_for_many_clients(counts, shared):
    before = {client: Tally(asked) for client, asked in counts.items()}
    assert clients.find_shared(before) == shared | ALWAYS


@given(
    st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 1000), min_size=5),
    st.integers(1, 1_000_000),
)
def test_no_visitor_of_a_site_with_five_clients_counts_for_many(counts, asked):
    before = {client: Tally(number) for client, number in {**counts, "visitor": asked}.items()}
    assert clients.find_shared(before) == ALWAYS


def test_the_times_of_a_client_are_its_newest():
    served = RouteStats()
    for number in range(3000):
        served.add("a", False, float(number))
    times = served.by_client["a"].ms
    assert times[-1] == 2999.0
    assert clients.MAX_SAMPLES <= len(times) <= 2 * clients.MAX_SAMPLES


def test_who_asked_last_comes_last():
    served = RouteStats()
    for client in "abca":
        served.add(client, client == "b", 1.0)
    assert list(served.by_client) == ["b", "c", "a"]
    assert (served.of(["a", "z"]).asked, served.without(["a"]).errors) == (2, 1)
    assert served.busiest(()) == [2, 1]
