# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Monitor a release that serves users, by its health endpoint, its unit and its logs."""

from __future__ import annotations

import contextlib
import datetime
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from .._system import untrusted
from . import leaks, traffic

# The length of the log that is read for the release before, in bytes and seconds.
MAX_BYTES = 16 * 1024 * 1024
BEFORE_SECONDS = 600
# A log that grows by more bytes between two reads is not a valid source of evidence.
MAX_GROWTH_BYTES = 64 * 1024 * 1024
INTERVAL = 1.0


class Tail:
    """New lines of a log, beginning C(back) bytes before its end. A rotation loses no line.

    @raises UntrustedError: if it is not a regular file, or grows without bounds
    """

    def __init__(self, path: str, back: int = 0) -> None:
        self.path = path
        self._rest = b""
        self._file = self._open()
        if self._file is not None:
            size = os.fstat(self._file).st_size
            os.lseek(self._file, max(0, size - back), os.SEEK_SET)

    def _open(self) -> int | None:
        try:
            return untrusted.open_file(self.path)
        except FileNotFoundError:
            return None

    def lines(self) -> list[str]:
        """Return the complete lines since the last call."""
        data = self._rest + self._read()
        current = self._open()
        if current is not None:
            if self._file is None or not os.path.samestat(os.fstat(current), os.fstat(self._file)):
                # Lines written to the old file until its writers noticed the rename.
                data += self._read()
                self.close()
                self._file = current
                data += self._read()
            else:
                os.close(current)
        whole, _newline, self._rest = data.rpartition(b"\n")
        if len(self._rest) > MAX_BYTES:
            raise untrusted.UntrustedError(
                f"{self.path} has a line of more than {MAX_BYTES >> 20} MiB; find out what writes to it, "
                "and move it away."
            )
        return whole.decode("utf-8", "replace").splitlines()

    def _read(self) -> bytes:
        if self._file is None:
            return b""
        data = untrusted.read_on(self._file, MAX_GROWTH_BYTES + 1)
        if len(data) > MAX_GROWTH_BYTES:
            raise untrusted.UntrustedError(
                f"{self.path} grew by more than {MAX_GROWTH_BYTES >> 20} MiB since the last look at it; have "
                "the app log less, or find out what writes to it."
            )
        return data

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


@dataclass
class BakeMonitor:
    """A release that has just gone live, and its predecessor.

    @param health: checks the health endpoint; returns what is wrong with the response, or V(None)
    @param unit: returns systemd's state of the slot, as C(slots.unit_state)
    @param workers: returns the resources of the slot's workers by process id, as C(procfs.workers), and
        those of the predecessor's workers, whose slot is still warm
    """

    release: str
    against: str | None
    directory: str
    health_path: str
    health: Callable[[], str | None]
    unit: Callable[[], dict[str, str]]
    workers: Callable[[], Mapping[int, leaks.Resources]]
    warm_workers: Callable[[], Mapping[int, leaks.Resources]]
    max_slowdown: float
    clock: Callable[[], float] = time.monotonic
    now: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep
    before: traffic.Traffic = field(default_factory=traffic.Traffic)
    after: traffic.Traffic = field(default_factory=traffic.Traffic)
    seen: dict[int, list[leaks.WorkerSample]] = field(default_factory=dict)

    def problems(self, seconds: float) -> list[str]:
        """Monitor for this many seconds, or until there is evidence against the release; return it."""
        back = MAX_BYTES if self.against else 0
        with contextlib.ExitStack() as stack:
            try:
                access, app = (
                    stack.enter_context(
                        contextlib.closing(Tail(os.path.join(self.directory, name), back))
                    )
                    for name in ("access.log", "app.log")
                )
                return self._problems(access, app, seconds)
            except untrusted.UntrustedError as error:
                return [str(error).rstrip(".")]

    def _problems(self, access: Tail, app: Tail, seconds: float) -> list[str]:
        end = self.clock() + seconds
        self._past(access, app)
        self._see()
        since, restarts = stamp(self.now()), self.unit().get("NRestarts")
        while True:
            found = self._look(access, app, since, restarts)
            left = end - self.clock()
            if found or left <= 0:
                return found
            self.sleep(min(INTERVAL, left))

    def _past(self, access: Tail, app: Tail) -> None:
        """Read the log lines of the other release, and leave the logs at their ends."""
        if self.against:
            since = stamp(self.now() - BEFORE_SECONDS)
            asked = traffic.requests(access.lines(), self.against, since)
            self.before.add(asked, traffic.route(self.health_path))
            self.before.add_log_lines(app.lines(), self.against, since)
            self.before.held = leaks.most(self.warm_workers())

    def _look(self, access: Tail, app: Tail, since: str, restarts: str | None) -> list[str]:
        problem = self.health()
        if problem:
            return [f"{self.health_path}: {problem}"]
        state = self.unit()
        if state.get("ActiveState") != "active" or state.get("NRestarts") != restarts:
            return [f"gunicorn died ({state.get('Result', 'unknown')})"]
        asked = traffic.requests(access.lines(), self.release, since)
        self.after.add(asked, traffic.route(self.health_path))
        self.after.add_log_lines(app.lines(), self.release, since)
        self._see()
        problems = traffic.evaluate(self.before, self.after, self.max_slowdown)
        is_comparable = traffic.is_fair(self.before, self.after)
        # Resources that workers use for the requests of one client are not a leak of the release.
        if is_comparable and not traffic.is_of_one_client(self.before, self.after):
            problems += leaks.evaluate(self.seen, self.before.held) if self.before.held else []
        return problems

    def news(self) -> dict[str, int]:
        """Return the kinds of errors that only the release logs, and their counts."""
        return traffic.news(self.before, self.after)

    def warning(self) -> str | None:
        """Warn that clients could not be distinguished, if one address sent most of the requests."""
        return traffic.warning(self.before, self.after)

    def _see(self) -> None:
        workers = self.workers()
        # Ended workers were recycled, and are no longer evidence.
        self.seen = {
            pid: [*self.seen.get(pid, ()), leaks.WorkerSample(self.after.by_worker[pid], held)]
            for pid, held in workers.items()
        }
        self.after.held = leaks.most(workers)


def stamp(seconds: float) -> str:
    """Format a time as in the lines of the logs."""
    moment = datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
