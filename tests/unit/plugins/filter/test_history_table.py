# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The history has a line for each switch, also for entries that an older version wrote."""

from __future__ import annotations

import yaml
from ansible_collections.evenkeel.flask.plugins.filter import history_table as plugin
from ansible_collections.evenkeel.flask.plugins.filter.history_table import HEAD, history_table

OLD = {"time": "2026-11-01T10:00:00+00:00", "action": "release", "release": "1-a", "previous": None}
NEW = {
    **OLD,
    "time": "2026-11-02T10:00:00+00:00",
    "release": "2-b",
    "previous": "1-a",
    "who": "alice",
    "controller": "ci-7",
    "commit": "3f2a1b0c9d8e+",
    "verdict": "passed",
    "took": {"stage": 4.1, "start": 0.0, "gate": 2.4},
}


def test_the_newest_switch_of_each_host_comes_first():
    assert history_table({"app1": {"history": [OLD, NEW]}, "app2": None}) == [
        "host  when                       what     release  instead of  by     from  commit         verdict  took",
        "app1  2026-11-02T10:00:00+00:00  release  2-b      1-a         alice  ci-7  3f2a1b0c9d8e+  passed   "
        "stage 4.1 s, gate 2.4 s",
        "app1  2026-11-01T10:00:00+00:00  release  1-a      -           -      -     -              -        -",
    ]


def test_no_more_are_shown_than_were_asked_for():
    assert len(history_table({"app1": {"history": [OLD] * 5}}, 2)) == 3


def test_hosts_without_history_make_no_line():
    found = {"app1": {}, "app2": {"history": []}, "app3": {"unreachable": True}}
    assert history_table(found) == ["  ".join(HEAD)]


def test_the_documentation_is_the_filter():
    docs = yaml.safe_load(plugin.DOCUMENTATION)
    assert plugin.FilterModule().filters() == {docs["name"]: history_table}
    assert list(docs["options"]) == ["_input", "most"]
    assert yaml.safe_load(plugin.EXAMPLES)
    assert yaml.safe_load(plugin.RETURN)
