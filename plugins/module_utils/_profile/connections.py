# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find out which connection of a worker leads to the database, and which to Redis.

The URLs in the app's environment have the addresses. Nothing else of them is read: no user and
no password leaves this file.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from .. import _errors
from .._services import address as service_address
from .._services import postgres
from .._system import procfs
from . import syscalls

# State of an accepted UNIX socket in /proc/net/unix (include/uapi/linux/net.h).
CONNECTED = "03"
URLS = {
    "DATABASE_URL": syscalls.DATABASE,
    "SQLALCHEMY_DATABASE_URI": syscalls.DATABASE,
    "REDIS_URL": syscalls.REDIS,
}
REDIS_PORT = 6379
_LINE = re.compile(r'^([A-Za-z_]\w*)="((?:[^"\\]|\\.)*)"$', re.MULTILINE | re.DOTALL)

Address = tuple[str, int]


def environment(text: str) -> dict[str, str]:
    """Parse the output of C(envfile.environment_file)."""
    return {name: re.sub(r"\\(.)", r"\1", value) for name, value in _LINE.findall(text)}


def addresses(
    variables: Mapping[str, str], lookup: Callable[..., Any] = socket.getaddrinfo
) -> dict[Address, str]:
    """Return the kind of service by address. Services without an address are left out."""
    found = {}
    for name, kind in URLS.items():
        place = _place(variables.get(name, ""))
        for address in _resolve(place, lookup) if place else ():
            found[address] = kind
    return found


def _place(url: str) -> Address | None:
    """Return host and port, or V(None) for a file, a UNIX socket or an invalid URL."""
    try:
        if postgres.is_postgres_url(url):
            target = postgres.Target.parse(url)
            return None if target.local else (target.host, target.port)
        parts, query = service_address.split(url)
    except _errors.PreflightError:
        return None
    kind = parts.scheme.partition("+")[0]
    known = {**service_address.DATABASE_PORTS, "redis": REDIS_PORT, "rediss": REDIS_PORT}
    host, port = parts.hostname or query.get("host"), parts.port or known.get(kind)
    return (host, port) if kind in known and host and port else None


def _resolve(place: Address, lookup: Callable[..., Any]) -> Iterator[Address]:
    # libpq accepts several hosts, separated by commas.
    for host in place[0].split(","):
        try:
            answers = lookup(host, place[1], type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            continue
        for _family, _kind, _proto, _name, address in answers:
            yield str(address[0]), place[1]


class Connections:
    """The peers of workers' sockets. A new socket causes a new read of the kernel's tables."""

    def __init__(self, users: str, servers: Mapping[Address, str], proc: str = procfs.PROC) -> None:
        self._users = users
        self._servers = servers
        self._proc = proc
        self._kinds: dict[str, str] = {}

    def kind(self, main: int, link: str) -> str:
        """Return the kind of a descriptor by its link.

        @param main: the process whose network namespace is read
        """
        inode = procfs.socket_of(link)
        if not inode:
            return syscalls.DISK if link.startswith("/") else syscalls.UNKNOWN
        if inode not in self._kinds:
            self.read(main)
        # The peer of a UNIX socket is in no table, so it is not looked up again.
        return self._kinds.setdefault(inode, syscalls.UNKNOWN)

    def read(self, main: int) -> None:
        process = f"{self._proc}/{main}"
        self._kinds = {
            inode: self._servers.get(peer, syscalls.OTHER)
            for inode, peer in procfs.peers(process).items()
        }
        unix = procfs.read(process, "net", "unix")
        for state, inode in procfs.unix_sockets(unix, self._users):
            self._kinds[inode] = syscalls.CLIENT if state == CONNECTED else syscalls.IDLE

    def count(self, inodes: Iterable[str], kind: str) -> int | None:
        """Count the sockets to the database, or to Redis; V(None) if its address is not known."""
        if kind not in self._servers.values():
            return None
        return sum(1 for inode in inodes if self._kinds.get(inode) == kind)
