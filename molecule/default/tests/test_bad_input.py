# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bad input is reported in one message, with the variable and the remedy, and no host is changed."""

from __future__ import annotations

import json

import pytest

DATABASE = "postgresql+psycopg://storefront:wrong@data"
REDIS = "redis://storefront:wrong@data"
CASES = {
    "a mistyped name": (
        {"gunicorn_worker": 3},
        "gunicorn_worker: no such variable; did you mean gunicorn_workers?",
    ),
    "a wrong type": (
        {"gunicorn_workers": "many"},
        "gunicorn_workers: wanted a whole number, got 'many'.",
    ),
    "a mistyped setting of a check": (
        {"rollout_checks": {"helth": {}}},
        "rollout_checks.helth: no such setting; did you mean health?",
    ),
    "a source that is not there": (
        {"flask_app_source": "nowhere"},
        "nowhere is not there; name a directory or a wheel on the controller.",
    ),
    "an entry that cannot be imported": (
        {"flask_app_entry": "storefront:nothing"},
        "flask_app_entry: storefront:nothing cannot be imported: AttributeError: "
        "module 'storefront' has no attribute 'nothing'",
    ),
    "a requirement that cannot be resolved": (
        {"flask_app_requirements": ["flask==0.0.0"]},
        "flask_app_requirements: No matching distribution found for flask==0.0.0",
    ),
    "a Redis that refuses the password": (
        {"redis_client_url": f"{REDIS}:6379/0"},
        "redis_client_url: the server at data:6379 refused the password",
    ),
    "a Redis that is not there": (
        {"redis_client_url": f"{REDIS}:6380/0"},
        "redis_client_url: data:6380 does not answer (Connection refused)",
    ),
    "a database that refuses the password": (
        {"flask_app_database_url": f"{DATABASE}:5432/storefront"},
        "flask_app_database_url: the server at data:5432 refused the login",
    ),
    "a database that is not there": (
        {"flask_app_database_url": f"{DATABASE}:5433/storefront"},
        "flask_app_database_url: data:5433 does not answer (Connection refused)",
    ),
    "a port that is taken": ({"flask_app_port": 22}, "flask_app_port: 22 is taken by sshd"),
    "too little disk": (
        {"rollout_min_free_mb": 10**9},
        "rollout_min_free_mb: /srv has ",
    ),
    "a user of the system": (
        {"flask_app_user": "www-data"},
        "flask_app_user: www-data is a user of the system itself",
    ),
    "two hosts at one address": (
        {"ansible_host": "127.0.0.1", "ansible_port": 22},
        "claim one address, 127.0.0.1:22; give each host of the inventory its own.",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_input_is_told_before_any_host_is_changed(fleet, case):
    given, message = CASES[case]
    releases = fleet.releases()
    play = fleet.play("rollout", "--extra-vars", json.dumps(given))
    assert play.status != 0
    assert message in " ".join(play.said.split())
    assert "Traceback" not in play.said
    assert "wrong@" not in play.said
    assert play.changed == 0
    assert fleet.releases() == releases
