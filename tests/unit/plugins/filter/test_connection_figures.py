# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each host of a fleet holds connections, whether a run is about it or not."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.evenkeel.flask.plugins.filter.connection_figures import connection_figures


def test_each_host_has_its_own_variables_and_else_the_roles_defaults():
    hosts = {"app1": {}, "app2": {"gunicorn_workers": "9", "flask_app_pool_size": 3}, "data": {}}
    defaults = {"workers": 5, "threads": 1, "pool_size": 20, "max_overflow": 40}
    assert connection_figures(hosts, ["app1", "app2"]) == [
        defaults,
        {**defaults, "workers": 9, "pool_size": 3},
    ]


@pytest.mark.parametrize("value", ["many", None, "{{ undefined }}"])
def test_a_figure_that_is_none_is_told_with_its_host(value):
    with pytest.raises(AnsibleFilterError, match="gunicorn_workers: the value of app1 is not a"):
        connection_figures({"app1": {"gunicorn_workers": value}}, ["app1"])
