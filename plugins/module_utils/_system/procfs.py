# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read the resources of gunicorn's workers from proc(5): memory, open files, connections."""

from __future__ import annotations

import contextlib
import glob
import ipaddress
import os
import struct
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

PROC = "/proc"


def workers(main: int, socket: str, proc: str = PROC) -> dict[int, dict[str, float]]:
    """Return the resources of each worker, by process id.

    @param main: the process of gunicorn's arbiter; 0 for none, as systemd reports it
    @param socket: where they listen; connections to it are clients', and do not count
    """
    mine = os.path.join(proc, str(main))
    found = {}
    with contextlib.suppress(OSError):
        pids = children(main, proc)
        users = {inode for _state, inode in unix_sockets(read(mine, "net", "unix"), socket)}
        ports = {inode: str(port) for inode, (_host, port) in peers(mine).items()}
        for pid in pids:
            with contextlib.suppress(OSError):  # It has ended meanwhile.
                found[pid] = _held(os.path.join(proc, str(pid)), users, ports)
    return found


def children(main: int, proc: str = PROC) -> list[int]:
    return [int(pid) for pid in read(proc, str(main), "task", str(main), "children").split()]


def read(*path: str) -> str:
    with open(os.path.join(*path), encoding="utf-8", errors="replace") as stream:
        return stream.read()


def sockets(process: str) -> list[str]:
    """Return the inode of the socket behind each descriptor; "" for other descriptors."""
    found = (_link(os.path.join(process, "fd", name)) for name in os.listdir(f"{process}/fd"))
    return [socket_of(link) for link in found]


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except FileNotFoundError:  # Closed meanwhile.
        return ""


def socket_of(link: str) -> str:
    """Return the inode of a descriptor's socket; "" for other descriptors."""
    kind, _sep, number = link.partition(":")
    return number.strip("[]") if kind == "socket" else ""


def _held(process: str, users: set[str], ports: Mapping[str, str]) -> dict[str, float]:
    inodes = sockets(process)
    to = Counter(f"port_{ports[inode]}" for inode in inodes if inode in ports)
    return {
        "memory_mb": round(_anonymous_kb(read(process, "status")) / 1024, 2),
        "open_files": float(sum(1 for inode in inodes if inode not in users)),
        **{name: float(count) for name, count in to.items()},
    }


def _anonymous_kb(status: str) -> int:
    """Return the process's own memory, in RAM or swapped out. File mappings vary, so they do not count."""
    rows = (line.split() for line in status.splitlines())
    return sum(int(row[1]) for row in rows if row and row[0] in ("RssAnon:", "VmSwap:"))


def unix_sockets(table: str, path: str) -> Iterator[tuple[str, str]]:
    """Yield state and inode of each socket in C(/proc/net/unix) that is bound to C(path), or was accepted at it."""
    for line in table.splitlines()[1:]:
        row = line.split()
        if len(row) == 8 and row[7] == path:
            yield row[5], row[6]


def peers(process: str) -> dict[str, tuple[str, int]]:
    """Return address and port of the peer of each TCP socket, in the process's network namespace."""
    found = dict(_peers(read(process, "net", "tcp")))
    with contextlib.suppress(OSError):  # There is none without IPv6.
        found.update(_peers(read(process, "net", "tcp6")))
    return found


def _peers(table: str) -> Iterator[tuple[str, tuple[str, int]]]:
    for line in table.splitlines()[1:]:
        row = line.split()
        host, _sep, port = row[2].rpartition(":")
        if int(port, 16):
            yield row[9], (address(host), int(port, 16))


def address(digits: str) -> str:
    """Parse an address of C(/proc/net/tcp): words of four bytes, each in the machine's byte order."""
    words = [int(digits[at : at + 8], 16) for at in range(0, len(digits), 8)]
    address = ipaddress.ip_address(struct.pack(f"={len(words)}I", *words))
    return str(getattr(address, "ipv4_mapped", None) or address)


LISTEN = "0A"


def listening(table: str) -> Iterator[tuple[int, str]]:
    """Yield port and inode of listening sockets, from the text of /proc/net/tcp or tcp6."""
    for line in table.splitlines()[1:]:
        row = line.split()
        if len(row) > 9 and row[3] == LISTEN:
            yield int(row[1].rpartition(":")[2], 16), row[9]


def addresses(ports: Iterable[int], proc: str = "/proc") -> Iterator[tuple[int, str]]:
    """Yield port and address of the sockets that listen on these ports."""
    requested = set(ports)
    for name in ("tcp", "tcp6"):
        with contextlib.suppress(OSError), open(f"{proc}/net/{name}", encoding="ascii") as table:
            for line in table.read().splitlines()[1:]:
                row = line.split()
                host, _colon, port = row[1].rpartition(":")
                if row[3] == LISTEN and int(port, 16) in requested:
                    yield int(port, 16), _address_of(host)


def _address_of(digits: str) -> str:
    """Parse an address of the kernel: words of 32 bits in the host's byte order."""
    words = [int(digits[start : start + 8], 16) for start in range(0, len(digits), 8)]
    packed = b"".join(word.to_bytes(4, sys.byteorder) for word in words)
    parsed = ipaddress.ip_address(packed)
    return str(getattr(parsed, "ipv4_mapped", None) or parsed)


def holders(ports: Iterable[int], proc: str = "/proc") -> dict[int, list[str]]:
    """Return the programs that listen on these ports; only root sees those of other users."""
    requested = set(ports)
    inodes: dict[str, int] = {}
    for name in ("tcp", "tcp6"):
        with contextlib.suppress(OSError), open(f"{proc}/net/{name}", encoding="ascii") as table:
            inodes.update(
                (inode, port) for port, inode in listening(table.read()) if port in requested
            )
    found: dict[int, list[str]] = {}
    for link in glob.iglob(f"{proc}/[0-9]*/fd/*") if inodes else ():
        # Processes end meanwhile, and some are not readable.
        with contextlib.suppress(OSError):
            port = inodes.get(os.readlink(link)[len("socket:[") : -1])
            if port is not None:
                process = os.path.dirname(os.path.dirname(link))
                with open(f"{process}/comm", encoding="utf-8") as comm:
                    holder = f"{comm.read().strip()} (pid {os.path.basename(process)})"
                found.setdefault(port, []).append(holder)
    unseen = "a program that only root may see (use become)"
    return {port: found.get(port, [unseen]) for port in set(inodes.values())}
