# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check that a PostgreSQL accepts the app's credentials, and query its connection limits.

Before a release is on a host there is no driver. So this file implements the protocol as far as a login
and a query need it: version 3 of https://www.postgresql.org/docs/current/protocol.html with
SCRAM-SHA-256 of RFC 5802. URLs are parsed as SQLAlchemy and libpq do.
"""

# pylint does not follow the import of Refused's base, and takes it for no exception.
# pylint: disable=bad-exception-cause

from __future__ import annotations

import base64
import getpass
import hashlib
import hmac
import os
import secrets
import socket
import stringprep
import struct
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from io import BufferedRWPair
from typing import TypeVar
from urllib.parse import unquote

from .._errors import PreflightError, PreflightWarning
from . import address as service_address

Answer = TypeVar("Answer")
PROTOCOL = 3 << 16
SSL_REQUEST = 80877103
MAX_ROUNDS = 10_000_000

# The attempts of libpq in their order: with TLS or without.
ATTEMPTS: Mapping[str, tuple[bool, ...]] = {
    "disable": (False,),
    "allow": (False, True),
    "prefer": (True, False),
    "require": (True,),
    "verify-ca": (True,),
    "verify-full": (True,),
}
# By SQLSTATE, https://www.postgresql.org/docs/current/errcodes-appendix.html
REMEDIES = {
    "28000": "allow this host in the server's pg_hba.conf",
    "28P01": "check user and password",
    "3D000": "create the database, or correct its name",
    "42501": "grant the user CONNECT on the database",
    "53300": "all connections are taken: end some, or raise max_connections",
    "57P03": "the server starts or stops; try again in a moment",
}
LIMITS = """
SELECT current_setting('max_connections'),
       current_setting('superuser_reserved_connections'),
       coalesce(current_setting('reserved_connections', true), '0'),
       (SELECT CASE WHEN rolsuper THEN -1 ELSE rolconnlimit END FROM pg_roles WHERE rolname = current_user),
       (SELECT datconnlimit FROM pg_database WHERE datname = current_database())
"""


class Refused(PreflightError):
    """The server refused the login, with the server's message."""

    def __init__(self, where: str, code: str, message: str) -> None:
        remedy = REMEDIES.get(code, "see the server's log")
        super().__init__(f"the server at {where} refused the login ({message}); {remedy}.")
        self.code = code
        self.message = message


class NoTls(PreflightError):
    """The server does not support TLS, or not with this client."""


@dataclass(frozen=True)
class Target:
    """The address, the credentials and the options of a login."""

    host: str
    port: int
    user: str
    password: str
    database: str
    options: Mapping[str, str]
    # As PGOPTIONS, which libpq uses if the URL has no options of its own.
    settings: str = ""

    @classmethod
    def parse(cls, url: str) -> Target:
        parts, options = service_address.split(url)
        user = unquote(parts.username or options.get("user", "")) or getpass.getuser()
        host = options.get("host") or unquote(parts.hostname or "") or "/var/run/postgresql"
        target = cls(
            host=host,
            port=parts.port or int(options.get("port") or 5432),
            user=user,
            password=unquote(parts.password or options.get("password", "")),
            database=unquote(parts.path.strip("/")) or user,
            options=options,
        )
        if target.sslmode not in ATTEMPTS:
            raise PreflightError(
                f"sslmode={target.sslmode} does not exist; there are {', '.join(ATTEMPTS)}."
            )
        if target.sslmode.startswith("verify") and "sslrootcert" not in options:
            raise PreflightError(
                f"sslmode={target.sslmode} needs sslrootcert=<file of the authority>, or "
                "sslrootcert=system, in the URL."
            )
        return target

    @property
    def sslmode(self) -> str:
        return self.options.get("sslmode", "prefer")

    @property
    def local(self) -> bool:
        return self.host.startswith("/")

    @property
    def place(self) -> str:
        """Return the address: a host, or the path of a UNIX socket."""
        return os.path.join(self.host, f".s.PGSQL.{self.port}") if self.local else self.host

    @property
    def where(self) -> str:
        return self.place if self.local else service_address.address(self.host, self.port)


@dataclass(frozen=True)
class Server:
    """The properties that a PostgreSQL reports."""

    version: str
    max_connections: int
    reserved: int
    user_limit: int = -1
    database_limit: int = -1

    def allowed(self) -> tuple[int, str]:
        """Return the maximum number of connections of the app, and the source of that limit."""
        limits = [
            (
                self.max_connections - self.reserved,
                f"max_connections {self.max_connections} less {self.reserved} reserved",
            )
        ]
        if self.user_limit >= 0:
            limits.append((self.user_limit, "the CONNECTION LIMIT of the user"))
        if self.database_limit >= 0:
            limits.append((self.database_limit, "the CONNECTION LIMIT of the database"))
        return min(limits)


