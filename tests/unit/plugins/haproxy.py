# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server with the part of HAProxy's runtime API that the collection uses."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from ansible_collections.evenkeel.flask.tests.unit.plugins import loopback

STATES = "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight\n"
STATISTICS = "# pxname,svname,qcur,qmax,scur,status,\nusers,FRONTEND,,,0,OPEN,\n"
ADMIN_STATES = {"drain": (8, "DRAIN"), "ready": (0, "UP"), "maint": (1, "MAINT")}


@dataclass
class HAProxy:
    """Its backend C(app): of each server the admin state, the status and the sessions."""

    servers: dict[str, tuple[int, str, int]]
    address: str = ""
    is_admin: bool = True
    asked: list[str] = field(default_factory=list)

    def answer(self, _connection: object, request: bytes) -> bytes:
        command = request.decode().strip()
        self.asked.append(command)
        return (self._say(command.split()) + "\n").encode()

    def _say(self, words: list[str]) -> str:
        if words == ["show", "stat"]:
            return STATISTICS + "".join(
                f"app,{name},0,0,{sessions},{status},\n"
                for name, (_admin, status, sessions) in self.servers.items()
            )
        if words[-1] == "ap":
            return "Can't find backend.\n"
        if words[:2] == ["show", "servers"]:
            return STATES + "".join(
                f"3 app 1 {name} 10.0.0.1 2 {admin} 1\n"
                for name, (admin, _status, _sessions) in self.servers.items()
            )
        if not self.is_admin:
            return "Permission denied\n"
        name = words[2].partition("/")[2]
        self.servers[name] = (*ADMIN_STATES[words[-1]], self.servers[name][2])
        return ""


@contextlib.contextmanager
def serving(
    servers: Mapping[str, tuple[int, str, int]], unix_socket: str | None = None
) -> Iterator[HAProxy]:
    haproxy = HAProxy(dict(servers))

    def read(connection: object) -> bytes:
        return connection.recv(65536)  # type: ignore[attr-defined, no-any-return]

    with loopback.serving(haproxy.answer, unix_socket=unix_socket, read=read) as server:
        haproxy.address = unix_socket or "{}:{}".format(*server.address)  # type: ignore[misc]
        yield haproxy
