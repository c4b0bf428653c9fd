# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module as a task sees it."""

from __future__ import annotations

import socket
import sys

import pytest
import yaml
from ansible_collections.evenkeel.flask.plugins.module_utils._errors import (
    PreflightError,
    PreflightWarning,
)
from ansible_collections.evenkeel.flask.plugins.module_utils._release import lock
from ansible_collections.evenkeel.flask.plugins.module_utils._services import (
    postgres as services_postgres,
)
from ansible_collections.evenkeel.flask.plugins.module_utils._services import (
    redis as services_redis,
)
from ansible_collections.evenkeel.flask.plugins.modules import preflight
from ansible_collections.evenkeel.flask.tests.unit.plugins.run_module import run_module

SERVER = services_postgres.Server("15.18", max_connections=100, reserved=3)
FLEET = {"workers": 5, "threads": 1, "pool_size": 20, "max_overflow": 40, "hosts": 8}
REDIS = "redis://shop:hunter2@data:6379/0"
DATABASE = "postgresql://shop:hunter2@data/shop"
ALICE = {"run": "a/1/1", "who": "alice", "controller": "ci-7"}
BOB = {"run": "b/2/2", "who": "bob", "controller": "laptop"}


def check(check_mode=False, **params):
    good = {"name": "shop", "python": sys.executable, "min_free_mb": 0}
    return run_module(preflight, check_mode, **{**good, **params})


@pytest.fixture(autouse=True)
def _lock_file(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "path", lambda _app: str(tmp_path / "lock"))


@pytest.fixture(autouse=True, name="asked")
def _asked(monkeypatch):
    """Services that answer well, and what they were asked."""
    asked = []

    def redis(*args):
        asked.append(args)
        return services_redis.Server("7.0.15", 0, "noeviction")

    def postgres(*args):
        asked.append(args)
        return SERVER

    monkeypatch.setattr(services_redis, "check_connection", redis)
    monkeypatch.setattr(services_postgres, "check_connection", postgres)
    monkeypatch.setattr(services_postgres, "lock_timeout_ms", lambda *_args: 5000)
    return asked


@pytest.mark.parametrize("check_mode", [False, True])
def test_a_good_host_is_described_and_not_changed(check_mode):
    said = check(
        check_mode, controller_time=0, max_clock_skew=1e12, redis_url=REDIS, database_url=DATABASE
    )
    assert not said.get("failed")
    assert said["changed"] is False
    assert said["problems"] == []
    assert set(said["target"]) == {"python_version", "python_tag", "machine", "libc"}
    assert said["free_mb"] >= 0
    assert said["clock_skew_seconds"] > 0
    assert (said["redis_version"], said["database_version"]) == ("7.0.15", "15.18")
    assert said["database_max_connections"] == 100
    assert said["redis_maxmemory_policy"] == "noeviction"


def test_only_what_is_named_is_asked(asked):
    said = check()
    assert asked == []
    assert not {"redis_version", "database_version", "clock_skew_seconds"} & set(said)


def test_all_problems_are_told_at_once_with_their_variables(monkeypatch):
    def refuse(*_args):
        raise PreflightError("data does not answer.")

    monkeypatch.setattr(services_redis, "check_connection", refuse)
    monkeypatch.setattr(services_postgres, "check_connection", refuse)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = check(
            python="/nowhere/python3", min_free_mb=10**12, controller_time=0, redis_url=REDIS,
            database_url=DATABASE, ports={"flask_app_port": port, "nginx_candidate_port": "http"},
        )  # fmt: skip
    assert said["failed"] is True
    assert [problem.partition(":")[0] for problem in said["problems"]] == [
        "flask_app_python", "rollout_min_free_mb", "clock", "nginx_candidate_port", "flask_app_port",
        "redis_client_url", "flask_app_database_url",
    ]  # fmt: skip
    assert said["msg"].splitlines() == said["problems"]
    assert said["free_mb"] >= 0


def test_an_owner_of_a_port_may_have_it():
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        open("/proc/self/comm", encoding="utf-8") as comm,
    ):
        ports = {"flask_app_port": taken.getsockname()[1]}
        assert not check(ports=ports, port_owners=[comm.read().strip()]).get("failed")


@pytest.mark.parametrize(
    ("hosts", "problems"),
    [(8, []), (10, ["gunicorn_workers: 5 workers x 1 connection x 10 hosts x 2 slots = 100"])],
)
def test_the_fleet_must_fit_what_the_database_allows(hosts, problems):
    said = check(database_url=DATABASE, connections={**FLEET, "hosts": hosts})
    assert [problem.partition(",")[0] for problem in said["problems"]] == problems
    assert said["database_version"] == "15.18"


@pytest.fixture(name="warned")
def _warned(monkeypatch):
    # What ansible-core makes of a warning differs from version to version.
    warned = []
    monkeypatch.setattr(preflight.AnsibleModule, "warn", lambda _self, text: warned.append(text))
    return warned


