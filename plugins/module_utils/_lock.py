# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may roll out on a host: a lock that names its holder, and ends by itself.

This file is private to the collection.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import IO


@dataclass(frozen=True)
class Lock:
    """A run that rolls out; C(since) and C(until) are seconds since 1970 by the host's clock."""

    run: str
    who: str
    controller: str
    since: float
    until: float

    @classmethod
    def from_text(cls, text: str) -> Lock | None:
        """Read a lock, or return V(None) for a file that is empty, or that a crash left unfinished."""
        try:
            told = json.loads(text)
            return cls(
                str(told["run"]),
                str(told["who"]),
                str(told["controller"]),
                float(told["since"]),
                float(told["until"]),
            )
        except (ValueError, KeyError, TypeError):
            return None

    def to_text(self) -> str:
        return json.dumps(vars(self), sort_keys=True) + "\n"

    def told(self) -> dict[str, str]:
        """The lock as people read it."""
        return {
            "run": self.run,
            "who": self.who,
            "controller": self.controller,
            "since": _iso(self.since),
            "until": _iso(self.until),
        }


class HeldError(Exception):
    """Another run holds the lock."""

    def __init__(self, app: str, lock: Lock) -> None:
        told = lock.told()
        super().__init__(
            f"A rollout of {app} is under way: {told['who']} started it on {told['controller']} at "
            f"{told['since']}, and its lock lasts until {told['until']}. Wait for its end. If it is known to "
            "be gone, break its lock: -e rollout_break_lock=true"
        )
        self.lock = lock


def take(app: str, found: Lock | None, wanted: Lock, gone: str = "", force: bool = False) -> Lock:
    """The lock as it is to be written: a new one, or a run's own for longer.

    @param found: what the host has
    @param wanted: the lock from now on; C(since) is now
    @param gone: a run that is known to have ended without giving its lock back
    @param force: take it from whoever has it
    @raises HeldError: when another run has it
    """
    if found is None or found.until <= wanted.since:
        return wanted
    if found.run == wanted.run:
        return replace(wanted, since=found.since)
    if force or found.run == gone:
        return wanted
    raise HeldError(app, found)


@contextlib.contextmanager
def opened(path: str) -> Iterator[IO[str]]:
    """The file that holds the lock, for as long as it takes to read it and to write it."""
    with open(
        os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644), "r+", encoding="utf-8"
    ) as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield stream


def read(path: str) -> Lock | None:
    try:
        with open(path, encoding="utf-8") as stream:
            return Lock.from_text(stream.read())
    except FileNotFoundError:
        return None


def write(stream: IO[str], lock: Lock | None) -> None:
    """Put C(lock), or nothing, where another one was."""
    stream.seek(0)
    stream.truncate()
    stream.write(lock.to_text() if lock else "")
    stream.flush()


def _iso(seconds: float) -> str:
    moment = datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)
    return moment.isoformat(timespec="seconds")
