# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The layers around an app, under a real gunicorn on a socket."""

from __future__ import annotations

import contextlib
import io
import pathlib
import socket
import subprocess
import sys
from dataclasses import dataclass

import pytest
from ansible_collections.evenkeel.flask.roles.flask_app.files import evenkeel_middleware

FILES = pathlib.Path(evenkeel_middleware.__file__).parent
APP = f"""\
import sys
sys.path.insert(0, {str(FILES)!r})
from evenkeel_middleware import DrainMiddleware, ReleaseMiddleware

def app(environ, start_response):
    start_response("413 Content Too Large", [("Content-Length", "9")])
    return [b"too large"]

bare = app
application = ReleaseMiddleware(DrainMiddleware(app), "r1")
"""
# More than the buffers of a socket hold.
LARGE = b"x" * (8 << 20)


@dataclass
class Peer:
    """A client that sends a whole body before it reads the response, as nginx does."""

    path: str

    def post(self, body: bytes) -> bytes:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(30)
            client.connect(self.path)
            head = f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
            client.sendall(head.encode() + body)
            answer = b""
            while block := client.recv(65536):
                answer += block
            return answer


@contextlib.contextmanager
def gunicorn(folder: pathlib.Path, entry: str, *options: str):
    (folder / "page.py").write_text(APP)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "slot.sock"))
        listener.listen()
        listener.set_inheritable(True)
        command = [sys.executable, "-m", "gunicorn", "--no-control-socket", "--chdir", str(folder)]
        process = subprocess.Popen(
            [*command, "--bind", f"fd://{listener.fileno()}", *options, f"page:{entry}"],
            pass_fds=[listener.fileno()],
            stderr=subprocess.DEVNULL,
        )
        try:
            yield Peer(str(folder / "slot.sock"))
        finally:
            process.terminate()
            process.wait(60)


@pytest.mark.parametrize("options", [(), ("--worker-class", "gthread", "--threads", "2")])
def test_an_upload_that_is_refused_unread_is_answered_and_not_cut_off(tmp_path, options):
    with gunicorn(tmp_path, "application", *options, "--keep-alive", "1") as peer:
        answer = peer.post(LARGE)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert answer.endswith(b"too large")
    assert b"X-Release: r1" in answer


def test_without_it_the_connection_breaks(tmp_path):
    with gunicorn(tmp_path, "bare") as peer, pytest.raises(OSError, match=r"Broken pipe|reset"):
        peer.post(LARGE)


def answered(environ, body=(b"ok",)):
    source = environ.setdefault("wsgi.input", io.BytesIO(b"rest"))
    given = body
    answer = evenkeel_middleware.DrainMiddleware(lambda _environ, _start: given)(environ, None)
    return answer, source


def test_a_request_without_a_body_gets_the_answer_as_it_is():
    body = [b"ok"]
    assert answered({}, body)[0] is body


def test_nothing_is_drained_before_the_answer_was_sent():
    answer, stream = answered({"CONTENT_LENGTH": "4"})
    assert list(answer) == [b"ok"]
    assert stream.tell() == 0
    answer.close()
    assert stream.read() == b""


def test_no_client_can_be_drained_for_ever():
    class Endless:
        given = 0

        def read(self, size):
            self.given += size
            return b"x" * size

    answer, source = answered({"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input": Endless()})
    answer.close()
    assert source.given == evenkeel_middleware.DRAIN_BYTES


def test_a_client_that_went_away_breaks_nothing():
    class Gone:
        def read(self, _size):
            raise ConnectionResetError

    answered({"CONTENT_LENGTH": "4", "wsgi.input": Gone()})[0].close()


def test_the_answer_is_closed_whatever_it_is():
    class Body(list):
        closed = False

        def close(self):
            self.closed = True

    body = Body([b"ok"])
    answered({"CONTENT_LENGTH": "4"}, body)[0].close()
    assert body.closed
