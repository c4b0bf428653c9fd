# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fleet at a glance: every host is in the table, and what is wrong is to be seen."""

from __future__ import annotations

import pytest
import yaml
from ansible_collections.evenkeel.flask.plugins.filter import status_table as plugin
from ansible_collections.evenkeel.flask.plugins.filter.status_table import status_table
from ansible_collections.evenkeel.flask.plugins.modules import release_info

# The status of a healthy host, as the module returns it.
GOOD = {
    **{name: value.get("sample") for name, value in yaml.safe_load(release_info.RETURN).items()},
    "live": "2.0.0-b",
    "answering": "2.0.0-b",
    "live_slot": "green",
    "candidate": None,
    "previous": "1.0.0-a",
    "since": "2026-11-24T14:00:00+00:00",
    "drift": [],
    "healthy": True,
}
BARE = dict.fromkeys(GOOD) | {"healthy": False}


def cells(line):
    """Split where two blanks or more part the columns."""
    return [cell.strip() for cell in line.split("  ") if cell.strip()]


def row(info):
    return cells(status_table({"app1": info})[1])


def test_a_fleet_is_a_table_with_a_line_for_each_host():
    assert status_table({"app1": GOOD, "app10": BARE, "app2": None}) == [
        "host   live release  slot   candidate  previous  since                      drift  healthy",
        "app1   2.0.0-b       green  -          1.0.0-a   2026-11-24T14:00:00+00:00  -      yes",
        "app10  -             -      -          -         -                          -      NO",
        "app2   ?             ?      ?          ?         ?                          ?      unreachable",
    ]


def test_a_fleet_without_hosts_is_a_head_alone():
    assert status_table({}) == ["  ".join(plugin.HEAD)]


@pytest.mark.parametrize("info", [None, {}, {"msg": "no route to host", "unreachable": True}])
def test_a_host_that_could_not_be_asked_is_in_the_table(info):
    assert row(info) == ["app1", *"??????", "unreachable"]


@pytest.mark.parametrize(
    ("live", "answering", "text"),
    [
        ("b", "b", "b"),
        (None, None, "-"),
        ("b", "a", "b, but a answers"),
        ("b", None, "b, but nobody answers"),
        (None, "a", "-, but a answers"),
    ],
)
def test_who_answers_is_named_where_it_is_not_the_live_release(live, answering, text):
    assert row({**GOOD, "live": live, "answering": answering})[1] == text


def test_a_host_that_is_not_healthy_catches_the_eye():
    assert row({**GOOD, "healthy": False})[-1] == "NO"


def test_what_is_not_as_it_was_left_is_named():
    assert row({**GOOD, "drift": ["config/x.py", "env"]})[-2] == "config/x.py, env"


def test_a_candidate_on_trial_is_shown():
    assert row({**GOOD, "candidate": "3.0.0-c"})[3] == "3.0.0-c"


def test_the_documentation_is_the_filter():
    docs = yaml.safe_load(plugin.DOCUMENTATION)
    assert plugin.FilterModule().filters() == {docs["name"]: status_table}
    assert list(docs["options"]) == ["_input", "balancers"]
    assert yaml.safe_load(plugin.EXAMPLES)
    assert yaml.safe_load(plugin.RETURN)


def seen(**states):
    return {"results": [{"item": name, "before": state} for name, state in states.items()]}


@pytest.mark.parametrize(
    ("state", "cell"),
    [
        (seen(lb1="serving", lb2="serving"), "serving"),
        (seen(lb1="serving", lb2="drained"), "lb1: serving, lb2: drained"),
        ({"results": [{"item": "lb1", "msg": "no route to host"}]}, "?"),
        (None, "?"),
    ],
)
def test_how_the_balancers_have_a_host_is_a_column_where_they_were_asked(state, cell):
    head, row = status_table({"app1": GOOD}, {"app1": state})
    assert (cells(head)[-1], cells(row)[-1]) == ("balancer", cell)
