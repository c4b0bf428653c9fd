# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find out what a worker waits for, from outside: its system call and that call's object.

The kernel reports call and arguments (proc_pid_syscall(5)). The descriptors of a poll or a select
are in the worker's memory, which root can read if tracing is allowed. Each descriptor leads to a
socket, and the socket to a server. Nothing is stopped, and the app needs no library.

This does not detect the server behind a UNIX socket, why a lock is held, and what a worker does
outside of system calls. All of the latter counts as CPU.
"""

from __future__ import annotations

import errno
import os
import platform
import struct
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from .._system import procfs

# The states of a worker. If it waits for several objects at once, the first in ORDER counts:
# a worker that waits for the next request, and for no server, is idle.
IDLE, DATABASE, REDIS, OTHER, CLIENT = "idle", "database", "redis", "other server", "client"
DISK, LOCK, SLEEP, CPU, UNKNOWN = "disk", "lock", "sleep", "cpu", "unknown"
ORDER = (DATABASE, REDIS, OTHER, IDLE, CLIENT, DISK, UNKNOWN)

# Numbers of system calls in the kernel's tables of the two machines
# (arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h).
CALLS: Mapping[str, Mapping[int, str]] = {
    "x86_64": {
        0: "read", 1: "write", 7: "poll", 17: "read", 18: "write", 19: "read",
        20: "write", 23: "select", 35: "sleep", 42: "read", 43: "read", 44: "write", 45: "read", 46: "write", 47: "read",
        73: "disk", 74: "disk", 75: "disk", 202: "futex", 230: "sleep", 232: "epoll",
        270: "select", 271: "poll", 281: "epoll", 288: "read", 441: "epoll",
    },
    "aarch64": {
        22: "epoll", 32: "disk", 63: "read", 64: "write", 65: "read", 66: "write", 67: "read",
        68: "write", 72: "select", 73: "poll", 82: "disk", 83: "disk", 98: "futex", 101: "sleep", 115: "sleep",
        202: "read", 203: "read", 206: "write", 207: "read", 211: "write", 212: "read",
        242: "read", 441: "epoll",
    },
}  # fmt: skip
# No worker polls more. A misread pointer must not cause a read of gigabytes.
MAX_DESCRIPTORS = 4096
FUTEX_COMMAND = 127
FUTEX_WAITS = (0, 9)

Memory = Callable[[int, int], bytes]


class Call(NamedTuple):
    """A system call, by its kind in CALLS, and its arguments."""

    kind: str
    arguments: tuple[int, ...]


def call(text: str, machine: str = "") -> Call:
    """Parse C(/proc/<pid>/syscall); V(cpu) for a process outside of system calls."""
    words = text.split()
    if words[0] == "running":
        return Call(CPU, ())
    kind = CALLS.get(machine or platform.machine(), {}).get(int(words[0]), UNKNOWN)
    return Call(kind, tuple(int(word, 16) for word in words[1:7]))


def descriptors(made: Call, memory: Memory, polled: Callable[[int], Iterable[int]]) -> list[int]:
    """Return the descriptors that a call waits for.

    @param memory: reads a number of bytes at an address of the worker
    @param polled: returns the descriptors of an epoll descriptor
    """
    first, second = made.arguments[:2]
    if made.kind in ("read", "write"):
        return [first]
    if made.kind == "epoll":
        return list(polled(first))
    if made.kind == "poll" and 0 < second <= MAX_DESCRIPTORS:
        entries = struct.iter_unpack("=ii", memory(first, 8 * second))
        return [fd for fd, _events in entries if fd >= 0]
    if made.kind == "select" and 0 < first <= MAX_DESCRIPTORS and second:
        bits = memory(second, (first + 7) // 8)
        return [fd for fd in range(first) if bits[fd // 8] >> fd % 8 & 1]
    return []


def is_parked(made: Call) -> bool:
    """Return whether a thread waits on a futex without a timeout, as idle threads of a pool do.

    A thread that waits for Python's global lock does so for a few milliseconds at a time.
    """
    operation, timeout = made.arguments[1] & FUTEX_COMMAND, made.arguments[3]
    return operation in FUTEX_WAITS and not timeout


def is_timed_sleep(made: Call) -> bool:
    """Return whether a poll or a select has no descriptors: older Python versions sleep this way."""
    counted = {"select": 0, "poll": 1}
    return made.kind in counted and not made.arguments[counted[made.kind]]


def wait_kind(kinds: Iterable[str]) -> str:
    """Return which of the kinds of its descriptors a worker waits for."""
    found = set(kinds)
    return next((kind for kind in ORDER if kind in found), UNKNOWN)


def sample(process: str, thread: str, kind_of: Callable[[str], str]) -> str:
    """Return the state of a thread.

    @param process: its folder in C(/proc)
    @param kind_of: returns the kind of a descriptor by its link
    @raises OSError: if it has ended, or must not be traced
    """
    made = call(procfs.read(process, "task", thread, "syscall"))
    if made.kind == "futex":
        has_peers = thread != os.path.basename(process) or len(os.listdir(f"{process}/task")) > 1
        return IDLE if has_peers and is_parked(made) else LOCK
    if made.kind in (CPU, SLEEP, DISK):
        return made.kind
    if is_timed_sleep(made):
        return SLEEP

    def memory(address: int, size: int) -> bytes:
        with open(f"{process}/mem", "rb", buffering=0) as stream:
            stream.seek(address)
            found = stream.read(size)
        if len(found) < size:
            raise OSError(errno.EFAULT, "it is somewhere else by now")
        return found

    def polled(descriptor: int) -> list[int]:
        info = procfs.read(process, "fdinfo", str(descriptor))
        return [int(line.split()[1]) for line in info.splitlines() if line.startswith("tfd:")]

    found = descriptors(made, memory, polled)
    return wait_kind(kind_of(os.readlink(f"{process}/fd/{fd}")) for fd in found)
