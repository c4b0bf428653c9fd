# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The preflight against a real PostgreSQL: what it refuses would not have fitted."""

from __future__ import annotations

import contextlib
import sys

import pytest
from ansible_collections.evenkeel.flask.plugins.module_utils._errors import PreflightError
from ansible_collections.evenkeel.flask.plugins.module_utils._migrations import pg_catalog
from ansible_collections.evenkeel.flask.plugins.modules import preflight
from ansible_collections.evenkeel.flask.tests.unit.plugins import postgresql
from ansible_collections.evenkeel.flask.tests.unit.plugins.run_module import run_module

# ansible-test has its own environment, without it.
psycopg = pytest.importorskip("psycopg")

pytestmark = pytest.mark.slow
SLOTS = 2


@pytest.fixture(scope="module", name="server")
def _server():
    with postgresql.serving(max_connections=12, superuser_reserved_connections=3) as server:
        yield server


def check(server, *workers, **params):
    figures = {"threads": 1, "pool_size": 5, "max_overflow": 0}
    fleet = [{"workers": number, **figures} for number in workers]
    good = {"name": "shop", "python": sys.executable, "min_free_mb": 0}
    return run_module(
        preflight, database_url=server.url, connections={"fleet": fleet}, **good, **params
    )


def can_hold(server, number):
    """Whether the app's user is really given so many connections at once."""
    with contextlib.ExitStack() as held:
        try:
            for _number in range(number):
                held.enter_context(server.connect())
        except psycopg.OperationalError:
            return False
        return True


@pytest.mark.parametrize("workers", [(4,), (5,), (2, 2), (2, 3), (1, 1, 2), (1, 1, 3)])
def test_a_fleet_is_refused_exactly_when_its_connections_do_not_fit(server, workers):
    result = check(server, *workers)
    assert bool(result["problems"]) == (not can_hold(server, sum(workers) * SLOTS))
    if result["problems"]:
        (problem,) = result["problems"]
        assert problem.startswith("gunicorn_workers: ")
        assert "the database allows 9 (max_connections 12 less 3 reserved)" in problem


def test_a_limit_of_the_user_counts(server):
    with server.connect("root") as root:
        root.execute("ALTER ROLE shop CONNECTION LIMIT 5")
        try:
            (problem,) = check(server, 3)["problems"]
            assert "the database allows 5 (the CONNECTION LIMIT of the user)" in problem
            assert not can_hold(server, 3 * SLOTS)
        finally:
            root.execute("ALTER ROLE shop CONNECTION LIMIT -1")


def test_the_lock_timeout_is_the_servers_own_word(server):
    assert check(server, 1, lock_timeout=5)["lock_timeout_applies"] is True


def test_what_cannot_be_counted_is_not_small_and_a_size_is_counted_and_not_believed(server):
    with server.connect() as connection, server.connect("root") as root:
        connection.execute("CREATE TABLE few (a int); INSERT INTO few SELECT generate_series(1, 3)")
        connection.execute(
            "CREATE TABLE many (a int); INSERT INTO many SELECT generate_series(1, 50)"
        )
        connection.execute("CREATE TABLE parts (a int) PARTITION BY RANGE (a)")
        connection.execute(
            "CREATE TABLE part PARTITION OF parts DEFAULT; INSERT INTO parts SELECT generate_series(1, 20)"
        )
        root.execute("CREATE TABLE foreign_to_it (a int)")
        names = ["few", "many", "parts", "foreign_to_it", "not_there"]
        tables = pg_catalog.read(server.url, 5, names, [], 10).tables
        assert [table.rows if table else None for table in tables.values()] == [3, 11, 11, 11, None]
        # A locked table does not delay the check.
        root.execute("BEGIN; LOCK TABLE few")
        assert pg_catalog.read(server.url, 5, ["few"], [], 10).tables["few"].rows is None
        root.execute("ROLLBACK")


def test_a_server_that_does_not_let_in_is_told(server):
    with pytest.raises(PreflightError, match="refused the login"):
        pg_catalog.read(server.url.replace("s3", "s4"), 5, ["few"], [], 10)
