# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small HTTP client for verdicts: one deadline, bounded memory, readable reasons.

Each request has its own connection, so no response depends on earlier requests.
Proxies of the environment are ignored, because the result is about this server and
not about a proxy.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from .._errors import ArgumentError, HttpError
from .connection import DEFAULT_TLS, Clock, Deadline, Stream, Tls, connect
from .response import Headers, RawResponse, read_response
from .url import Url

__all__ = [
    "Clock",
    "Deadline",
    "Headers",
    "Request",
    "Response",
    "Tls",
    "Url",
    "fetch",
    "open_exchange",
]

REDIRECTS = (301, 302, 303, 307, 308)
MAX_REDIRECTS = 10
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_OURS = {"content-length", "transfer-encoding", "connection"}
# Only these headers are sent to another origin. Any other header can be a secret.
_FOR_ANY_ORIGIN = {"accept", "accept-charset", "accept-encoding", "accept-language", "user-agent"}


@dataclass(frozen=True)
class Request:
    """One request. C(timeout) in seconds includes name lookup, connection, TLS, headers and body."""

    url: Url
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    unix_socket: str | None = None
    timeout: float = 5.0
    tls: Tls = DEFAULT_TLS
    redirects: str = "none"

    def __post_init__(self) -> None:
        if not _TOKEN.fullmatch(self.method):
            raise ArgumentError(f"{self.method!r} is no HTTP method.")
        if not self.timeout > 0:
            raise ArgumentError(f"A timeout must be greater than 0, not {self.timeout}.")
        for name, value in self.headers.items():
            if not _TOKEN.fullmatch(name) or name.lower() in _OURS:
                raise ArgumentError(f"{name!r} is no header that can be set here.")
            if re.search(r"[\x00\r\n]", value) or not _encodable(value):
                raise ArgumentError(
                    f"The value of header {name} has characters no header may have."
                )

    def head(self) -> bytes:
        """Return the request as bytes, without its body."""
        headers = {"Host": self.url.netloc, "User-Agent": "evenkeel", "Accept": "*/*"}
        headers["Accept-Encoding"] = "gzip"
        given = {name.lower() for name in self.headers}
        headers = {name: value for name, value in headers.items() if name.lower() not in given}
        headers.update(self.headers, Connection="close")
        if self.body is not None or self.method in ("POST", "PUT", "PATCH"):
            headers["Content-Length"] = str(len(self.body or b""))
        lines = [f"{self.method} {self.url.target} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")


@dataclass(frozen=True)
class Response:
    """A complete response, its URL, and its total time."""

    url: Url
    answer: RawResponse
    elapsed_ms: float
    certificate_end: float | None = None

    @property
    def status(self) -> int:
        return self.answer.status

    @property
    def headers(self) -> Headers:
        return self.answer.headers

    @property
    def body(self) -> bytes:
        return self.answer.body

    @property
    def truncated(self) -> bool:
        return self.answer.truncated

    def text(self) -> str:
        """Return the beginning of the body; bytes that are not UTF-8 are replaced."""
        return self.body.decode("utf-8", "replace")


def _encodable(value: str) -> bool:
    try:
        value.encode("latin-1")
    except UnicodeEncodeError:
        return False
    return True


class Exchange:
    """An open connection for one request."""

    def __init__(self, request: Request, stream: Stream, started: float, clock: Clock) -> None:
        self._request = request
        self._stream = stream
        self._started = started
        self._clock = clock

    def fetch(self) -> Response:
        """Send the request, read the response, and close the connection."""
        try:
            end = self._stream.certificate_end()
            self._stream.send(self._request.head())
            self._stream.send(self._request.body or b"")
            answer = read_response(self._stream, self._request.method)
        finally:
            self._stream.close()
        elapsed = (self._clock() - self._started) * 1000
        return Response(self._request.url, answer, elapsed, end)


def open_exchange(request: Request, clock: Clock = time.monotonic) -> Exchange:
    started = clock()
    deadline = Deadline(request.timeout, clock)
    return Exchange(
        request, connect(request.url, request.unix_socket, request.tls, deadline), started, clock
    )


def fetch(request: Request, clock: Clock = time.monotonic) -> Response:
    """Send a request and follow redirects. Raise HttpError if there is no complete response."""
    started = clock()
    deadline = Deadline(request.timeout, clock)
    for _hop in range(MAX_REDIRECTS + 1):
        response = open_exchange(request, clock).fetch()
        onward = _redirected(request, response)
        if onward is None:
            return replace(response, elapsed_ms=(clock() - started) * 1000)
        if deadline.over:
            raise HttpError(f"redirects do not end within {request.timeout:.3g} s")
        request = replace(onward, timeout=deadline.left)
    raise HttpError(f"redirects do not end after {MAX_REDIRECTS} hops")


def _redirected(request: Request, response: Response) -> Request | None:
    """Return the next request of a redirect, if the response is one and the request follows them."""
    location = response.headers.get("Location")
    if request.redirects == "none" or response.status not in REDIRECTS or not location:
        return None
    try:
        url = request.url.join(location)
    except ArgumentError:
        raise HttpError(f"{response.status} leads nowhere: its Location is broken") from None
    keep = response.status in (307, 308) or request.method in ("GET", "HEAD")
    onward = replace(
        request,
        url=url,
        method=request.method if keep else "GET",
        body=request.body if keep else None,
    )
    if url.origin == request.url.origin:
        return onward
    if request.redirects == "safe":
        raise HttpError(f"{response.status} leads elsewhere, to {url.shown()}")
    if request.url.scheme == "https" and url.scheme != "https":
        raise HttpError(f"{response.status} leads from https to {url.scheme}, to {url.shown()}")
    harmless = {k: v for k, v in request.headers.items() if k.lower() in _FOR_ANY_ORIGIN}
    return replace(onward, headers=harmless, body=None, unix_socket=None)
