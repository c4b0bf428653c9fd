# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A write is visible whenever it is done and however its request ends."""

from __future__ import annotations

import evenkeel_cache
import evenkeel_sessions
import evenkeel_writes
import flask
import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.test import Client, EnvironBuilder

pytestmark = pytest.mark.usefixtures("taught")

RULES = evenkeel_cache.Rules(paths=[("/page", 60)])


class Site:
    """An app with one page, which a POST may change at any point, and a cache of two workers."""

    def __init__(self, store):
        self.text = "public"
        self.act = lambda: None
        self.app = app = flask.Flask(__name__)
        app.session_interface = evenkeel_sessions.CookieSessions()
        app.add_url_rule("/page", "page", lambda: self.text)
        self.workers = [
            evenkeel_cache.CacheMiddleware(app, store.guarded(), "shop:", "r1", RULES, tells=True)
            for _number in range(2)
        ]
        self.readers = [Client(worker) for worker in self.workers]

    def write(self):
        """Other clients read before and after it, while the writing request is in progress."""
        self.read()
        self.text = "hidden"
        self.must_be_hidden()
        self.must_be_hidden()

    def read(self):
        return [reader.get("/page").get_data(as_text=True) for reader in self.readers]

    def must_be_hidden(self):
        assert self.read() == ["hidden", "hidden"]

    def post(self):
        with Client(self.workers[0]).post("/change", buffered=True) as answer:
            return answer.status_code


@pytest.fixture
def site(store):
    return Site(store)


def in_the_view(site):
    site.write()
    return "done"


def in_after_request(site):
    @flask.after_this_request
    def act(answer):
        site.write()
        return answer

    return "done"


def in_teardown_request(site):
    site.act = site.write
    return "done"


def in_the_body(site):
    def pieces():
        yield "before"
        site.write()
        yield "after"

    return flask.Response(pieces())


def when_it_is_closed(site):
    answer = flask.make_response("done")
    answer.call_on_close(site.write)
    return answer


def before_an_error(site):
    site.write()
    raise ZeroDivisionError


def before_an_answer_of(status):
    def view(site):
        site.write()
        return "half of it was done", status

    view.__name__ = f"before_a_{status}"
    return view


MOMENTS = [
    in_the_view,
    in_after_request,
    in_teardown_request,
    in_the_body,
    when_it_is_closed,
    before_an_error,
    *map(before_an_answer_of, (200, 302, 400, 409, 410, 422, 500, 503)),
]


def serve(site, moment):
    site.app.add_url_rule("/change", "change", lambda: moment(site), methods=["POST"])

    @site.app.teardown_request
    def teardown(_error):
        act, site.act = site.act, lambda: None
        act()


@pytest.mark.parametrize("moment", MOMENTS, ids=lambda moment: moment.__name__)
def test_whoever_asks_after_a_write_sees_it(site, moment):
    serve(site, moment)
    site.read()
    assert site.read() == ["public", "public"]
    site.post()
    for _time in range(3):
        site.must_be_hidden()
    assert site.readers[1].get("/page").headers["X-Cache"] == "HIT"


@pytest.mark.parametrize("moment", MOMENTS, ids=lambda moment: moment.__name__)
def test_whoever_asks_after_a_write_of_a_worker_that_was_killed_sees_it(site, moment, monkeypatch):
    serve(site, moment)
    site.read()
    # The killed worker does not report the end of its write.
    for name in ("end", "forget"):
        monkeypatch.setattr(site.workers[0].writes, name, lambda *_args: None)
    site.post()
    site.must_be_hidden()
    # Nothing is stored until the write has certainly ended.
    assert site.readers[1].get("/page").headers["Cache-Status"].endswith('"a write is under way"')
    now = evenkeel_cache.time.time()
    later = now + evenkeel_writes.WRITING_SECONDS + 1
    monkeypatch.setattr(evenkeel_cache.time, "time", lambda: later)
    for _time in range(2):
        site.must_be_hidden()
    assert site.readers[1].get("/page").headers["X-Cache"] == "HIT"


@pytest.mark.parametrize("status", [401, 403, 404, 405, 413, 429])
def test_a_refused_request_makes_nothing_old(site, status):
    serve(site, lambda site: ("no", status))
    site.read()
    assert site.post() == status
    assert site.readers[1].get("/page").headers["X-Cache"] == "HIT"


def test_a_request_to_a_path_that_changes_nothing_makes_nothing_old(store):
    site = Site(store)
    for worker in site.workers:
        worker.rules = evenkeel_cache.Rules(paths=[("/change", 0, False), ("/page", 60)])
    serve(site, lambda site: "the form again")
    site.read()
    for _time in range(3):
        site.post()
        assert site.readers[1].get("/page").headers["X-Cache"] == "HIT"


def test_a_generation_that_was_evicted_never_comes_back(site, store):
    serve(site, in_the_view)
    site.read()
    store.inside.delete("shop:cache:generation")
    site.text = "hidden"
    site.must_be_hidden()


