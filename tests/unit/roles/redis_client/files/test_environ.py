# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""No visitor decides what another one gets: the key has all that decides an answer, and all else is recorded."""

from __future__ import annotations

import contextlib
import itertools

import evenkeel_cache
import evenkeel_environ
import evenkeel_sessions
import flask
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.test import EnvironBuilder

pytestmark = pytest.mark.usefixtures("taught")

RULES = evenkeel_cache.Rules(paths=[("/*", 60)])
VALUES = (None, "", "0", "None", "x", '"x"', "null", "a=b\0c")


def ask(app, environ):
    """Return the body of a response, and its cache status."""
    response_headers = {}

    def start(_status, headers, _exc_info=None):
        response_headers.update(headers)

    body = app(dict(environ), start)
    try:
        return b"".join(body).decode(), response_headers.get("X-Cache")
    finally:
        if hasattr(body, "close"):
            body.close()


def changed(environ, values):
    """The environ with these values; None is absent."""
    environ = {**environ, **values}
    return {name: value for name, value in environ.items() if value is not None}


def cached(store, app):
    store.inside.flushall()
    return evenkeel_cache.CacheMiddleware(app, store.guarded(), "shop:", "r1", RULES, tells=True)


def page():
    return EnvironBuilder("/page").get_environ()


def respond(start_response, text):
    body = text.encode()
    headers = [("Content-Type", "text/html"), ("Content-Length", str(len(body)))]
    start_response("200 OK", headers)
    return [body]


# The key

NAMES = st.sampled_from([*evenkeel_environ.KEY, "HTTP_X_MARKET"])
ANY = st.one_of(
    st.none(),
    st.sampled_from(VALUES),
    st.text(),
    st.sampled_from(["\ud83d\ude00", "\U0001f600", "\udc80"]),
)
ENVIRONS = st.dictionaries(NAMES, ANY)


@given(ENVIRONS, NAMES, ANY, ANY)
def test_keys_of_requests_that_differ_in_one_keyed_name_differ(environ, name, one, other):
    vary = ["HTTP_X_MARKET"]
    keys = {
        value: evenkeel_environ.digest_of(changed(environ, {name: value}), vary)
        for value in (one, other)
    }
    assert len({*keys.values()}) == len(keys)


@given(ENVIRONS, ENVIRONS)
def test_two_requests_have_the_same_key_only_if_they_are_the_same(one, other):
    vary = ["HTTP_X_MARKET"]
    is_same = changed(one, {}) == changed(other, {})
    digests = [evenkeel_environ.digest_of(each, vary) for each in (one, other)]
    assert (digests[0] == digests[1]) == is_same


@given(ENVIRONS, st.lists(NAMES, max_size=2))
def test_the_names_of_vary_are_in_the_key(environ, vary):
    assert (evenkeel_environ.digest_of(environ, vary) == evenkeel_environ.digest_of(environ)) == (
        not vary
    )


@pytest.mark.parametrize("name", sorted(evenkeel_environ.FREE - {"REQUEST_METHOD"}))
def test_what_may_be_read_freely_gives_each_request_its_own_answer(store, name):
    if name in evenkeel_environ.CONSTANT:
        # No request decides it.
        assert not name.startswith("HTTP_")
        return

    def app(environ, start_response):
        return respond(start_response, repr(environ.get(name)))

    client = cached(store, app)
    values = ("http", "https") if name == "wsgi.url_scheme" else VALUES
    for value in [*values, *reversed(values)] * 2:
        environ = changed(page(), {name: value})
        if name == "PATH_INFO":
            environ[name] = value or "/"
        assert ask(client, environ)[0] == repr(environ.get(name))


@pytest.mark.parametrize("name", evenkeel_environ.CONDITIONAL)
def test_an_app_that_reads_a_condition_answers_it(store, name):
    def app(environ, start_response):
        return respond(start_response, repr(environ.get(name)))

    client = cached(store, app)
    for value in (None, "x", None, "y", "x"):
        assert ask(client, changed(page(), {name: value}))[0] == repr(value)
    assert ask(client, page())[1] == "HIT"


# Reads of a request, and their places

READ = (
    "CONTENT_TYPE",
    "HTTP_ACCEPT",
    "HTTP_CF_IPCOUNTRY",
    "HTTP_COOKIE",
    "HTTP_HOST",
    "HTTP_IF_NONE_MATCH",
    "HTTP_USER_AGENT",
    "HTTP_X_FORWARDED_FOR",
    "HTTP_X_FORWARDED_HOST",
    "HTTP_X_FORWARDED_PREFIX",
    "REMOTE_ADDR",
    "REMOTE_USER",
    "SCRIPT_NAME",
    "SERVER_PROTOCOL",
    "werkzeug.proxy_fix.orig",
)


def by_get(environ, name):
    return environ.get(name)


def by_item(environ, name):
    with contextlib.suppress(KeyError):
        return environ[name]


def by_presence(environ, name):
    return name in environ


def by_copy(environ, name):
    return dict(environ).get(name)


def by_unpacking(environ, name):
    return {**environ}.get(name)


def by_items(environ, name):
    return next((value for each, value in environ.items() if each == name), None)


def by_setdefault(environ, name):
    found = environ.setdefault(name, "none")
    if found == "none":
        del environ[name]
    return found


def by_deletion(environ, name):
    try:
        before = environ.pop(name)
    except KeyError:
        return None
    environ[name] = before
    return before


def by_comparison(environ, name):
    return environ == {name: 1}, environ != {}, len(environ)


def by_iteration(environ, name):
    return sorted(each for each in environ if each == name)


