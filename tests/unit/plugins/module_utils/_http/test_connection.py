# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each wait ends at one deadline, and the reason contains the progress of the other side."""

from __future__ import annotations

import socket
import threading

import pytest
from ansible_collections.evenkeel.flask.plugins.module_utils._errors import HttpError
from ansible_collections.evenkeel.flask.plugins.module_utils._http import connection
from ansible_collections.evenkeel.flask.plugins.module_utils._http.connection import (
    Deadline,
    Disconnected,
    Stream,
    resolve,
)
from ansible_collections.evenkeel.flask.plugins.module_utils._http.response import read_response


class Clock:
    """A clock that only a test moves."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


class DrippingSocket:
    """A socket that gives one byte a second."""

    def __init__(self, clock, data):
        self.clock, self.data = clock, data
        self.timeouts = []

    def settimeout(self, seconds):
        self.timeouts.append(seconds)

    def recv(self, size):
        if self.timeouts[-1] < 1:
            self.clock.now += self.timeouts[-1]
            raise socket.timeout
        self.clock.now += 1
        byte, self.data = self.data[:1], self.data[1:]
        return byte


@pytest.mark.parametrize(
    ("seconds", "reason"),
    [
        (0.5, "no answer within 0.5 s, connected"),
        (5.5, "no answer within 5.5 s, connected"),
        (25, "headers not complete within 25 s"),
        (42.5, "body not complete within 42.5 s, 3 bytes came"),
    ],
)
def test_a_drip_does_not_stretch_the_deadline(seconds, reason):
    clock = Clock()
    dripping = DrippingSocket(clock, b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n" + b"x" * 50)
    with pytest.raises(HttpError) as caught:
        read_response(Stream(dripping, Deadline(seconds, clock)))
    assert str(caught.value) == reason
    assert clock.now == 100 + seconds


def test_each_wait_gets_what_is_left():
    clock = Clock()
    dripping = DrippingSocket(clock, b"HTTP")
    stream = Stream(dripping, Deadline(10, clock))
    for _turn in range(3):
        stream.receive()
    assert dripping.timeouts == [10, 9, 8]


def test_a_resolver_that_hangs_is_left_behind():
    release = threading.Event()
    with pytest.raises(HttpError, match=r"name 'h' not resolved within 0\.01 s"):
        resolve("h", 80, Deadline(0.01), lambda *_args, **_named: release.wait())
    release.set()


def test_an_unknown_name_is_a_reason():
    def lookup(*_args, **_named):
        raise socket.gaierror(-2, "Name or service not known")

    with pytest.raises(HttpError, match="cannot resolve 'h'"):
        resolve("h", 80, Deadline(5), lookup)


def test_the_next_address_is_tried_when_one_refuses(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
        found = [(socket.AF_INET, ("127.0.0.1", 1)), (socket.AF_INET, address)]
        monkeypatch.setattr(connection, "resolve", lambda *_args: found)
        url = connection.Url.parse("http://two.example/")
        deadline = Deadline(5)
        stream = connection.connect(url, None, connection.DEFAULT_TLS, deadline)
        assert stream.deadline is deadline
        stream.close()


def test_a_large_request_stops_when_the_server_has_answered():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
        stream = Stream(ours, Deadline(5))
        stream.send(bytes(50_000_000))
        assert read_response(stream).status == 413


def test_what_was_said_before_the_pipe_broke_is_read():
    ours, theirs = socket.socketpair()
    with ours:
        theirs.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
        theirs.close()
        stream = Stream(ours, Deadline(5))
        stream.send(bytes(50_000_000))
        assert read_response(stream).status == 413


def test_a_server_that_takes_nothing_is_named():
    ours, theirs = socket.socketpair()
    with (
        ours,
        theirs,
        pytest.raises(HttpError, match=r"request not taken within 0\.05 s, connected"),
    ):
        Stream(ours, Deadline(0.05)).send(bytes(50_000_000))


def test_a_reset_is_a_reason():
    class Reset(DrippingSocket):
        def recv(self, size):
            raise ConnectionResetError

    with pytest.raises(Disconnected, match="connection broke: reset by the server"):
        Stream(Reset(Clock(), b""), Deadline(5)).receive()


def test_a_missing_unix_socket_is_a_reason(tmp_path):
    url = connection.Url.parse("http://localhost/")
    path = str(tmp_path / "no.sock")
    with pytest.raises(HttpError, match=r"cannot connect to .*no\.sock: no such file or directory"):
        connection.connect(url, path, connection.DEFAULT_TLS, Deadline(5))


def test_a_unix_socket_with_a_full_queue_is_waited_for_until_the_deadline(tmp_path):
    path = str(tmp_path / "full.sock")
    url = connection.Url.parse("http://localhost/")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(0)
        with socket.socket(socket.AF_UNIX) as first:
            first.connect(path)
            with pytest.raises(HttpError, match=r"full\.sock: no connection within 0\.05 s"):
                connection.connect(url, path, connection.DEFAULT_TLS, Deadline(0.05))
