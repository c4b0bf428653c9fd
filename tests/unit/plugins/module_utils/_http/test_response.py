# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every awkward answer: read right, or refused with a reason."""

from __future__ import annotations

import gzip
import zlib

import pytest
from ansible_collections.evenkeel.flask.plugins.module_utils._errors import HttpError
from ansible_collections.evenkeel.flask.plugins.module_utils._http import response
from ansible_collections.evenkeel.flask.plugins.module_utils._http.response import read_response
from hypothesis import example, given
from hypothesis import strategies as st


class Script:
    """A source that gives its pieces one by one and then ends."""

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = [piece for piece in pieces if piece]
        self.late = ""
        self.late_details: dict[str, object] = {}

    def receive(self, size: int = 65536) -> bytes:
        return self.pieces.pop(0) if self.pieces else b""


def in_bytes(raw):
    return Script(*(raw[i : i + 1] for i in range(len(raw))))


GOOD = {
    "length": (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nready", 200, b"ready"),
    "bytes after the end": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nreadyHTTP",
        200,
        b"ready",
    ),
    "no reason phrase": (b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", 200, b""),
    "HTTP/1.0 until the end": (b"HTTP/1.0 200 OK\r\n\r\nready", 200, b"ready"),
    "bare line feeds": (b"HTTP/1.1 200 OK\nContent-Length: 5\n\nready", 200, b"ready"),
    "chunks": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"2\r\nre\r\n3;x=y\r\nady\r\n0\r\nTrailer: x\r\n\r\n",
        200,
        b"ready",
    ),
    "chunks win over a length": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        200,
        b"",
    ),
    "100 first": (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        200,
        b"",
    ),
    "103 first": (
        b"HTTP/1.1 103 Early Hints\r\nLink: </x.css>\r\n\r\nHTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n",
        503,
        b"",
    ),
    "101 is final": (b"HTTP/1.1 101 Switching\r\n\r\nxyz", 101, b""),
    "204 has no body": (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
    "304 has no body": (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", 304, b""),
    "the same length twice": (b"HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok", 200, b"ok"),
    "folded header": (b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n", 200, b""),
    "gzip": (
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + gzip.compress(b"ready"),
        200,
        b"ready",
    ),
    "deflate": (
        b"HTTP/1.1 200 OK\r\nContent-Encoding: deflate\r\n\r\n" + zlib.compress(b"ready"),
        200,
        b"ready",
    ),
    "empty gzip": (
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 0\r\n\r\n",
        200,
        b"",
    ),
}
BAD = {
    "nothing": (b"", "connection closed without an answer"),
    "cut status line": (b"HTTP/1.1 20", "answer cut short in the status line"),
    "cut before the line ends": (b"HTTP/1.1 200 OK", "answer cut short in the status line"),
    "very cut status line": (b"HTT", "connection closed in the status line"),
    "cut headers": (b"HTTP/1.1 200 OK\r\nContent-Le", "answer cut short in the headers"),
    "no empty line": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n",
        "answer cut short in the headers",
    ),
    "another protocol": (
        b"SSH-2.0-OpenSSH_9.2\r\n",
        "not HTTP: the answer begins with b'SSH-2.0-OpenSSH_'",
    ),
    "TLS": (b"\x15\x03\x01\x00\x02\x02\x46", "not HTTP: the server speaks TLS, ask with https://"),
    "HTTP/2": (b"HTTP/2 200\r\n\r\n", "not HTTP: the answer begins with b'HTTP/2 200\\r\\n\\r\\n'"),
    "no code": (b"HTTP/1.1 OK\r\n\r\n", "broken status line b'HTTP/1.1 OK'"),
    "code below 100": (b"HTTP/1.1 099 X\r\n\r\n", "broken status line b'HTTP/1.1 099 X'"),
    "no colon": (
        b"HTTP/1.1 200 OK\r\nnonsense\r\n\r\n",
        "broken headers: a line is no 'name: value'",
    ),
    "blank before the colon": (
        b"HTTP/1.1 200 OK\r\nX : y\r\n\r\n",
        "broken headers: a line is no 'name: value'",
    ),
    "short body": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nready",
        "body cut short: 5 of 10 bytes came",
    ),
    "two lengths": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nready!",
        "broken headers: Content-Length is no number, or several",
    ),
    "negative length": (
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        "broken headers: Content-Length is no number, or several",
    ),
    "unknown coding": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        "unknown transfer encoding 'gzip'",
    ),
    "no chunk": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        "body has a broken chunk",
    ),
    "negative chunk": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n",
        "body has a broken chunk",
    ),
    "chunk too long": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nready\r\n",
        "body has a broken chunk",
    ),
    "cut chunk": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nrea",
        "body cut short: 3 of 5 bytes came",
    ),
    "no last chunk": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
        "answer cut short in the body's chunks",
    ),
    "cut gzip": (
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + gzip.compress(b"ready")[:-4],
        "body is no complete gzip",
    ),
    "no gzip": (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\nready", "body is no valid gzip"),
    "1xx and then nothing": (
        b"HTTP/1.1 100 Continue\r\n\r\n",
        "connection closed without an answer",
    ),
}