WAYS = (
    by_get,
    by_item,
    by_presence,
    by_copy,
    by_unpacking,
    by_items,
    by_setdefault,
    by_deletion,
    by_comparison,
    by_iteration,
)


class Layer:
    """A middleware that reads something and hands it on."""

    def __init__(self, app, name, reads):
        self.app, self.name, self.reads = app, f"probe.{name}", reads

    def __call__(self, environ, start_response):
        environ[self.name] = seen_by(environ, self.reads)
        return self.app(environ, start_response)


def seen_by(environ, reads):
    return repr([way(environ, name) for way, name in reads])


def app_of(outside, inside, request_class, setter, view, prefixes):
    """A function of the environ that reads it in these ways at these layers."""

    class Request(flask.Request):
        @property
        def headers(self):
            return self.__dict__["own_headers"]

        @headers.setter
        def headers(self, headers):
            self.__dict__["own_headers"] = headers
            self.set = seen_by(headers.environ, setter)

        def __init__(self, environ, *args, **options):
            self.early = seen_by(environ, request_class)
            super().__init__(environ, *args, **options)
            self.late = repr(vars(self).get("remote_addr")) if request_class else ""

    app = flask.Flask(__name__)
    app.request_class = Request
    app.session_interface = evenkeel_sessions.CookieSessions()

    @app.get("/page")
    def shown():
        request = flask.request
        own = request.early, request.set, request.environ["probe.in"], request.environ["probe.out"]
        return repr((own, seen_by(request.environ, view)))

    app.wsgi_app = ProxyFix(app.wsgi_app, x_prefix=prefixes, x_port=1)
    # As APM agents do it.
    app.wsgi_app.app = Layer(app.wsgi_app.app, "in", inside)
    app.wsgi_app = Layer(app.wsgi_app, "out", outside)
    return app


READS_OF_A_LAYER = st.lists(st.tuples(st.sampled_from(WAYS), st.sampled_from(READ)), max_size=2)
REQUESTS = st.lists(
    st.dictionaries(
        st.sampled_from([name for name in READ if "." not in name and name != "SCRIPT_NAME"]),
        st.sampled_from(["None", "a", "b, c"]),
        max_size=4,
    ),
    min_size=2,
    max_size=3,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)
@given(*[READS_OF_A_LAYER] * 5, st.integers(0, 1), REQUESTS)
def test_each_request_gets_its_own_answer_wherever_the_app_reads_it(
    store, outside, inside, request_class, setter, view, prefixes, requests
):
    app = app_of(outside, inside, request_class, setter, view, prefixes)
    client = cached(store, app)
    for values in itertools.chain(requests, requests, reversed(requests)):
        environ = changed(page(), values)
        # Both see an input of their own.
        own, plain = ({**environ, "wsgi.input": environ["wsgi.input"]} for _each in range(2))
        assert ask(client, own)[0] == ask(app, plain)[0]


def test_an_app_that_reads_nothing_else_is_kept_through_all_layers(store):
    client = cached(store, app_of([], [], [], [], [], 1))
    answers = [ask(client, page())[1] for _time in range(2)]
    assert answers == ["MISS", "HIT"]


@pytest.mark.parametrize("layer", range(5))
@pytest.mark.parametrize("name", ["REMOTE_ADDR", "HTTP_X_FORWARDED_FOR", "REMOTE_USER"])
def test_an_address_counts_wherever_it_is_read(store, layer, name):
    reads = [[], [], [], [], []]
    reads[layer] = [(by_get, name)]
    client = cached(store, app_of(*reads, 0))
    for address in ("192.0.2.1", "192.0.2.2") * 2:
        text, what = ask(client, changed(page(), {name: address}))
        assert address in text
        assert what != "HIT"


class Keeper(flask.Request):
    """An app that stores the given address, in its own way."""

    @property
    def remote_addr(self):
        return self.__dict__.get("kept")

    @remote_addr.setter
    def remote_addr(self, address):
        self.__dict__["kept"] = address


class Jotter(flask.Request):
    def __setattr__(self, name, value):
        super().__setattr__(name, value)
        if name == "remote_addr":
            self.__dict__["jotted"] = value


class Setter(flask.Request):
    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.remote_addr = f"<{self.remote_addr}>"


@pytest.mark.parametrize(
    ("kind", "name"), [(Keeper, "kept"), (Jotter, "jotted"), (Setter, "remote_addr")]
)
def test_a_request_class_that_handles_the_address_itself_is_recorded(store, kind, name):
    app = flask.Flask(__name__)
    app.request_class = kind
    app.session_interface = evenkeel_sessions.CookieSessions()
    app.add_url_rule("/page", "page", lambda: str(getattr(flask.request, name)))
    client = cached(store, app)
    for address in ("192.0.2.1", "192.0.2.2") * 2:
        assert address in ask(client, changed(page(), {"REMOTE_ADDR": address}))[0]


def test_a_proxy_fix_that_reads_values_itself_is_recorded(store):
    class Own(ProxyFix):
        def _get_real_value(self, trusted, value):
            self.last = value or self.last
            return super()._get_real_value(trusted, value)

    app = flask.Flask(__name__)
    app.session_interface = evenkeel_sessions.CookieSessions()
    fix = app.wsgi_app = Own(app.wsgi_app)
    fix.last = ""
    app.add_url_rule("/page", "page", lambda: fix.last)
    client = cached(store, app)
    for address in ("192.0.2.1", "192.0.2.2") * 2:
        assert ask(client, changed(page(), {"HTTP_X_FORWARDED_FOR": address}))[0] == address
