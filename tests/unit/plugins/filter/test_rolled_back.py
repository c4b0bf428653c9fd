# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A withdrawn release is reported with person, time and place, if any host has them in its history."""

from __future__ import annotations

from ansible_collections.evenkeel.flask.plugins.filter.rolled_back import rolled_back

KNOWN = {
    "release": "2.0-b",
    "digest": "d2",
    "to": "1.0-a",
    "time": "2026-11-24T14:00:00+00:00",
    "who": "alice",
    "controller": "ci-7",
}


def test_one_host_that_knows_is_enough():
    assert rolled_back({"app1": [], "app2": [KNOWN], "app3": None}, "2.0-b", "d2") == [
        "2.0-b was rolled back on app2 at 2026-11-24T14:00:00+00:00 by alice from ci-7, to 1.0-a"
    ]


def test_the_same_code_in_another_configuration_is_told_as_such():
    (line,) = rolled_back({"app1": [KNOWN]}, "2.0-c", "d2")
    assert line.startswith("2.0-c has the code of 2.0-b, which was rolled back on app1")


def test_another_release_is_not_meant():
    assert rolled_back({"app1": [KNOWN, {**KNOWN, "digest": None}]}, "3.0-d", "d3") == []
    assert rolled_back({"app1": [{**KNOWN, "digest": None}]}, "3.0-d", "") == []
