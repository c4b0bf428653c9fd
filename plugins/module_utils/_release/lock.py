# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lock of a rollout on a host, which names its holder and expires by itself."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Callable

from .. import _timing
from .._errors import LockError
from .._system import untrusted

MAX_BYTES = 1 << 16
# The options that identify the run; plugins/doc_fragments/run.py documents them.
RUN_SPEC: dict[str, Any] = {name: {"type": "str"} for name in ("run", "who", "controller")}
# The options of a module that can take the lock of another run.
TAKE_SPEC: dict[str, Any] = {
    **RUN_SPEC,
    "force": {"type": "bool", "default": False},
    "gone": {"type": "str", "default": ""},
}


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
        """Parse a lock, or return V(None) for a file that is empty, or that a crash left incomplete."""
        try:
            fields = json.loads(text)
            return cls(
                str(fields["run"]),
                str(fields["who"]),
                str(fields["controller"]),
                float(fields["since"]),
                float(fields["until"]),
            )
        except (ValueError, KeyError, TypeError, RecursionError):
            return None

    def to_text(self) -> str:
        return json.dumps(vars(self), sort_keys=True) + "\n"

    def as_dict(self) -> dict[str, str]:
        """Return the lock for people, with times in ISO 8601."""
        return {
            "run": self.run,
            "who": self.who,
            "controller": self.controller,
            "since": _timing.iso(self.since),
            "until": _timing.iso(self.until),
        }


class HeldError(LockError):
    """Another run holds the lock."""

    def __init__(self, app: str, lock: Lock) -> None:
        holder = lock.as_dict()
        super().__init__(
            f"A rollout of {app} is under way: {holder['who']} started it on {holder['controller']} at "
            f"{holder['since']}, and its lock lasts until {holder['until']}. Wait for its end. If it is known to "
            "be gone, break its lock: -e rollout_break_lock=true",
            holder,
        )


def next_lock(
    app: str, found: Lock | None, requested: Lock, gone: str = "", force: bool = False
) -> Lock:
    """Return the lock to write: a new one, or the run's own, extended.

    @param found: the lock on the host
    @param requested: the lock from now on; C(since) is now
    @param gone: a run that is known to have ended without releasing its lock
    @param force: take the lock from any other run
    @raises HeldError: if another run has it
    """
    if found is None or found.until <= requested.since:
        return requested
    if found.run == requested.run:
        return replace(requested, since=found.since)
    if force or found.run == gone:
        return requested
    raise HeldError(app, found)


def new_lock(run: str, who: str, controller: str, seconds: float) -> Lock:
    """Return a run's lock from now on."""
    now = time.time()
    return Lock(run, who, controller, now, now + seconds)


def path(app: str, directory: str = "/run") -> str:
    """Return the path of an app's lock. A reboot removes it."""
    return os.path.join(directory, f"evenkeel-{app}.lock")


def acquire(
    path: str,
    app: str,
    requested: Lock,
    gone: str = "",
    force: bool = False,
    check_mode: bool = False,
) -> tuple[Lock | None, Lock | None]:
    """Acquire a lock as C(next_lock) decides; return the lock before and after."""
    return _change(
        path, lambda found: next_lock(app, found, requested, gone, force), check_mode, force
    )


def acquire_for(
    path: str, params: Mapping[str, Any], seconds: float, check_mode: bool
) -> tuple[Lock | None, Lock | None]:
    """Acquire a lock for the run of a module's options (RUN_SPEC or TAKE_SPEC, and the app's name)."""
    requested = new_lock(params["run"], params["who"], params["controller"], seconds)
    gone, force = params.get("gone", ""), params.get("force", False)
    return acquire(path, params["name"], requested, gone, force, check_mode)


def unlock(path: str, run: str, check_mode: bool = False) -> tuple[Lock | None, Lock | None]:
    """Release a run's own lock, and no other; return the lock before and after."""
    return _change(path, lambda found: None if found and found.run == run else found, check_mode)


def _change(
    path: str,
    decide: Callable[[Lock | None], Lock | None],
    check_mode: bool,
    force: bool = False,
) -> tuple[Lock | None, Lock | None]:
    try:
        return _change_file(path, decide, check_mode, force)
    except untrusted.UntrustedError as error:
        raise LockError(f"The lock cannot be had: {error}") from error
    except OSError as error:
        raise LockError(f"The lock {path} cannot be kept: {error.strerror}.") from error


def _change_file(
    path: str,
    decide: Callable[[Lock | None], Lock | None],
    check_mode: bool,
    force: bool,
) -> tuple[Lock | None, Lock | None]:
    if check_mode:
        found = _read(path)
        return found, decide(found)
    remedy = ", or take the lock from it: -e rollout_break_lock=true"
    with untrusted.locked(path, force=force, remedy=remedy) as descriptor:
        found = Lock.from_text(untrusted.read_on(descriptor, MAX_BYTES).decode("utf-8", "replace"))
        lock = decide(found)
        if lock != found:
            os.lseek(descriptor, 0, os.SEEK_SET)
            os.truncate(descriptor, 0)
            os.write(descriptor, lock.to_text().encode() if lock else b"")
        return found, lock


def _read(path: str) -> Lock | None:
    try:
        return Lock.from_text(untrusted.read(path, MAX_BYTES).decode("utf-8", "replace"))
    except FileNotFoundError:
        return None
