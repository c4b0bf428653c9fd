# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HAProxy's states of servers in its own format, and the commands that it receives."""

from __future__ import annotations

import pytest
from ansible_collections.evenkeel.flask.plugins.module_utils._balancer.haproxy import HAProxy, parse
from ansible_collections.evenkeel.flask.plugins.module_utils._balancer.plan import Server
from ansible_collections.evenkeel.flask.plugins.module_utils._errors import BalancerError
from ansible_collections.evenkeel.flask.tests.unit.plugins.haproxy import serving

DRAIN, MAINT, BY_CONFIGURATION, NO_ADDRESS = 0x08, 0x01, 0x05, 0x20


@pytest.fixture(name="haproxy", params=["unix", "tcp"])
def _haproxy(request, tmp_path):
    path = str(tmp_path / "admin.sock") if request.param == "unix" else None
    with serving({"app1": (0, "UP", 3), "app2": (DRAIN, "DRAIN", 0)}, path) as running:
        yield running


@pytest.mark.parametrize(
    ("admin", "status", "state"),
    [
        (0, "UP", "serving"),
        (0, "UP 1/3", "serving"),
        (0, "no check", "serving"),
        (0, "DOWN", "down"),
        (0, "DOWN 1/2", "down"),
        (0, "NOLB", "down"),
        (DRAIN, "DRAIN", "drained"),
        (DRAIN, "DOWN", "drained"),
        (DRAIN | MAINT, "MAINT", "maintenance"),
        (MAINT, "MAINT", "maintenance"),
        (BY_CONFIGURATION, "MAINT", "maintenance"),
        (NO_ADDRESS, "MAINT (resolution)", "down"),
        # A weight of nothing, by the configuration.
        (0, "DRAIN", "down"),
    ],
)
def test_what_it_does_with_a_server_is_read_from_both_of_its_tables(tmp_path, admin, status, state):
    with serving({"app1": (admin, status, 7)}, str(tmp_path / "admin.sock")) as running:
        haproxy = HAProxy("app1", running.address, "app")
        assert haproxy.servers() == {"app1": Server(state, 7)}


def test_servers_of_other_backends_are_not_taken_for_ours():
    statistics = "# pxname,svname,scur,status,\nother,app1,9,UP,\napp,app1,1,UP,\n"
    states = "1\n# be_name srv_name srv_admin_state\napp app1 0\n\n"
    assert parse(states, statistics, "app") == {"app1": Server("serving", 1)}


def test_a_server_is_drained_and_made_ready(haproxy):
    app1 = HAProxy("app1", haproxy.address, "app")
    app1.take_out()
    assert app1.servers()["app1"].state == "drained"
    app1.put_back()
    assert app1.servers()["app1"].state == "serving"
    assert [word for word in haproxy.asked if word.startswith("set")] == [
        "set server app/app1 state drain",
        "set server app/app1 state ready",
    ]


def test_a_backend_that_is_not_there_is_told_in_haproxys_words(haproxy):
    with pytest.raises(BalancerError, match=r"backend ap: Can't find backend\. Name one"):
        HAProxy("app1", haproxy.address, "ap").servers()


def test_a_server_that_is_not_there_is_told_with_those_that_are(haproxy):
    with pytest.raises(BalancerError, match=r"has no server app9; it has app1, app2\."):
        HAProxy("app9", haproxy.address, "app").servers()


def test_a_socket_that_may_only_be_read_is_told(haproxy):
    haproxy.is_admin = False
    with pytest.raises(BalancerError, match=r"Permission denied.*must be of level admin"):
        HAProxy("app1", haproxy.address, "app").take_out()


@pytest.mark.parametrize("address", ["/nowhere/admin.sock", "127.0.0.1:1"])
def test_a_socket_that_does_not_answer_is_named(address):
    with pytest.raises(BalancerError, match=rf"{address} does not answer: .*stats socket PATH"):
        HAProxy("app1", address, "app").servers()
