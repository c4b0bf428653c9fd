# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The environment of an app: services are found, and the user's values have precedence."""

from __future__ import annotations

import inspect

import pytest
import yaml
from ansible_collections.evenkeel.flask.plugins.filter import app_environment as plugin
from ansible_collections.evenkeel.flask.plugins.filter.app_environment import app_environment

DATABASE = "postgresql+psycopg://shop:hunter2@data/shop"
REDIS = "redis://data:6379/0"


@pytest.mark.parametrize(
    ("services", "found"),
    [
        ({}, {}),
        (
            {"database_url": DATABASE},
            {"DATABASE_URL": DATABASE, "SQLALCHEMY_DATABASE_URI": DATABASE},
        ),
        ({"redis_url": REDIS}, {"REDIS_URL": REDIS}),
        ({"database_url": "", "redis_url": ""}, {}),
    ],
)
def test_an_app_finds_the_services_that_there_are(services, found):
    assert app_environment({"LANG": "C.UTF-8"}, **services) == {"LANG": "C.UTF-8", **found}


def test_what_the_user_named_wins_over_what_was_derived():
    env = {"DATABASE_URL": "sqlite://", "REDIS_URL": ""}
    assert app_environment(env, database_url=DATABASE, redis_url=REDIS) == {
        "DATABASE_URL": "sqlite://",
        "SQLALCHEMY_DATABASE_URI": DATABASE,
        "REDIS_URL": "",
    }


def test_a_secret_wins_over_all():
    env = {"REDIS_URL": "redis://open", "TOKEN": "open"}
    secrets = {"REDIS_URL": "redis://secret", "TOKEN": "secret"}
    assert app_environment(env, secrets, redis_url=REDIS) == secrets


def test_every_value_is_text():
    assert app_environment({"WORKERS": 5, "DEBUG": False}, {"PIN": 17}) == {
        "WORKERS": "5",
        "DEBUG": "False",
        "PIN": "17",
    }


def test_the_users_variables_are_left_as_they_were():
    env, secrets = {"A": 1}, {"B": 2}
    app_environment(env, secrets, redis_url=REDIS)
    assert (env, secrets) == ({"A": 1}, {"B": 2})


def test_the_documentation_is_the_filter():
    docs = yaml.safe_load(plugin.DOCUMENTATION)
    parameters = inspect.signature(app_environment).parameters
    assert plugin.FilterModule().filters() == {docs["name"]: app_environment}
    assert list(docs["options"]) == ["_input", *list(parameters)[1:]]
    assert docs["positional"] == list(parameters)[1]
    assert yaml.safe_load(plugin.EXAMPLES)
    assert yaml.safe_load(plugin.RETURN)