@pytest.mark.parametrize("source", [Script, in_bytes])
@pytest.mark.parametrize(("raw", "status", "body"), GOOD.values(), ids=GOOD)
def test_an_unusual_answer_is_read_right(source, raw, status, body):
    answer = read_response(source(raw))
    assert (answer.status, answer.body) == (status, body)


@pytest.mark.parametrize("source", [Script, in_bytes])
@pytest.mark.parametrize(("raw", "reason"), BAD.values(), ids=BAD)
def test_a_broken_answer_is_none(source, raw, reason):
    with pytest.raises(HttpError) as caught:
        read_response(source(raw))
    if "begins with" not in reason:
        assert str(caught.value) == reason
    else:
        assert str(caught.value).startswith("not HTTP: the answer begins with")


def test_a_foreign_protocol_is_known_by_its_first_bytes():
    banner = Script(b"220 mail", b"never asked for")
    with pytest.raises(HttpError, match="not HTTP"):
        read_response(banner)
    assert banner.pieces == [b"never asked for"]


def test_an_answer_to_head_has_no_body():
    assert (
        read_response(Script(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"), "HEAD").body == b""
    )


@pytest.mark.parametrize(
    "endless",
    [
        [b"HTTP/1.1 200 " + b"x" * 70000],
        [b"HTTP/1.1 200 OK\r\n", b"X: " + b"y" * 70000],
        [b"HTTP/1.1 200 OK\r\n", *[b"X: y\r\n"] * 20000],
        [b"HTTP/1.1 100 Continue\r\n\r\n"] * 5000,
    ],
    ids=["status line", "one header", "many headers", "many 1xx"],
)
def test_a_head_without_end_is_given_up(endless):
    with pytest.raises(HttpError, match="larger than 64 KiB"):
        read_response(Script(*endless))


def test_a_header_full_of_blanks_costs_no_time():
    raw = b"HTTP/1.1 200 OK\r\nX: a" + b" " * 60000 + b"b\r\nContent-Length: 0\r\n\r\n"
    assert read_response(Script(raw)).headers.get("x") == "a" + " " * 60000 + "b"


def test_of_a_large_body_the_beginning_is_kept_and_the_rest_counted():
    pieces = [b"x" * 65536] * 480
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {65536 * 480}\r\n\r\n".encode()
    answer = read_response(Script(head, *pieces))
    assert (len(answer.body), answer.size) == (response.BODY_LIMIT, 65536 * 480)
    assert answer.truncated


def test_a_gzip_bomb_is_not_unpacked():
    bomb = gzip.compress(bytes(50_000_000))
    answer = read_response(Script(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n", bomb))
    assert len(answer.body) == response.BODY_LIMIT
    assert answer.truncated


def test_the_reason_for_being_late_tells_how_far_it_came():
    source = Script(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nready")
    with pytest.raises(HttpError):
        read_response(source)
    assert source.late.format(limit="2 s", **source.late_details) == (
        "body not complete within 2 s, 5 bytes came"
    )


PARTS = st.sampled_from(
    [raw for raw, *_rest in GOOD.values()]
    + [raw for raw, *_rest in BAD.values()]
    + [b"HTTP/1.1 ", b"\r\n", b"0\r\n", b"Content-Length: 3\r\n", b"\0", b"\xff"]
)


@given(st.lists(st.one_of(PARTS, st.binary(max_size=40)), max_size=8))
@example([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffff\r\n"])
def test_whatever_comes_is_an_answer_or_a_reason_however_it_is_cut(pieces):
    def outcome(source):
        try:
            return read_response(source)
        except HttpError as error:
            # The visible part of a foreign protocol depends on how its bytes arrive.
            return str(error).partition(" begins")[0]

    whole = b"".join(pieces)
    assert outcome(Script(*pieces)) == outcome(Script(whole)) == outcome(in_bytes(whole))
