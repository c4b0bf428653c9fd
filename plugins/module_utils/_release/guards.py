# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find guards: locks, ports and socket names by which an app runs a job in a single process.

An app acquires a guard when it is loaded. A candidate is loaded while the live slot holds the guard, so
the candidate does not get it, and does not try again. Reads proc(5) only, without requests to the app.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import re
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from .._system import procfs

# A lock for a single write is gone in the second sample.
SECOND_LOOK_SECONDS = 0.2
LISTENING = "0A"  # include/net/tcp_states.h
UNCONNECTED = "01"  # include/uapi/linux/net.h
# An app can have any number. Each costs about 20 microseconds, so all cost seconds at most.
MAX_PROCESSES = 512
MAX_DESCRIPTORS = 1024
SYS_PIDFD_GETFD = 438  # the same number on each architecture
LOCK = re.compile(r"^lock:\s+\d+: (FLOCK|POSIX|OFDLCK)\s+\S+\s+WRITE\b", re.MULTILINE)
# The name of APScheduler's thread. The kernel has the name since Python 3.14, staging always does.
SCHEDULER = "APScheduler"
# All sockets of these kinds are listed in a table. Another one is TCP, and at most bound.
TABLES = ("tcp", "tcp6", "udp", "udp6", "raw", "raw6", "packet", "netlink")


@dataclass(frozen=True, order=True)
class Guard:
    """A resource that one process holds, and that no other process can hold meanwhile."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


def held(main: int, own: str, proc: str = procfs.PROC) -> dict[Guard, int]:
    """Return the guards of a slot's processes, and the process of each.

    @param main: gunicorn's main process; 0 for none
    @param own: the slot's own socket
    """
    found: dict[Guard, int] = {}
    with contextlib.suppress(OSError):
        named = _named(os.path.join(proc, str(main)), own)
        for pid in itertools.islice(_family(main, proc), MAX_PROCESSES):
            with contextlib.suppress(OSError):  # It has ended meanwhile.
                for guard in _of(pid, named, proc):
                    found[guard] = pid
    return found


def missing(
    old: Callable[[], dict[Guard, int]],
    new: Callable[[], dict[Guard, int]],
    sleep: Callable[[float], None] = time.sleep,
) -> dict[Guard, int]:
    """Return the guards that the old slot holds and the new one lacks, with the process of each."""
    first = old()
    lacking = first.keys() - new().keys()
    if lacking:
        sleep(SECOND_LOOK_SECONDS)
        lacking &= old().keys() - new().keys()
    return {guard: first[guard] for guard in sorted(lacking)}


def _family(main: int, proc: str) -> Iterator[int]:
    """Yield a process and all its descendants."""
    waiting = [main]
    while waiting:
        pid = waiting.pop()
        yield pid
        with contextlib.suppress(OSError):
            for task in os.listdir(os.path.join(proc, str(pid), "task")):
                waiting += map(int, procfs.read(proc, str(pid), "task", task, "children").split())


def _named(process: str, own: str) -> dict[str, Guard | None]:
    """Return the guard of each socket by inode, V(None) for a socket that is not a guard."""
    found: dict[str, Guard | None] = {}
    for table in TABLES:
        with contextlib.suppress(OSError):  # There is none without IPv6.
            for line in procfs.read(process, "net", table).splitlines()[1:]:
                row = line.split()
                inode = row[8] if table == "packet" else row[-1] if table == "netlink" else row[9]
                found[inode] = None
                if table in ("tcp", "tcp6") and row[3] == LISTENING:
                    host, _sep, port = row[1].rpartition(":")
                    found[inode] = Guard("port", f"{procfs.address(host)}:{int(port, 16)}")
    for line in procfs.read(process, "net", "unix").splitlines()[1:]:
        row = line.split()
        # A name can have a line break, and a part of it then looks like a row.
        if len(row) < 7:
            continue
        bound = len(row) == 8 and row[7] != own and row[5] == UNCONNECTED
        found[row[6]] = Guard("socket", row[7]) if bound else None
    return found


def _of(pid: int, named: dict[str, Guard | None], proc: str) -> Iterator[Guard]:
    process = os.path.join(proc, str(pid))
    for name in itertools.islice(os.listdir(os.path.join(process, "fd")), MAX_DESCRIPTORS):
        with contextlib.suppress(OSError):  # Closed meanwhile.
            link = os.readlink(os.path.join(process, "fd", name))
            inode = procfs.socket_of(link)
            if inode:
                guard = named[inode] if inode in named else _bound(pid, int(name))
                if guard:
                    yield guard
            elif LOCK.search(procfs.read(process, "fdinfo", name)):
                yield Guard("lock", link)


def _bound(pid: int, descriptor: int) -> Guard | None:
    """Return the address of a socket that is in no table; V(None) without one, or without permission."""
    with contextlib.suppress(OSError, AttributeError):
        process = os.pidfd_open(pid)
        try:
            copy = ctypes.CDLL(None, use_errno=True).syscall(
                SYS_PIDFD_GETFD, process, descriptor, 0
            )
        finally:
            os.close(process)
        if copy >= 0:
            with socket.socket(fileno=copy) as found:
                return _bound_to(found)
    return None


def _bound_to(found: socket.socket) -> Guard | None:
    address: Any = found.getsockname()
    if found.family not in (socket.AF_INET, socket.AF_INET6) or found.type != socket.SOCK_STREAM:
        return None
    with contextlib.suppress(OSError):
        found.getpeername()
        # It was connected after the tables were read.
        return None
    return Guard("port", f"{address[0]}:{address[1]}") if address[1] else None