class Scram:
    """The client's side of SCRAM-SHA-256, without channel binding."""

    def __init__(self, password: str, nonce: str = "") -> None:
        self.password = prepared(password)
        self.nonce = nonce or base64.b64encode(secrets.token_bytes(18)).decode()
        self.bare = f"n=,r={self.nonce}"
        self.signature: bytes | None = None
        self.proven = False

    def first(self) -> bytes:
        return f"n,,{self.bare}".encode()

    def final(self, challenge: bytes) -> bytes:
        """Return the response to the server's challenge.

        @raises ValueError: if the challenge is invalid
        """
        fields = dict(item.split("=", 1) for item in challenge.decode().split(","))
        nonce, salt, rounds = fields.get("r", ""), fields.get("s", ""), int(fields.get("i", "0"))
        if not nonce.startswith(self.nonce) or not salt or not 0 < rounds <= MAX_ROUNDS:
            raise ValueError("not SCRAM")
        salted = hashlib.pbkdf2_hmac("sha256", self.password, base64.b64decode(salt), rounds)
        client = hmac.digest(salted, b"Client Key", "sha256")
        without_proof = f"c=biws,r={nonce}"
        signed = ",".join([self.bare, challenge.decode(), without_proof]).encode()
        signature = hmac.digest(hashlib.sha256(client).digest(), signed, "sha256")
        proof = bytes(a ^ b for a, b in zip(client, signature))
        self.signature = hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), signed, "sha256")
        return f"{without_proof},p={base64.b64encode(proof).decode()}".encode()

    def verify(self, answer: bytes) -> None:
        """Verify that the server also knows the password.

        @raises ValueError: if it does not
        """
        expected = b"v=" + base64.b64encode(self.signature or b"")
        if self.signature is None or not hmac.compare_digest(answer, expected):
            raise ValueError("the server does not know the password")
        self.proven = True


def prepared(password: str) -> bytes:
    """Apply SASLprep (RFC 4013) as far as it maps characters."""
    mapped = (
        " " if stringprep.in_table_c12(char) else char
        for char in password
        if not stringprep.in_table_b1(char)
    )
    return unicodedata.normalize("NFKC", "".join(mapped)).encode()


class Connection:
    """One connection with version 3 of the protocol."""

    def __init__(self, stream: BufferedRWPair, target: Target) -> None:
        self.stream = stream
        self.target = target
        self.scram: Scram | None = None
        self.version = "unknown"

    def send(self, kind: bytes, payload: bytes) -> None:
        self.stream.write(kind + struct.pack("!i", len(payload) + 4) + payload)
        self.stream.flush()

    def receive(self) -> tuple[bytes, bytes]:
        head = self.stream.read(5)
        if not head:
            raise PreflightError(f"{self.target.where} hangs up; see the server's log.")
        length = struct.unpack("!i", head[1:])[0] - 4 if len(head) == 5 else -1
        if not 0 <= length < 1 << 20:
            raise PreflightError(
                f"what answers at {self.target.where} does not speak the PostgreSQL protocol; check the "
                "port."
            )
        payload = self.stream.read(length)
        if head[:1] == b"E":
            raise Refused(self.target.where, *error_fields(payload))
        return head[:1], payload

    def log_in(self) -> None:
        target = self.target
        words = [
            "user",
            target.user,
            "database",
            target.database,
            "application_name",
            "evenkeel preflight",
        ]
        settings = target.options.get("options") or target.settings
        if settings:
            words += ["options", settings]
        self.send(b"", struct.pack("!i", PROTOCOL) + "\0".join([*words, "", ""]).encode())
        while True:
            kind, payload = self.receive()
            if kind == b"R":
                try:
                    self._authenticate(struct.unpack("!i", payload[:4])[0], payload[4:])
                except (ValueError, struct.error) as error:
                    raise PreflightError(
                        f"the server at {target.where} does not prove that it knows the password "
                        f"({error}); who is it?"
                    ) from error
            elif kind == b"S" and payload.startswith(b"server_version\0"):
                self.version = payload.split(b"\0")[1].decode().split(" ")[0]
            elif kind == b"Z":
                return

    def _authenticate(self, method: int, payload: bytes) -> None:
        password = self.target.password
        if method == 0:
            if self.scram and not self.scram.proven:
                raise ValueError("it skips its signature")
        elif method == 3:
            self.send(b"p", password.encode() + b"\0")
        elif method == 5:
            self.send(b"p", md5(password, self.target.user, payload[:4]) + b"\0")
        elif method == 10:
            self.scram = Scram(password)
            first = self.scram.first()
            self.send(b"p", b"SCRAM-SHA-256\0" + struct.pack("!i", len(first)) + first)
        elif method == 11 and self.scram:
            self.send(b"p", self.scram.final(payload))
        elif method == 12 and self.scram:
            self.scram.verify(payload)
        else:
            raise PreflightWarning(
                f"{self.target.where} answers, and wants a login (kind {method}) that this check does not "
                "speak; the login was not proven."
            )

    def row(self, query: str) -> list[str]:
        """Return the single row of a query."""
        self.send(b"Q", query.encode() + b"\0")
        values: list[str] = []
        while True:
            kind, payload = self.receive()
            if kind == b"D":
                rest = payload[2:]
                while rest:
                    length = max(0, struct.unpack("!i", rest[:4])[0])
                    values.append(rest[4 : 4 + length].decode())
                    rest = rest[4 + length :]
            elif kind == b"Z":
                return values

    def settle(self) -> None:
        """Read the messages after an error, so that the next query can be sent."""
        kind = b""
        while kind != b"Z":
            kind, _payload = self.receive()


