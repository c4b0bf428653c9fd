# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parse the URL of a service, and connect to it; an error has the next action."""

from __future__ import annotations

import socket
import ssl
from urllib.parse import SplitResult, parse_qsl, urlsplit

from .._errors import PreflightError, PreflightWarning

DATABASE_PORTS = {"mariadb": 3306, "mssql": 1433, "mysql": 3306, "oracle": 1521}


def split(url: str) -> tuple[SplitResult, dict[str, str]]:
    """Split a URL and its query; no error shows any part of it."""
    try:
        parts = urlsplit(url)
        _port = parts.port
    except ValueError:
        raise PreflightError(
            "is no URL; wanted scheme://user:password@host:port/name, with %2F for / and %40 for @ in a "
            "password."
        ) from None
    return parts, dict(parse_qsl(parts.query))


def address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def connect(host: str, port: int, timeout: float) -> socket.socket:
    """Open a TCP connection, or a UNIX one if C(host) is a path."""
    where = host if host.startswith("/") else address(host, port)
    try:
        if not host.startswith("/"):
            return socket.create_connection((host, port), timeout)
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(timeout)
        sock.connect(host)
        return sock
    except (socket.gaierror, UnicodeError) as error:
        raise PreflightError(
            f"the name {host} is not known to this host ({error}); correct it, or add it to DNS or "
            "/etc/hosts."
        ) from error
    # In Python 3.9 this is not yet a TimeoutError.
    except socket.timeout as error:
        raise PreflightError(
            f"{where} does not answer within {timeout:g} s; check the address, and that no firewall drops "
            "the packets of this host."
        ) from error
    except OSError as error:
        raise PreflightError(
            f"{where} does not answer ({error.strerror}); check the address, that the service runs, and "
            "that it listens to this host."
        ) from error


def reach(url: str, timeout: float) -> None:
    """Try the port of a database whose protocol is not implemented here; a file needs none."""
    parts, _query = split(url)
    kind = parts.scheme.partition("+")[0]
    port = parts.port or DATABASE_PORTS.get(kind)
    if kind == "sqlite":
        return
    if not parts.hostname or not port:
        raise PreflightWarning(
            f"{kind} without host and port cannot be tried from here; nothing was proven."
        )
    connect(parts.hostname, port, timeout).close()
    raise PreflightWarning(
        f"{address(parts.hostname, port)} answers; whether {kind} takes the login was not proven."
    )


def secure(
    sock: socket.socket,
    host: str,
    verify: bool = True,
    check_hostname: bool = True,
    authorities: str | None = None,
    certificate: tuple[str, str | None] | None = None,
) -> ssl.SSLSocket:
    """Add TLS to a connection.

    @param authorities: file of the CA certificates to trust instead of the system's
    @param certificate: files of the client certificate and its key
    """
    try:
        context = ssl.create_default_context(cafile=authorities)
        context.check_hostname = verify and check_hostname
        if not verify:
            context.verify_mode = ssl.CERT_NONE
        if certificate:
            context.load_cert_chain(*certificate)
        return context.wrap_socket(sock, server_hostname=host)
    except ssl.SSLCertVerificationError as error:
        raise PreflightError(
            f"the certificate of {host} is not trusted ({error.verify_message}); name the file of its "
            "authority in the URL, or add it to the system's."
        ) from error
    except ssl.SSLError as error:
        raise PreflightError(
            f"TLS with {host} fails ({error.reason or error}); does it speak TLS?"
        ) from error
