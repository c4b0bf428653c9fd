# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A connection with one deadline for every wait, from the name lookup to the last byte."""

from __future__ import annotations

import functools
import queue
import selectors
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .._errors import ArgumentError, HttpError
from .url import Url

Clock = Callable[[], float]


class Disconnected(HttpError):
    """The peer closed the connection before the end."""


class Deadline:
    """The end of a time limit."""

    def __init__(self, seconds: float, clock: Clock = time.monotonic) -> None:
        self.seconds = seconds
        self._clock = clock
        self._end = clock() + seconds

    @property
    def left(self) -> float:
        return self._end - self._clock()

    @property
    def over(self) -> bool:
        return self.left <= 0


@dataclass(frozen=True)
class Tls:
    """The rules for the certificate of an https server."""

    validate: bool = True
    ca_path: str | None = None

    def context(self) -> ssl.SSLContext:
        return _context(self)


DEFAULT_TLS = Tls()


@functools.lru_cache(maxsize=8)
def _context(tls: Tls) -> ssl.SSLContext:
    """Return a cached context: loading the system's CA certificates takes longer than a request."""
    try:
        context = ssl.create_default_context(cafile=tls.ca_path)
    except (OSError, ssl.SSLError) as error:
        raise ArgumentError(f"No certificates can be read from {tls.ca_path}: {error}.") from None
    if not tls.validate:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


class Stream:
    """A connected socket.

    C(late) is the message for a timeout. The code before each wait sets it, so that the reason
    contains the progress of the peer.
    """

    def __init__(self, sock: Any, deadline: Deadline) -> None:
        self._sock = sock
        self.deadline = deadline
        self.late = "no answer within {limit}, connected"
        self.late_details: dict[str, Any] = {}

    def within(self, act: Callable[..., Any], *args: Any) -> Any:
        """Call a function with the socket's timeout set to the rest of the deadline."""
        left = self.deadline.left
        try:
            if left <= 0:
                raise socket.timeout
            self._sock.settimeout(left)
            return act(*args)
        except socket.timeout:
            limit = f"{self.deadline.seconds:.3g} s"
            raise HttpError(self.late.format(limit=limit, **self.late_details)) from None
        except OSError as error:
            raise Disconnected(explain(error)) from None

    def receive(self, size: int = 65536) -> bytes:
        try:
            data: bytes = self.within(self._sock.recv, size)
        except Disconnected as error:
            raise Disconnected(f"connection broke: {error}") from None
        return data

    def send(self, data: bytes) -> None:
        """Send all of C(data), or less if the server responds or disconnects first.

        A server that rejects a large body responds immediately and disconnects. Its response is
        more useful than the broken pipe.
        """
        rest = memoryview(data)
        late, self.late = self.late, "request not taken within {limit}, connected"
        try:
            while rest and self.within(self._may_send):
                rest = rest[self.within(self._sock.send, rest[:65536]) :]
        except Disconnected:
            pass
        self.late = late

    def _may_send(self) -> bool:
        """Wait until more can be sent. Return V(False) if the server has begun to respond."""
        if isinstance(self._sock, ssl.SSLSocket):
            # The readable data may be a session ticket.
            return True
        with selectors.DefaultSelector() as selector:
            selector.register(self._sock, selectors.EVENT_READ | selectors.EVENT_WRITE)
            events = selector.select(self._sock.gettimeout())
        if not events:
            raise socket.timeout
        return not events[0][1] & selectors.EVENT_READ

    def secure(self, tls: Tls, host: str) -> None:
        self.late = "no TLS handshake within {limit}, connected"
        try:
            self._sock = tls.context().wrap_socket(
                self._sock, server_hostname=host, do_handshake_on_connect=False
            )
            self.within(self._shake_hands)
        except ValueError as error:
            raise HttpError(f"TLS failed: {error}") from None
        self.late = "no answer within {limit}, connected"

    def _shake_hands(self) -> None:
        try:
            self._sock.do_handshake()
        except ConnectionError:
            raise OSError(0, "connection lost in the TLS handshake") from None

    def certificate_end(self) -> float | None:
        """Return the end of the server's certificate, in seconds since 1970."""
        shown = self._sock.getpeercert() if isinstance(self._sock, ssl.SSLSocket) else None
        return ssl.cert_time_to_seconds(str(shown["notAfter"])) if shown else None

    def close(self) -> None:
        self._sock.close()


def explain(error: OSError) -> str:
    """Return a short description of an error of the operating system or of TLS."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate is not accepted: {error.verify_message.rstrip('.')}"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {(error.reason or 'unknown').replace('_', ' ').lower()}"
    if isinstance(error, ConnectionRefusedError):
        return "refused"
    if isinstance(error, ConnectionResetError):
        return "reset by the server"
    text = error.strerror or str(error) or type(error).__name__
    return text[0].lower() + text[1:]


def connect(url: Url, unix_socket: str | None, tls: Tls, deadline: Deadline) -> Stream:
    """Open a connection to C(url), through C(unix_socket) if it is set."""
    if unix_socket:
        stream = _dial(socket.AF_UNIX, unix_socket, unix_socket, deadline)
    else:
        stream = _dial_first(url, deadline)
    if url.scheme == "https":
        try:
            stream.secure(tls, url.host)
        except BaseException:
            stream.close()
            raise
    return stream


def _dial_first(url: Url, deadline: Deadline) -> Stream:
    addresses = resolve(url.host, url.port, deadline)
    error = HttpError(f"cannot resolve {url.host!r}")
    for index, (family, address) in enumerate(addresses):
        share = Deadline(max(deadline.left, 0) / (len(addresses) - index))
        try:
            stream = _dial(family, address, url.netloc, share)
        except HttpError as tried:
            error = tried
        else:
            stream.deadline = deadline
            return stream
    raise error


def _dial(family: int, address: Any, name: str, deadline: Deadline) -> Stream:
    try:
        sock = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise HttpError(f"cannot connect to {name}: {explain(error)}") from None
    stream = Stream(sock, deadline)
    stream.late = "no connection within {limit}"
    try:
        stream.within(_connect, sock, address)
        if family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except HttpError as error:
        sock.close()
        raise HttpError(f"cannot connect to {name}: {error}") from None
    stream.late = "no answer within {limit}, connected"
    return stream


def _connect(sock: socket.socket, address: Any) -> None:
    """Connect. A UNIX socket with a full queue fails immediately where TCP waits, so retry."""
    end = time.monotonic() + (sock.gettimeout() or 0)
    while True:
        try:
            return sock.connect(address)
        except BlockingIOError:
            if time.monotonic() > end:
                raise socket.timeout from None
            time.sleep(0.01)


def resolve(
    host: str, port: int, deadline: Deadline, lookup: Callable[..., Any] = socket.getaddrinfo
) -> list[tuple[int, Any]]:
    """Look a name up in a thread, which is abandoned if the resolver outlives the deadline."""
    answers: queue.Queue[Any] = queue.Queue()

    def work() -> None:
        try:
            answers.put(lookup(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            answers.put(error)

    threading.Thread(target=work, daemon=True).start()
    try:
        found = answers.get(timeout=max(deadline.left, 0))
    except queue.Empty:
        raise HttpError(f"name {host!r} not resolved within {deadline.seconds:.3g} s") from None
    if isinstance(found, Exception):
        raise HttpError(f"cannot resolve {host!r}")
    return [(family, address) for family, _kind, _proto, _name, address in found]
