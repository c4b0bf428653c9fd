# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A migration that waits for a lock blocks users behind it, so it gives up and tries again."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from ansible_collections.evenkeel.flask.plugins.module_utils._migrations import (
    lock_timeout,
    pg_catalog,
)
from ansible_collections.evenkeel.flask.tests.unit.plugins import postgresql

PSYCOPG = """\
sqlalchemy.exc.OperationalError: (psycopg.errors.LockNotAvailable) canceling statement due to lock timeout
[SQL: ALTER TABLE "order" ADD COLUMN vat INTEGER]
(Background on this error at: https://sqlalche.me/e/20/e3q8)
"""


@pytest.mark.parametrize(
    ("output", "is_one"),
    [
        (PSYCOPG, True),
        ("asyncpg.exceptions.LockNotAvailableError: canceling statement due to lock timeout", True),
        ("{'S': 'ERROR', 'C': '55P03'}", True),
        ("canceling statement due to statement timeout", False),
        ("deadlock detected", False),
        ("", False),
    ],
)
def test_only_a_lock_timeout_is_one(output, is_one):
    assert lock_timeout.is_lock_timeout(output) == is_one


def test_the_table_is_found_in_the_failed_statement():
    assert lock_timeout.blocked_table(PSYCOPG) == "order"
    assert lock_timeout.blocked_table("55P03") == ""


@pytest.mark.parametrize(
    ("seconds", "own", "options"),
    [
        (5, "", "-c lock_timeout=5s"),
        (5, "-c search_path=shop", "-c search_path=shop -c lock_timeout=5s"),
        (5, "-c lock_timeout=1s", None),
        (0, "", None),
    ],
)
def test_what_the_app_sets_for_itself_wins(seconds, own, options):
    assert lock_timeout.options(seconds, own) == options


def run(outputs, retries=3, invalid=lambda: ()):
    """Attempts that end as it is written, and how long was waited between them."""
    waits = []
    attempts = iter(outputs)
    outcome = lock_timeout.run(lambda: next(attempts), retries, waits.append, lambda: 0.5, invalid)
    return outcome, waits


def test_it_is_repeated_after_longer_and_longer_waits():
    outcome, waits = run([(1, PSYCOPG)] * 4)
    assert (outcome.attempts, outcome.is_locked_out) == (4, True)
    assert waits == [5.5, 11.0, 22.0]


def test_a_success_and_any_other_failure_end_it():
    outcome, waits = run([(1, PSYCOPG), (0, "done")])
    assert (outcome.status, outcome.attempts, len(waits)) == (0, 2, 1)
    outcome, waits = run([(1, "syntax error"), (0, "done")])
    assert (outcome.status, outcome.attempts, waits) == (1, 1, [])


def test_an_index_that_is_left_invalid_ends_it():
    """An invalid index that existed before does not count."""
    seen = iter([["old"], ["old", "ix"]])
    outcome, waits = run([(1, PSYCOPG), (0, "done")], invalid=lambda: next(seen))
    assert (outcome.left, outcome.attempts, waits) == (["ix"], 1, [])


MIGRATE = """\
import sys, psycopg
with psycopg.connect(sys.argv[1], autocommit=True) as connection:
    try:
        connection.execute(sys.argv[2])
    except psycopg.Error as error:
        sys.exit(f"{type(error).__name__}: {error}\\n[SQL: {sys.argv[2]}]")
"""


@pytest.fixture(scope="module", name="server")
def _server():
    with postgresql.serving() as server:
        with server.connect() as connection:
            connection.execute("CREATE TABLE orders (id int); INSERT INTO orders VALUES (1)")
        yield server


def migrate(server, statement, sleep, retries=3):
    url = server.url.replace("+psycopg", "")

    def attempt():
        done = subprocess.run(
            [sys.executable, "-c", MIGRATE, url, statement],
            env={"PGOPTIONS": lock_timeout.options(1)},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stderr

    def invalid():
        return [index.name for index in pg_catalog.invalid_indexes(server.url, 5)]

    return lock_timeout.run(attempt, retries, sleep, lambda: 0.0, invalid)


@pytest.mark.slow
def test_users_go_on_behind_a_migration_that_finds_no_lock_and_it_succeeds_later(server):
    """A reader that does not end blocks ALTER TABLE, and that blocks all readers after it."""
    with server.connect(autocommit=False) as blocker, server.connect() as user:
        blocker.execute("SELECT * FROM orders")
        pid = blocker.info.backend_pid
        reads = threading.Event()

        def sleep(_seconds):
            # It has given up: the next user has a response while the blocker continues.
            assert reader.result(timeout=60) == (1,)
            assert (
                f"pid {pid} holds it (idle in transaction"
                in pg_catalog.holders(server.url, 5, "orders")[0]
            )
            blocker.rollback()
            reads.set()

        def read():
            with server.connect() as other:
                while not other.execute("SELECT 1 FROM pg_locks WHERE NOT granted").fetchone():
                    pass
            return user.execute("SELECT count(*) FROM orders").fetchone()

        with ThreadPoolExecutor() as pool:
            reader = pool.submit(read)
            outcome = migrate(server, "ALTER TABLE orders ADD vat int", sleep)
        assert reads.is_set()
    assert (outcome.status, outcome.attempts) == (0, 2)


@pytest.mark.slow
def test_an_index_that_a_timeout_leaves_behind_is_named_and_not_taken_for_made(server):
    with server.connect(autocommit=False) as blocker:
        blocker.execute("INSERT INTO orders VALUES (2)")
        outcome = migrate(
            server, "CREATE INDEX CONCURRENTLY IF NOT EXISTS ix ON orders (id)", lambda _s: None
        )
        blocker.rollback()
    assert (outcome.is_locked_out, outcome.attempts, outcome.left) == (True, 1, ["ix"])
    (index,) = pg_catalog.invalid_indexes(server.url, 5)
    assert (index.table, index.remedy) == ("orders", "DROP INDEX CONCURRENTLY ix;")
    with server.connect() as connection:
        connection.execute(index.remedy)
