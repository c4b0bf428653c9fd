# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HAProxy, by its runtime API."""

from __future__ import annotations

import csv
import socket
from collections.abc import Iterator

from .._errors import BalancerError
from .plan import DOWN, DRAINED, MAINTENANCE, SERVING, Server

TIMEOUT = 10.0
# Bits of srv_admin_state (HAProxy's management guide, "show servers state"): manual, inherited,
# and from the configuration. Maintenance because of a missing address is not by a person.
IN_MAINTENANCE = 0x01 | 0x02 | 0x04
IN_DRAIN = 0x08 | 0x10


def parse(states: str, statistics: str, backend: str) -> dict[str, Server]:
    """Return the servers of a backend.

    @param states: the response to C(show servers state)
    @param statistics: the response to C(show stat)
    """
    rows = csv.DictReader(statistics.lstrip("# ").splitlines())
    known = {row["svname"]: row for row in rows if row["pxname"] == backend}
    return {
        row["srv_name"]: Server(
            _state(int(row["srv_admin_state"]), known[row["srv_name"]]["status"]),
            int(known[row["srv_name"]]["scur"]),
        )
        for row in _rows(states)
        if row["srv_name"] in known
    }


def _rows(states: str) -> Iterator[dict[str, str]]:
    """Yield the rows as dictionaries. A line with the format's version and a header precede them."""
    names: list[str] = []
    for line in states.splitlines():
        if line.startswith("#"):
            names = line.lstrip("# ").split()
        elif names and line:
            yield dict(zip(names, line.split()))


def _state(admin: int, status: str) -> str:
    if admin & IN_MAINTENANCE:
        return MAINTENANCE
    if admin & IN_DRAIN:
        return DRAINED
    # "UP 1/3" is about to go down, and still receives requests.
    return SERVING if status.startswith("UP") or status == "no check" else DOWN


class HAProxy:
    """A server of a backend."""

    poll_seconds = 0.2

    def __init__(self, server: str, address: str, backend: str) -> None:
        self.server = server
        self.address = address
        self.backend = backend
        self.pool = f"HAProxy's backend {backend}"

    def servers(self) -> dict[str, Server]:
        states = self._ask(f"show servers state {self.backend}")
        if "\n# " not in states:
            raise BalancerError(
                f"HAProxy says of its backend {self.backend}: {states.strip() or 'nothing'} "
                "Name one of its own backends."
            )
        found = parse(states, self._ask("show stat"), self.backend)
        if self.server not in found:
            raise BalancerError(
                f"{self.pool} has no server {self.server}; it has {', '.join(found) or 'none'}. "
                "Say what it calls the host."
            )
        return found

    def take_out(self) -> None:
        self._set("drain")

    def put_back(self) -> None:
        self._set("ready")

    def _set(self, state: str) -> None:
        output = self._ask(f"set server {self.backend}/{self.server} state {state}").strip()
        if output:
            raise BalancerError(
                f"HAProxy does not set {self.backend}/{self.server} to {state}: {output} "
                "Its socket must be of level admin."
            )

    def _ask(self, command: str) -> str:
        try:
            with self._connection() as connection:
                connection.sendall(f"{command}\n".encode())
                with connection.makefile("r", encoding="utf-8", errors="replace") as answer:
                    return answer.read()
        except OSError as error:
            raise BalancerError(
                f"HAProxy's socket {self.address} does not answer: {error.strerror or error}. "
                "It is named in haproxy.cfg: stats socket PATH level admin"
            ) from error

    def _connection(self) -> socket.socket:
        if not self.address.startswith("/"):
            host, _colon, port = self.address.rpartition(":")
            return socket.create_connection((host.strip("[]"), int(port)), TIMEOUT)
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(TIMEOUT)
        connection.connect(self.address)
        return connection
