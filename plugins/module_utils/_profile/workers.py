# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sample the resources and waits of a slot's workers during a measurement."""

from __future__ import annotations

import contextlib
import os
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from .._system import procfs
from . import syscalls
from .connections import Connections

# Gives 300 samples of each worker in a loop of three seconds. A sample of five workers takes a few
# hundred microseconds of a core.
LOOK_SECONDS = 0.01
# Connections change more slowly, and counting them costs more. In samples.
LOOKS_A_COUNT = 20
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class WorkerActivity:
    """The activity of the workers during one loop."""

    states: Counter[str] = field(default_factory=Counter)
    cpu_seconds: float = 0.0

    @property
    def looks(self) -> int:
        """Return how many samples found a worker at a request."""
        return sum(count for kind, count in self.states.items() if kind != syscalls.IDLE)

    def waits(self) -> dict[str, float]:
        """Return the share of each wait in the time at requests; {} without permission to trace."""
        busy = sorted((kind, count) for kind, count in self.states.items() if kind != syscalls.IDLE)
        return {kind: round(count / self.looks, 3) for kind, count in busy}


class WorkerSampler:
    """A sampler of the workers of one slot, which gunicorn can replace meanwhile."""

    def __init__(self, main: int, connections: Connections, proc: str = procfs.PROC) -> None:
        self._main = main
        self._connections = connections
        self._proc = proc
        self._states: Counter[str] = Counter()
        # First and last CPU ticks of each worker.
        self._ticks: dict[int, tuple[int, int]] = {}
        # The maximum of concurrent connections of one worker.
        self.most: dict[str, int | None] = {syscalls.DATABASE: None, syscalls.REDIS: None}
        self.warning: str | None = None

    def workers(self) -> Iterator[tuple[int, str]]:
        with contextlib.suppress(OSError):  # gunicorn does not run.
            for pid in procfs.children(self._main, self._proc):
                yield pid, os.path.join(self._proc, str(pid))

    def look(self) -> None:
        """Record the state of each worker."""
        for pid, process in self.workers():
            with contextlib.suppress(OSError, IndexError):  # It has ended meanwhile.
                first, _last = self._ticks.get(pid, (None, 0))
                now = ticks(procfs.read(process, "stat"))
                self._ticks[pid] = (now if first is None else first, now)
                for thread in os.listdir(f"{process}/task"):
                    self._look_at(process, thread)

    def _look_at(self, process: str, thread: str) -> None:
        try:
            state = syscalls.sample(
                process, thread, lambda link: self._connections.kind(self._main, link)
            )
        except PermissionError:
            self.warning = "What workers wait for may not be seen here: /proc/<pid>/syscall wants root and CAP_SYS_PTRACE."
            return
        self._states[state] += 1

    def count(self) -> None:
        """Record the open connections of each worker."""
        with contextlib.suppress(OSError):
            self._connections.read(self._main)
        for _pid, process in self.workers():
            with contextlib.suppress(OSError):
                inodes = procfs.sockets(process)
                for kind, most in self.most.items():
                    now = self._connections.count(inodes, kind)
                    self.most[kind] = now if now is None else max(most or 0, now)

    @contextlib.contextmanager
    def during(self) -> Iterator[WorkerActivity]:
        """Sample while the block runs. The result is complete when it has ended."""
        self._states, before = Counter(), self.cpu_seconds()
        load, over = WorkerActivity(), threading.Event()

        def watch() -> None:
            looks = 0
            while not over.wait(LOOK_SECONDS):
                self.look()
                looks += 1
                if looks % LOOKS_A_COUNT == 1:
                    self.count()

        watcher = threading.Thread(target=watch, daemon=True)
        self.look()
        watcher.start()
        try:
            yield load
        finally:
            over.set()
            watcher.join()
            self.look()
            load.states, load.cpu_seconds = self._states, self.cpu_seconds() - before

    def cpu_seconds(self) -> float:
        """Return the CPU seconds of all workers since each was first sampled."""
        return sum(last - first for first, last in self._ticks.values()) / TICKS

    def held(self, socket: str) -> list[dict[str, float | int | None]]:
        """Return the resources of each worker now, and its use since it was first sampled."""
        self.count()
        found = procfs.workers(self._main, socket, self._proc)
        result: list[dict[str, float | int | None]] = []
        for pid, process in self.workers():
            with contextlib.suppress(OSError):
                inodes = procfs.sockets(process)
                first, last = self._ticks.get(pid, (0, 0))
                result.append(
                    {
                        "pid": pid,
                        "pss_mb": pss_mb(process),
                        "memory_mb": found.get(pid, {}).get("memory_mb"),
                        "open_files": int(found.get(pid, {}).get("open_files", 0)),
                        "database_connections": self._connections.count(inodes, syscalls.DATABASE),
                        "redis_connections": self._connections.count(inodes, syscalls.REDIS),
                        "cpu_seconds": (last - first) / TICKS,
                    }
                )
        return result

    def main_pss_mb(self) -> float | None:
        return pss_mb(os.path.join(self._proc, str(self._main)))


def ticks(stat: str) -> int:
    """Return the CPU ticks of a process in user and kernel mode (proc_pid_stat(5), fields 14 and 15)."""
    fields = stat.rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def pss_mb(process: str) -> float | None:
    """Return the memory of a process in MB. A shared page counts by its share, so sums are correct."""
    with contextlib.suppress(OSError):
        for line in procfs.read(process, "smaps_rollup").splitlines():
            if line.startswith("Pss:"):
                return round(int(line.split()[1]) / 1024, 2)
    return None
