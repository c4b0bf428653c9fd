# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parse one HTTP/1 response strictly: a truncated response is an error.

C(http.client) accepts a truncated head as complete and supports only one of the 1xx
responses, so a verdict cannot rely on it.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from .._errors import HttpError

HEAD_LIMIT = 64 * 1024
BODY_LIMIT = 1024 * 1024
_STATUS = re.compile(rb"HTTP/1\.[01] ([1-9][0-9]{2})(?: .*)?")
_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_CHUNK = re.compile(rb"([0-9a-fA-F]{1,15})[ \t]*(?:;.*)?")


class Source(Protocol):
    """A source of bytes; C(late) is the message for a timeout."""

    late: str
    late_details: dict[str, object]

    def receive(self, size: int = ...) -> bytes: ...


@dataclass(frozen=True)
class Headers:
    """Headers in the order of arrival; names are compared without case."""

    items: tuple[tuple[str, str], ...] = ()

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.items if key.lower() == name.lower()]

    def get(self, name: str) -> str | None:
        values = self.all(name)
        return ", ".join(values) if values else None


@dataclass(frozen=True)
class RawResponse:
    """Status, headers and the beginning of the decoded body; C(size) counts all received bytes."""

    status: int
    headers: Headers = field(default_factory=Headers)
    body: bytes = b""
    size: int = 0
    truncated: bool = False


class _Reader:
    def __init__(self, source: Source) -> None:
        self._source = source
        self._buffer = bytearray()
        self._head_left = HEAD_LIMIT

    def _fill(self) -> bool:
        data = self._source.receive()
        self._buffer += data
        return bool(data)

    def begins_with(self, expected: bytes) -> bool:
        """Return whether the next bytes are C(expected). Return at the first byte that differs."""
        while expected.startswith(bytes(self._buffer[: len(expected)])):
            if len(self._buffer) >= len(expected):
                return True
            if not self._fill():
                where = "in the status line" if self._buffer else "without an answer"
                raise HttpError(f"connection closed {where}")
        return False

    def excerpt(self) -> bytes:
        return bytes(self._buffer[:16])

    def line(self, where: str) -> bytes:
        start = 0
        while True:
            end = self._buffer.find(b"\n", start)
            length = len(self._buffer) if end < 0 else end + 1
            if length > self._head_left:
                raise HttpError(f"{where} larger than {HEAD_LIMIT // 1024} KiB")
            if end >= 0:
                break
            start = length
            if not self._fill():
                raise HttpError(f"answer cut short in the {where}")
        self._head_left -= length
        line = bytes(self._buffer[:end])
        del self._buffer[:length]
        return line[:-1] if line.endswith(b"\r") else line

    def refill_head(self) -> None:
        self._head_left = HEAD_LIMIT

    def some(self, size: int) -> bytes:
        """Return at least one and at most C(size) bytes, and none at the end."""
        if not self._buffer and not self._fill():
            return b""
        data = bytes(self._buffer[:size])
        del self._buffer[: len(data)]
        return data


def read_response(source: Source, method: str = "GET") -> RawResponse:
    """Read the final response to a request with C(method)."""
    reader = _Reader(source)
    while True:
        status = _read_status(reader)
        source.late = "headers not complete within {limit}"
        headers = _read_headers(reader)
        if status >= 200 or status == 101:
            break
    body = _Body(headers.get("Content-Encoding"))
    if method != "HEAD" and status not in (101, 204, 304):
        source.late = "body not complete within {limit}, {size} bytes came"
        source.late_details["size"] = 0
        for data in _pieces(reader, headers):
            body.add(data)
            source.late_details["size"] = body.size
        body.finish()
    return RawResponse(status, headers, bytes(body.kept), body.size, body.truncated)


def _read_status(reader: _Reader) -> int:
    if not reader.begins_with(b"HTTP/1."):
        raise HttpError(_foreign(reader.excerpt()))
    line = reader.line("status line")
    found = _STATUS.fullmatch(line)
    if not found:
        raise HttpError(f"broken status line {line[:24]!r}")
    return int(found.group(1))


def _foreign(excerpt: bytes) -> str:
    if excerpt[:1] in (b"\x15", b"\x16"):
        return "not HTTP: the server speaks TLS, ask with https://"
    return f"not HTTP: the answer begins with {excerpt!r}"


def _read_headers(reader: _Reader) -> Headers:
    items: list[tuple[str, str]] = []
    while True:
        line = reader.line("headers")
        if not line:
            return Headers(tuple(items))
        if line[:1] in b" \t" and items:
            name, value = items.pop()
            items.append((name, f"{value} {line.strip().decode('latin-1')}"))
            continue
        name_bytes, colon, rest = line.partition(b":")
        if not colon or not _NAME.fullmatch(name_bytes):
            raise HttpError("broken headers: a line is no 'name: value'")
        items.append((name_bytes.decode("ascii"), rest.strip(b" \t").decode("latin-1")))


def _pieces(reader: _Reader, headers: Headers) -> Iterator[bytes]:
    coding = headers.get("Transfer-Encoding")
    if coding is not None:
        if coding.lower() != "chunked":
            raise HttpError(f"unknown transfer encoding {coding[:24]!r}")
        return _chunks(reader)
    lengths = {value.strip() for text in headers.all("Content-Length") for value in text.split(",")}
    if not lengths:
        return iter(lambda: reader.some(65536), b"")
    length = lengths.pop()
    if lengths or not re.fullmatch("[0-9]{1,15}", length):
        raise HttpError("broken headers: Content-Length is no number, or several")
    return _exactly(reader, int(length))


def _exactly(reader: _Reader, length: int) -> Iterator[bytes]:
    left = length
    while left:
        data = reader.some(min(left, 65536))
        if not data:
            raise HttpError(f"body cut short: {length - left} of {length} bytes came")
        left -= len(data)
        yield data


def _chunks(reader: _Reader) -> Iterator[bytes]:
    while True:
        reader.refill_head()
        found = _CHUNK.fullmatch(reader.line("body's chunks"))
        if not found:
            raise HttpError("body has a broken chunk")
        length = int(found.group(1), 16)
        if not length:
            break
        yield from _exactly(reader, length)
        if reader.line("body's chunks"):
            raise HttpError("body has a broken chunk")
    while reader.line("body's trailers"):
        pass


class _Body:
    """Stores the decoded beginning of a body, and counts the rest."""

    def __init__(self, encoding: str | None) -> None:
        self.kept = bytearray()
        self.size = 0
        self.truncated = False
        self._encoding = (encoding or "identity").strip().lower()
        self._decoder = zlib.decompressobj(zlib.MAX_WBITS | 32)
        self._encoded = self._encoding in ("gzip", "x-gzip", "deflate")

    def add(self, data: bytes) -> None:
        self.size += len(data)
        room = BODY_LIMIT - len(self.kept)
        if not room:
            self.truncated = True
            return
        if self._encoded:
            data = self._decode(data, room)
        self.truncated = len(data) > room
        self.kept += data[:room]

    def _decode(self, data: bytes, room: int) -> bytes:
        try:
            return self._decoder.decompress(data, room + 1)
        except zlib.error:
            raise HttpError(f"body is no valid {self._encoding}") from None

    def finish(self) -> None:
        if self._encoded and self.size and not self.truncated and not self._decoder.eof:
            raise HttpError(f"body is no complete {self._encoding}")