def test_a_pool_that_could_hold_too_much_is_a_warning(warned):
    said = check(database_url=DATABASE, connections=FLEET)
    assert not said.get("failed")
    assert "4800 connections, and the database allows 97" in warned[0]


def test_a_doubt_is_a_warning(monkeypatch, warned):
    def doubt(*_args):
        raise PreflightWarning("was not proven.")

    monkeypatch.setattr(services_postgres, "check_connection", doubt)
    said = check(database_url=DATABASE)
    assert not said.get("failed")
    assert warned == ["flask_app_database_url: was not proven."]


@pytest.mark.parametrize(("prefix", "used"), [({}, "shop:"), ({"redis_key_prefix": ""}, "")])
def test_the_key_begins_with_the_name_unless_told(asked, prefix, used):
    check(redis_url=REDIS, timeout=2, **prefix)
    assert asked == [(REDIS, used, 2.0)]


def test_a_database_of_another_kind_is_not_logged_in_to(asked):
    said = check(database_url="sqlite:////srv/shop/shared/shop.db", connections=FLEET)
    assert not said.get("failed")
    assert asked == []


def test_a_host_that_another_run_has_is_not_looked_at(asked):
    assert check(lock_seconds=60, **ALICE)["holder"]["who"] == "alice"
    said = check(lock_seconds=60, redis_url=REDIS, **BOB)
    assert "A rollout of shop is under way: alice started it on ci-7" in said["msg"]
    assert (said["problems"], said["holder"]["who"]) == ([said["msg"]], "alice")
    assert asked == []


@pytest.mark.parametrize("taken", [{"force": True}, {"gone": "a/1/1"}])
def test_the_lock_of_a_run_that_is_known_to_be_gone_is_taken(taken):
    check(lock_seconds=60, **ALICE)
    assert check(lock_seconds=60, **BOB, **taken)["holder"]["who"] == "bob"


def test_check_mode_takes_no_lock():
    check(check_mode=True, lock_seconds=60, **ALICE)
    assert check(lock_seconds=60, **BOB)["holder"]["who"] == "bob"


def test_urls_are_never_shown():
    said = check(redis_url=REDIS, database_url=DATABASE)
    assert "hunter2" not in str(said)


def test_every_value_that_is_returned_is_documented(warned):
    said = check(
        controller_time=0,
        max_clock_skew=1e12,
        redis_url=REDIS,
        database_url=DATABASE,
        connections=FLEET,
        lock_timeout=5,
        lock_seconds=60,
        **ALICE,
    )
    returned = set(said) - {"changed", "invocation", "warnings"}
    assert returned == set(yaml.safe_load(preflight.RETURN)) - {"warnings"}
    assert yaml.safe_load(preflight.EXAMPLES)


OWN = {name: FLEET[name] for name in ("workers", "threads", "pool_size", "max_overflow")}


@pytest.mark.parametrize("connections", [FLEET, {"fleet": [OWN] * 8}])
def test_a_fleet_is_counted_by_its_size_or_host_by_host(connections, monkeypatch):
    monkeypatch.setattr(
        services_postgres,
        "check_connection",
        lambda *_args: services_postgres.Server("15.18", 82, 3),
    )
    said = check(database_url=DATABASE, connections=connections)
    assert said["problems"] == [
        "gunicorn_workers: 5 workers x 1 connection x 8 hosts x 2 slots = 80, and the database allows 79 "
        "(max_connections 82 less 3 reserved); at most gunicorn_workers: 4 fits, or let the server allow more."
    ]


@pytest.mark.parametrize("connections", [{"slots": 2}, {"hosts": 8}, {"fleet": [{"workers": 1}]}])
def test_figures_that_are_not_whole_are_refused(connections):
    assert check(database_url=DATABASE, connections=connections)["failed"]


def test_a_lock_timeout_is_tried_only_where_there_is_something_to_migrate():
    assert check(database_url=DATABASE, lock_timeout=5)["lock_timeout_applies"] is True
    assert "lock_timeout_applies" not in check(database_url=DATABASE)


@pytest.mark.parametrize(
    ("url", "answer", "said"),
    [
        (
            "postgresql+asyncpg://shop:x@data/shop",
            5000,
            "the driver asyncpg does not read PGOPTIONS",
        ),
        ("postgresql+pg8000://shop:x@data/shop", 5000, "the driver pg8000 does not read PGOPTIONS"),
        (DATABASE, 0, "the server ignores PGOPTIONS"),
        (
            DATABASE,
            services_postgres.Refused("data", "08P01", "unsupported startup parameter: options"),
            "the server does not take PGOPTIONS (unsupported startup parameter: options)",
        ),
    ],
)
def test_a_lock_timeout_that_does_not_reach_the_server_is_told(
    monkeypatch, warned, url, answer, said
):
    """And then a migration is run without it, since a pooler would refuse its login."""

    def ask(*_args):
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(services_postgres, "lock_timeout_ms", ask)
    found = check(database_url=url, lock_timeout=5)
    assert found["lock_timeout_applies"] is False
    assert found["problems"] == []
    assert any(f"flask_app_migrate_lock_timeout: {said}" in line for line in warned)
