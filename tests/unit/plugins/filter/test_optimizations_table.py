# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The states of the measures: one line per state, with the hosts that have it."""

from __future__ import annotations

import yaml
from ansible_collections.evenkeel.flask.plugins.filter import optimizations_table as plugin
from ansible_collections.evenkeel.flask.plugins.filter.optimizations_table import (
    HEAD,
    optimizations_table,
)

JSON = {"measure": "json", "state": "applied", "detail": "orjson"}
CACHE = {"measure": "cache", "state": "off", "detail": ""}


def test_hosts_of_one_outcome_share_a_line():
    found = {
        "app1": {"optimizations": [JSON, CACHE]},
        "app2": {"optimizations": [JSON, {**CACHE, "state": "applied", "detail": "in Redis"}]},
    }
    assert optimizations_table(found) == [
        "measure  state    detail    hosts",
        "json     applied  orjson    app1, app2",
        "cache    off      -         app1",
        "cache    applied  in Redis  app2",
    ]


def test_hosts_of_which_nothing_is_known_make_no_line():
    found = {"app1": {}, "app2": None, "app3": {"optimizations": []}, "app4": {"unreachable": True}}
    assert len(optimizations_table(found)) == 1


def test_ansible_finds_it_and_its_documentation():
    assert plugin.FilterModule().filters() == {"optimizations_table": optimizations_table}
    assert yaml.safe_load(plugin.DOCUMENTATION)["name"] == "optimizations_table"
    assert yaml.safe_load(plugin.EXAMPLES)
    assert yaml.safe_load(plugin.RETURN)
    assert len(HEAD) == 4