def md5(password: str, user: str, salt: bytes) -> bytes:
    inner = hashlib.md5((password + user).encode()).hexdigest().encode()
    return b"md5" + hashlib.md5(inner + salt).hexdigest().encode()


def error_fields(payload: bytes) -> tuple[str, str]:
    """Return SQLSTATE and message of an error, as one line."""
    fields = {
        part[:1]: part[1:].decode("utf-8", "replace") for part in payload.split(b"\0") if part
    }
    return fields.get(b"C", ""), " ".join(fields.get(b"M", "no reason given").split())


def is_postgres_url(url: str) -> bool:
    """Return whether the URL is that of a PostgreSQL, with any driver."""
    return url.partition(":")[0].partition("+")[0] in ("postgres", "postgresql")


def check_connection(url: str, timeout: float) -> Server:
    """Log in with the credentials of a SQLAlchemy URL, and query the limits.

    @raises PreflightError: if it fails
    @raises PreflightWarning: if it cannot be checked from here
    """
    return session(url, timeout, _server)


def lock_timeout_ms(url: str, timeout: float, settings: str) -> int:
    """Return the lock_timeout of a login with these settings, in milliseconds; 0 is none.

    @param settings: as in PGOPTIONS
    @raises Refused: if a pooler does not accept the settings
    """

    def shown(connection: Connection) -> int:
        row = connection.row("SELECT setting FROM pg_settings WHERE name = 'lock_timeout'")
        return int(row[0]) if row else 0

    return session(url, timeout, shown, settings)


def session(
    url: str, timeout: float, use: Callable[[Connection], Answer], settings: str = ""
) -> Answer:
    """Log in with the credentials of a SQLAlchemy URL, and use the connection.

    @param settings: as in PGOPTIONS
    @raises PreflightError: if it fails
    @raises PreflightWarning: if it cannot be checked from here
    """
    target = replace(Target.parse(url), settings=settings)
    if "," in target.host:
        raise PreflightWarning("names several servers; none was asked.")
    *others, last = ATTEMPTS["disable" if target.local else target.sslmode]
    for tls in others:
        try:
            return _session(target, tls, timeout, use)
        except NoTls:
            continue
        except Refused as error:
            # pg_hba.conf can allow one and not the other; a wrong password is wrong in both.
            if error.code != "28000":
                raise
    return _session(target, last, timeout, use)


def _session(
    target: Target, tls: bool, timeout: float, use: Callable[[Connection], Answer]
) -> Answer:
    try:
        with service_address.connect(target.place, target.port, timeout) as plain:
            sock = _secured(plain, target) if tls else plain
            with sock, sock.makefile("rwb") as stream:
                connection = Connection(stream, target)
                connection.log_in()
                answer = use(connection)
                connection.send(b"X", b"")
                return answer
    except Refused as error:
        if target.local and error.message.startswith("Peer authentication"):
            raise PreflightWarning(
                f"{target.where} lets in by the system user ({error.message}), and this check is not run as "
                "the app's; the login was not proven."
            ) from error
        raise
    except socket.timeout as error:
        raise PreflightError(
            f"{target.where} takes the connection and says nothing for {timeout:g} s; check the "
            "port, and see the server's log."
        ) from error
    except OSError as error:
        raise PreflightError(
            f"the connection to {target.where} broke ({error}); see the server's log."
        ) from error
    except (ValueError, struct.error) as error:
        raise PreflightError(
            f"what answers at {target.where} does not keep to the PostgreSQL protocol; check the port."
        ) from error


def _server(connection: Connection) -> Server:
    try:
        numbers = [int(value or -1) for value in connection.row(LIMITS)]
    except Refused as error:
        raise PreflightWarning(
            f"the login works, and the server does not tell its limits ({error.message}); whether the "
            "connections suffice was not proven."
        ) from error
    maximum, reserved, reserved_more, user_limit, database_limit = numbers
    return Server(connection.version, maximum, reserved + reserved_more, user_limit, database_limit)


def _secured(sock: socket.socket, target: Target) -> socket.socket:
    sock.sendall(struct.pack("!ii", 8, SSL_REQUEST))
    if sock.recv(1) != b"S":
        raise NoTls(
            f"sslmode={target.sslmode} wants TLS, and the server at {target.where} has none; set ssl = on "
            "there, or lower sslmode."
        )
    own, authorities = target.options.get("sslcert"), target.options.get("sslrootcert")
    try:
        return service_address.secure(
            sock,
            target.host,
            # A given CA certificate is verified, even if libpq would not require it.
            verify=target.sslmode.startswith("verify")
            or (target.sslmode == "require" and authorities is not None),
            check_hostname=target.sslmode == "verify-full",
            authorities=None if authorities == "system" else authorities,
            certificate=(own, target.options.get("sslkey")) if own else None,
        )
    except PreflightError as error:
        raise NoTls(str(error)) from error
