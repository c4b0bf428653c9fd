# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table has a line for each endpoint, and the notes for each host."""

from __future__ import annotations

import yaml
from ansible_collections.evenkeel.flask.plugins.filter import profile_table as plugin
from ansible_collections.evenkeel.flask.plugins.filter.profile_table import profile_table
from ansible_collections.evenkeel.flask.plugins.plugin_utils._report import profile


def test_without_hosts_there_is_a_head():
    assert profile_table({}) == ["  ".join((*profile.HEAD, *profile.FIGURES, *profile.TAIL))]


def test_the_documentation_is_the_filter():
    docs = yaml.safe_load(plugin.DOCUMENTATION)
    assert plugin.FilterModule().filters() == {docs["name"]: profile_table}
    assert list(docs["options"]) == ["_input", "before"]
    assert yaml.safe_load(plugin.EXAMPLES)
    assert yaml.safe_load(plugin.RETURN)