@pytest.mark.parametrize(
    "commands", [("append", "set", "pipeline"), ("set",), ("mget",), ("pipeline",)], ids=str
)
def test_an_error_of_redis_ends_one_operation_and_no_request(site, monkeypatch, commands):
    serve(site, in_the_view)
    site.read()

    def refuse(*_args, **_options):
        raise redis.ResponseError("OOM command not allowed when used memory > 'maxmemory'.")

    for worker in site.workers:
        for command in commands:
            monkeypatch.setattr(worker.redis.redis, command, refuse)
    site.post()
    site.must_be_hidden()
    monkeypatch.undo()
    for _time in range(3):
        site.must_be_hidden()


# The text


class Text:
    """Redis, as far as the text needs it."""

    def __init__(self):
        self.text = b""
        self.now = 1000.0
        self.writes = evenkeel_writes.Writes(self, "key", lambda: self.now)

    def ask(self, question):
        return question(self)

    def append(self, _key, text):
        self.text += text.encode()
        return len(self.text)

    def set(self, _key, text, nx=False):
        if nx and self.text:
            return False
        self.text = text.encode()
        return True

    def get(self, _key):
        return self.text

    def pipeline(self):
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        pass

    def watch(self, _key):
        pass

    def multi(self):
        pass

    execute = multi

    def state(self):
        return self.writes.read(self.text)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("begin"), st.none()),
        st.tuples(st.just("end"), st.tuples(st.integers(0, 9), st.booleans())),
        st.tuples(st.just("forget"), st.none()),
        st.tuples(st.just("wait"), st.integers(1, 70)),
        st.tuples(st.just("shorten"), st.none()),
    ),
    max_size=40,
)


@given(STEPS)
def test_a_generation_ends_with_a_change_and_returns_only_after_a_refusal(steps):
    text = Text()
    text.writes.start(text)
    dead, opened = set(), {}
    for step, value in steps:
        before = text.state().generation
        if step == "begin":
            # An earlier entry is valid again only if nothing was changed.
            opened[text.writes.begin()] = before, text.now
            dead.discard(before)
        elif step == "end" and opened:
            token = [*opened][value[0] % len(opened)]
            valid, _began = opened.pop(token)
            text.writes.end(token, value[1])
            if value[1]:
                dead |= {valid, before, *(each for each, _began in opened.values())}
        elif step == "forget":
            text.writes.forget()
            dead.add(before)
        elif step == "wait":
            text.now += value
        elif step == "shorten":
            text.writes._shorten(text)
            assert text.state().generation == before
        state = text.state()
        assert state.base
        assert state.generation not in dead
        is_open = any(text.now - began < 60 for _valid, began in opened.values())
        assert state.is_writing(text.now) == is_open
        assert len(text.text) < evenkeel_writes.LONG_BYTES + 40 * (len(opened) + 2)


def test_releases_of_an_earlier_version_make_it_old_too():
    text = Text()
    text.writes.start(text)
    before = text.state().generation
    text.set("key", "0123456789abcdef")
    assert text.state().generation == "0123456789abcdef" != before
    token = text.writes.begin()
    assert text.state().is_writing(text.now)
    text.writes.end(token, False)
    assert text.state().generation == "0123456789abcdef"


# The entries that one client can put into Redis


@pytest.fixture
def shop(store):
    app = flask.Flask(__name__)
    app.session_interface = evenkeel_sessions.CookieSessions()
    app.add_url_rule("/<path:name>", "any", lambda name: name * 10)
    rules = evenkeel_cache.Rules(paths=[("/*", 60)])
    return Client(evenkeel_cache.CacheMiddleware(app, store.guarded(), "shop:", "r1", rules))


def test_the_variants_of_a_path_are_bounded(shop, store):
    for number in range(100):
        for headers in ({}, {"Accept-Language": f"x-{number}"}, {"Host": f"h{number}.example"}):
            shop.get(f"/list?x={number}", headers=headers)
        assert len(store.inside.keys("*cache:*")) <= 50
    answer = shop.get("/list?x=1")
    assert answer.status_code == 200


def test_the_bytes_of_all_paths_are_bounded(shop, store, monkeypatch):
    monkeypatch.setattr(evenkeel_cache, "SIZES", ((400, 10), (1000, 5), (1 << 20, 3)))
    monkeypatch.setattr(evenkeel_cache, "BUCKETS", 4)
    bound = 2 * (10 * 400 + 5 * 1000 + 3 * 1500) + 4 * 2 * 22 * 32 + 3 * 20 * 32 + 1000
    for number in range(150):
        shop.get(f"/{'n' * (number * 7 % 110)}{number}")
        assert sum(map(store.inside.strlen, store.inside.keys())) < bound


def test_a_page_that_was_crowded_out_is_kept_again(shop):
    shop.get("/list")
    for number in range(100):
        shop.get(f"/list?x={number}")
    shop.get("/list")
    environ = EnvironBuilder("/list").get_environ()
    shop.application.app = None
    statuses = []
    shop.application(environ, lambda status, headers, _exc=None: statuses.append(status))
    assert statuses == ["200 OK"]
