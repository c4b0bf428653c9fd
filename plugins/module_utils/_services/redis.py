# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check that a Redis accepts the app's credentials and stores data.

Before a release is on a host there is no client library. So this file implements the protocol, RESP2
(https://redis.io/docs/latest/develop/reference/protocol-spec/). URLs are parsed as redis-py does.
"""

from __future__ import annotations

import contextlib
import re
import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from io import BufferedRWPair
from typing import Union
from urllib.parse import SplitResult, unquote

from .._errors import PreflightError, PreflightWarning
from . import address as service_address

Reply = Union[bytes, int, None]

# By the first word of an error, the only part of it that is an interface.
REMEDIES = {
    "DENIED": "it is in protected mode: give it a password, or bind it to an address of its own",
    "LOADING": "it reads its data from disk; try again in a moment",
    "MISCONF": "it cannot save its data; see its log",
    "MOVED": "it is a cluster; name a single server",
    "NOAUTH": "put user and password into the URL: redis://user:password@host:6379/0",
    "NOPERM": "allow the user the keys {prefix}* and the commands AUTH, SELECT, PING, SET, GET and DEL",
    "OOM": "its memory is full; raise its maxmemory or let it evict keys",
    "READONLY": "it is a replica; name its primary",
    "WRONGPASS": "check user and password",
}


class Connection:
    """One connection with RESP2."""

    def __init__(self, stream: BufferedRWPair, where: str, prefix: str) -> None:
        self.stream = stream
        self.where = where
        self.prefix = prefix

    def ask(self, *words: str) -> Reply:
        parts = [word.encode() for word in words]
        message = b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)
        self.stream.write(b"*%d\r\n%s" % (len(parts), message))
        self.stream.flush()
        return self._read(words[0])

    def _read(self, command: str) -> Reply:
        line = self.stream.readline(65536)
        kind, rest = line[:1], line[1:].rstrip(b"\r\n")
        if kind == b"-":
            raise self._refused(command, rest.decode("utf-8", "replace"))
        if kind == b"+":
            return rest
        if kind == b":" and re.fullmatch(rb"-?\d+", rest):
            return int(rest)
        if kind == b"$" and rest == b"-1":
            return None
        if kind == b"$" and re.fullmatch(rb"\d{1,8}", rest):
            return self.stream.read(int(rest) + 2)[:-2]
        if not line:
            raise PreflightError(
                f"{self.where} hangs up; check the port, and whether it wants TLS (rediss://)."
            )
        raise PreflightError(
            f"what answers at {self.where} does not speak the Redis protocol; check the port."
        )

    def _refused(self, command: str, message: str) -> PreflightError:
        # A server without the command AUTH repeats its arguments.
        message = message.partition(", with args")[0]
        word = message.partition(" ")[0]
        remedy = REMEDIES.get(word, "check the URL and the server's log").format(prefix=self.prefix)
        what = "the password" if word == "WRONGPASS" else command
        return PreflightError(f"the server at {self.where} refused {what} ({message}); {remedy}.")


@dataclass(frozen=True)
class Server:
    """The properties that a server reports; V(None) if its access list hides it.

    @param max_memory: in bytes; 0 means no limit
    """

    version: str | None = None
    max_memory: int | None = None
    policy: str | None = None


def check_memory(server: Server) -> None:
    """Warn of a server that fills the host's memory, or that drops sessions before cached responses.

    @raises PreflightWarning: with the settings to change
    """
    advice = "set maxmemory and maxmemory-policy volatile-ttl"
    if server.policy == "noeviction" and server.max_memory == 0:
        raise PreflightWarning(
            "the server has maxmemory-policy noeviction without maxmemory; it grows until the host has no "
            f"memory; {advice}."
        )
    if server.policy and server.policy.startswith("allkeys-"):
        raise PreflightWarning(
            f"the server has maxmemory-policy {server.policy}; when its memory is full it drops sessions of "
            f"people who are logged in; {advice}, which drops cached answers first."
        )


def check_connection(url: str, prefix: str, timeout: float) -> Server:
    """Log in, write, read back and delete; return the properties that the server reports.

    @param prefix: of the key that is written
    @raises PreflightError: if any of it fails
    """
    parts, query = service_address.split(url)
    host = unquote(parts.path) if parts.scheme == "unix" else unquote(parts.hostname or "localhost")
    port = parts.port or 6379
    where = host if parts.scheme == "unix" else service_address.address(host, port)
    try:
        with service_address.connect(host, port, timeout) as plain:
            sock = _secured(plain, host, query) if parts.scheme == "rediss" else plain
            with sock, sock.makefile("rwb") as stream:
                redis = Connection(stream, where, prefix)
                _log_in(redis, parts, query)
                _check_write(redis, f"{prefix}preflight:{secrets.token_hex(8)}")
                return _describe(redis)
    except socket.timeout as error:
        raise PreflightError(
            f"{where} takes the connection and says nothing for {timeout:g} s; check the port, and see "
            "the server's log."
        ) from error
    except OSError as error:
        raise PreflightError(
            f"the connection to {where} broke ({error}); check the port, and whether the server wants TLS "
            "(rediss://)."
        ) from error


def _secured(sock: socket.socket, host: str, query: Mapping[str, str]) -> socket.socket:
    own = query.get("ssl_certfile")
    return service_address.secure(
        sock,
        host,
        verify=query.get("ssl_cert_reqs", "required") != "none",
        check_hostname=query.get("ssl_check_hostname", "true").lower() not in ("false", "0", "no"),
        authorities=query.get("ssl_ca_certs"),
        certificate=(own, query.get("ssl_keyfile")) if own else None,
    )


def _log_in(redis: Connection, parts: SplitResult, query: Mapping[str, str]) -> None:
    user = unquote(parts.username or query.get("username", ""))
    password = unquote(parts.password or query.get("password", ""))
    if user or password:
        redis.ask("AUTH", *([user] if user else []), password)
    database = query.get("db") or ("" if parts.scheme == "unix" else parts.path.strip("/"))
    if database:
        redis.ask("SELECT", database)
    redis.ask("PING")


def _check_write(redis: Connection, key: str) -> None:
    value = secrets.token_hex(8)
    redis.ask("SET", key, value, "EX", "10")
    found = redis.ask("GET", key)
    redis.ask("DEL", key)
    if found != value.encode():
        raise PreflightError(
            f"what was written to {redis.where} does not come back; is its memory full?"
        )


def _describe(redis: Connection) -> Server:
    found: dict[str, str] = {}
    # An access list can forbid it, and the app does not need it.
    with contextlib.suppress(PreflightError):
        info = redis.ask("INFO")
        if isinstance(info, bytes):
            found = dict(re.findall(r"(?m)^(\w+):(\S*)", info.decode("utf-8", "replace")))
    limit = found.get("maxmemory", "")
    return Server(
        found.get("redis_version"),
        int(limit) if limit.isdigit() else None,
        found.get("maxmemory_policy"),
    )
