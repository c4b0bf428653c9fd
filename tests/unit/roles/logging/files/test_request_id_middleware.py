# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each request has one id, from its header through its log lines to its answer."""

from __future__ import annotations

import dataclasses
import io
import logging
import re
import threading
from wsgiref.util import FileWrapper

import evenkeel_logging
import pytest

MADE = re.compile(r"[0-9a-f]{32}")


def call(app, given=None, **environ):
    """Serve a request as a server does: its headers, and its body once it was read and closed."""
    if given is not None:
        environ["HTTP_X_REQUEST_ID"] = given
    answered = []
    body = evenkeel_logging.RequestIdMiddleware(app)(environ, lambda *args: answered.append(args))
    try:
        read = b"".join(body)
    finally:
        if hasattr(body, "close"):
            body.close()
    ids = [value for name, value in answered[0][1] if name.lower() == "x-request-id"]
    return ids, read


def current():
    return (evenkeel_logging.request_id.get() or "").encode()


def plain(environ, start_response):
    start_response("200 OK", [])
    return [current()]


@pytest.mark.parametrize("given", ["a", "3f2b-1.x_Y", "x" * 128])
def test_a_sane_id_of_the_proxy_is_kept(given):
    assert call(plain, given) == ([given], given.encode())


@pytest.mark.parametrize(
    "given", [None, "", "x" * 129, "a b", "a,b", "a\n", '"};', "é", "<script>"]
)
def test_any_other_id_is_replaced_by_one_of_our_own(given):
    (made,), seen = call(plain, given)
    assert MADE.fullmatch(made)
    assert seen == made.encode()


def test_the_app_finds_the_same_id_in_the_header_that_it_may_read_itself():
    def app(environ, start_response):
        start_response("200 OK", [])
        return [environ["HTTP_X_REQUEST_ID"].encode()]

    (made,), seen = call(app, "not sane")
    assert seen == made.encode()


@pytest.mark.parametrize("name", ["X-Request-ID", "x-request-id"])
def test_an_id_that_the_app_answers_itself_is_left_alone(name):
    def app(environ, start_response):
        start_response("200 OK", [(name, "its own")])
        return []

    assert call(app, "given")[0] == ["its own"]


def test_a_body_that_is_made_while_it_is_sent_knows_the_id_until_it_is_closed():
    seen = []

    class Body:
        def __iter__(self):
            yield b"1" + current()
            yield b"2" + current()

        def close(self):
            seen.append(current())

    def app(environ, start_response):
        start_response("200 OK", [])
        return Body()

    assert call(app, "mine")[1] == b"1mine2mine"
    assert seen == [b"mine"]


def test_the_id_is_forgotten_between_the_parts_of_a_body_and_after_it():
    def app(environ, start_response):
        start_response("200 OK", [])
        yield current()
        yield current()

    first = evenkeel_logging.RequestIdMiddleware(app)(
        {"HTTP_X_REQUEST_ID": "one"}, lambda *_args: None
    )
    second = evenkeel_logging.RequestIdMiddleware(app)(
        {"HTTP_X_REQUEST_ID": "two"}, lambda *_args: None
    )
    assert [next(iter(first)), current(), next(iter(second)), next(iter(first))] == [
        b"one",
        b"",
        b"two",
        b"one",
    ]
    assert current() == b""


def test_requests_of_several_threads_keep_their_ids_apart():
    together = threading.Barrier(8, timeout=30)
    seen = {}

    def app(environ, start_response):
        start_response("200 OK", [])
        together.wait()
        yield current()

    def client(name):
        seen[name] = call(app, name)[1]

    threads = [threading.Thread(target=client, args=(f"request-{n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == {f"request-{n}": f"request-{n}".encode() for n in range(8)}


@pytest.mark.parametrize("body", [[b"a"], (b"a",), FileWrapper(io.BytesIO(b"a"))])
def test_a_body_that_logs_nothing_reaches_the_server_as_it_is(body):
    environ = {"wsgi.file_wrapper": FileWrapper}
    middleware = evenkeel_logging.RequestIdMiddleware(lambda *_args: body)
    assert middleware(environ, lambda *_args: None) is body


@dataclasses.dataclass(frozen=True)
class Frozen(Exception):
    """An exception whose attributes cannot be set."""


def crash(environ, start_response):
    raise Frozen


def crash_later(environ, start_response):
    start_response("200 OK", [])
    yield b"begun"
    raise Frozen


@pytest.mark.parametrize("app", [crash, crash_later])
def test_who_logs_an_exception_that_left_the_app_knows_whose_it_was(
    app, settings, untouched_root, lines
):
    evenkeel_logging.install(settings)
    with pytest.raises(Frozen):
        call(app, "mine")
    try:
        call(app, "mine")
    except Frozen:
        logging.getLogger("server").exception("It crashed")
    assert lines("app.log")[0]["request_id"] == "mine"
    assert current() == b""
