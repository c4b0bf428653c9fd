# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the workers of a gunicorn hold: memory, open files, connections, as proc(5) tells it.

This file is private to the collection.
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Iterator, Mapping

PROC = "/proc"


def workers(main: int, socket: str, proc: str = PROC) -> dict[int, dict[str, float]]:
    """What each worker holds, by its process id.

    @param main: the process of gunicorn's arbiter; 0, as systemd says it, for none
    @param socket: where they listen; what came in there is their users' and not theirs
    """
    mine = os.path.join(proc, str(main))
    found = {}
    with contextlib.suppress(OSError):
        pids = _read(mine, "task", str(main), "children").split()
        users = {inode for _state, inode in unix_sockets(_read(mine, "net", "unix"), socket)}
        ports = dict(_ports(_read(mine, "net", "tcp")))
        with contextlib.suppress(OSError):  # There is none without IPv6.
            ports.update(_ports(_read(mine, "net", "tcp6")))
        for pid in pids:
            with contextlib.suppress(OSError):  # It has ended meanwhile.
                found[int(pid)] = _held(os.path.join(proc, pid), users, ports)
    return found


def _read(*path: str) -> str:
    with open(os.path.join(*path), encoding="utf-8", errors="replace") as stream:
        return stream.read()


def _held(process: str, users: set[str], ports: Mapping[str, str]) -> dict[str, float]:
    inodes = [_inode(os.path.join(process, "fd", name)) for name in os.listdir(f"{process}/fd")]
    to = Counter(f"port_{ports[inode]}" for inode in inodes if inode in ports)
    return {
        "memory_mb": round(_anonymous_kb(_read(process, "status")) / 1024, 2),
        "open_files": float(sum(1 for inode in inodes if inode not in users)),
        **{name: float(count) for name, count in to.items()},
    }


def _anonymous_kb(status: str) -> int:
    """Memory of its own, in RAM or swapped out: what is mapped from files comes and goes."""
    rows = (line.split() for line in status.splitlines())
    return sum(int(row[1]) for row in rows if row and row[0] in ("RssAnon:", "VmSwap:"))


def _inode(fd: str) -> str:
    """The number of a socket; nothing for all else."""
    try:
        kind, _sep, number = os.readlink(fd).partition(":")
    except FileNotFoundError:  # Closed meanwhile.
        return ""
    return number.strip("[]") if kind == "socket" else ""


def unix_sockets(table: str, path: str) -> Iterator[tuple[str, str]]:
    """State and inode of each socket in C(/proc/net/unix) that is bound to C(path), or was accepted at it."""
    for line in table.splitlines()[1:]:
        row = line.split()
        if len(row) == 8 and row[7] == path:
            yield row[5], row[6]


def _ports(table: str) -> Iterator[tuple[str, str]]:
    """The sockets in C(/proc/net/tcp), each with the port that it is connected to."""
    for line in table.splitlines()[1:]:
        row = line.split()
        port = int(row[2].rpartition(":")[2], 16)
        if port:
            yield row[9], str(port)
