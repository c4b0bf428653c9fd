# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parse URLs for the HTTP client: reject invalid ones, and hide secret parts."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import quote, urljoin, urlsplit

from .._errors import ArgumentError

PORTS = {"http": 80, "https": 443}
_CONTROL = re.compile(r"[\x00-\x20\x7f]")
_KEEP = "%/:=&?~#+!$,;'@()*[]"


@dataclass(frozen=True)
class Url:
    """A parsed URL; C(host) is without brackets, C(target) is the request target."""

    scheme: str
    host: str
    port: int
    target: str

    @classmethod
    def parse(cls, text: str) -> Url:
        if _CONTROL.search(text):
            raise ArgumentError(f"URL {text!r} has blanks or control characters in it.")
        try:
            parts = urlsplit(text)
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise ArgumentError(f"URL {text!r} is broken: {error}.") from None
        if parts.scheme not in PORTS:
            raise ArgumentError(f"URL {text!r} must begin with http:// or https://.")
        if "@" in parts.netloc:
            raise ArgumentError("Put credentials into headers, not into a URL.")
        if not host or port == 0:
            raise ArgumentError(f"URL {text!r} names no host or no usable port.")
        target = _quoted(parts.path or "/")
        if parts.query:
            target += f"?{_quoted(parts.query)}"
        return cls(parts.scheme, _host(host), port or PORTS[parts.scheme], target)

    @property
    def netloc(self) -> str:
        """Return host and port in the form of a C(Host) header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def origin(self) -> tuple[str, str, int]:
        return self.scheme, self.host, self.port

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    def join(self, reference: str) -> Url:
        """Return the URL of C(reference), for example from a C(Location) header, on this page."""
        return Url.parse(urljoin(str(self), reference))

    def shown(self) -> str:
        """Return the URL for people. The query is hidden, because it can contain a token."""
        hidden = "?…" if "?" in self.target else ""
        return f"{self.scheme}://{self.netloc}{self.path}{hidden}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.netloc}{self.target}"


def _quoted(text: str) -> str:
    return quote(text, safe=_KEEP, errors="replace")


def _host(name: str) -> str:
    address = name.partition("%")[0]
    try:
        ipaddress.ip_address(address)
        return name
    except ValueError:
        pass
    try:
        ascii_name = name.encode("idna").decode("ascii")
    except UnicodeError:
        raise ArgumentError(f"{name!r} is no host name.") from None
    if not re.fullmatch(r"[A-Za-z0-9._-]+", ascii_name):
        raise ArgumentError(f"{name!r} is no host name.")
    return ascii_name
