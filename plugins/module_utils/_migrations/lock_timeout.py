# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a migration that gives up if it does not get a lock, and repeat it then.

While a migration waits for a lock, all later queries wait behind it. Pure, except for the functions
that are passed in.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from . import sql_changes as sql

# Drivers of PostgreSQL that do not read PGOPTIONS, as libpq does.
DEAF_DRIVERS = ("asyncpg", "pg8000")
# Seconds before the first repeat; each further wait is twice as long.
FIRST_WAIT_SECONDS = 5
MAX_WAIT_SECONDS = 300
# The random share of the wait, so that two migrations do not collide again.
MAX_JITTER = 0.2
# SQLSTATE lock_not_available, as psycopg, asyncpg and pg8000 write it, and the server's message.
LOCK_TIMEOUT = re.compile(r"canceling statement due to lock timeout|\b55P03\b|\bLockNotAvailable\b")
STATEMENT = re.compile(r"\[SQL: (.*?)\]\s*$", re.DOTALL | re.MULTILINE)
OWN = re.compile(r"\block_timeout\b")


@dataclass(frozen=True)
class Outcome:
    """The result of the last attempt."""

    status: int
    output: str
    attempts: int
    # Indexes that the attempts have left invalid, if any.
    left: Sequence[str] = ()

    @property
    def is_locked_out(self) -> bool:
        return self.status != 0 and is_lock_timeout(self.output)


def options(seconds: int, own: str = "") -> str | None:
    """Return PGOPTIONS with a lock timeout, or None if there is nothing to add.

    @param own: the app's own PGOPTIONS, which have priority
    """
    if seconds <= 0 or OWN.search(own):
        return None
    return f"{own} -c lock_timeout={seconds}s".strip()


def is_lock_timeout(output: str) -> bool:
    return bool(LOCK_TIMEOUT.search(output))


def blocked_table(output: str) -> str:
    """Return the table of a failed statement, from SQLAlchemy's output; "" if it is not known."""
    statement = STATEMENT.search(output)
    tables = [one.table for one in sql.changes(statement.group(1))] if statement else []
    return next((table for table in tables if table and table != sql.CHOSEN), "")


def wait_seconds(attempt: int, random: Callable[[], float]) -> float:
    """Return the wait in seconds after the failed attempt with this number, from 1.

    @param random: returns a number from 0 to 1
    """
    seconds: float = min(FIRST_WAIT_SECONDS * 2.0 ** (attempt - 1), MAX_WAIT_SECONDS)
    return seconds * (1 + MAX_JITTER * random())


def run(
    attempt: Callable[[], tuple[int, str]],
    retries: int,
    sleep: Callable[[float], None],
    random: Callable[[], float],
    invalid_indexes: Callable[[], Sequence[str]],
) -> Outcome:
    """Run an attempt, and repeat it only after a lock timeout.

    An index that an attempt leaves invalid ends the repetition: CREATE INDEX IF NOT EXISTS would accept
    it, and without IF NOT EXISTS the repeat fails.

    @param attempt: returns status and output
    @param invalid_indexes: returns the names of the current ones
    """
    before = set(invalid_indexes())
    number = 1
    while True:
        status, output = attempt()
        left = [name for name in invalid_indexes() if name not in before] if status else []
        outcome = Outcome(status, output, number, left)
        if not outcome.is_locked_out or left or number > retries:
            return outcome
        sleep(wait_seconds(number, random))
        number += 1
