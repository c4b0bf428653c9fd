# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""No visitor gets the session of another: a test for each guarantee in docs/production.md."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import string

import evenkeel_redis
import flask
import pytest
import redis.exceptions
from ansible_collections.evenkeel.flask.roles.redis_client.files import (
    evenkeel_cache,
    evenkeel_limit,
    evenkeel_sessions,
)
from ansible_collections.evenkeel.flask.tests.unit.roles.redis_client.conftest import Store
from flask.sessions import SecureCookieSessionInterface
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from werkzeug.test import Client
from werkzeug.wrappers import Response

HARMLESS = sorted(evenkeel_sessions.HARMLESS)
LOGINS = [
    "_user_id", "user_id", "username", "logged_in", "loggedin", "projects", "is_admin", "uid", "email", "account",
    "profile", "google_oauth_token", "oidc_auth_profile", "simple_logged_in", "samlUserdata", "a key of tomorrow",
]  # fmt: skip


class Worker:
    """An app that does with its session what a test sets. It has no browser: a test sends the cookies."""

    def __init__(self, interface, **config):
        self.app = flask.Flask("shop")
        self.app.config.update({"SECRET_KEY": "first", "TESTING": True, **config})
        self.app.session_interface = self.interface = interface
        for path in ("/", "/logout", "/untouched"):
            self.app.add_url_rule(path, path, self.view, methods=["GET", "POST", "DELETE"])
        self.act = dict

    def view(self):
        if flask.request.path != "/untouched":
            self.result = self.act(flask.session)
        return "done"

    def ask(self, act=dict, cookie=None, method="GET", path="/", address="203.0.113.7"):
        """The status, what the act returned, and the cookie that a browser has then."""
        self.act, self.result = act, None
        headers = {"Cookie": f"{self.name}={cookie}"} if cookie else {}
        with self.app.test_client(use_cookies=False) as client:
            answer = client.open(
                path, method=method, headers=headers, environ_base={"REMOTE_ADDR": address}
            )
        for set_cookie in answer.headers.getlist("Set-Cookie"):
            name, _equals, rest = set_cookie.partition("=")
            if name == self.name:
                cookie = rest.partition(";")[0] or None
        return answer.status_code, self.result, cookie

    @property
    def name(self):
        return self.app.config["SESSION_COOKIE_NAME"]

    def give(self, act, cookie=None, method="POST"):
        """The cookie after an act that has to succeed."""
        status, _result, cookie = self.ask(act, cookie, method)
        assert status == 200
        return cookie

    def found(self, cookie):
        status, result, _cookie = self.ask(dict, cookie)
        assert status == 200
        return result


@pytest.fixture(name="worker")
def _worker(store):
    def worker(away="cookie", prefix="shop:", **config):
        guarded = store.guarded()
        return Worker(evenkeel_sessions.RedisSessions(guarded, prefix, away), **config)

    return worker


def put(**values):
    return lambda session: session.update(values)


def forget_grace(store):
    """As after some seconds."""
    for key in store.inside.scan_iter("*was:*"):
        store.inside.delete(key)


# Fixation


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "7", "x"]),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abc"), inner, max_size=2)
    ),
    max_leaves=4,
)
CONTENTS = st.dictionaries(st.sampled_from(["user", "cart", "id", *HARMLESS]), VALUES, max_size=4)


def turn_into(after):
    """By the same objects, as far as they are there: an app may change a value in place."""

    def turn(session):
        for key in [key for key in session if key not in after]:
            session.pop(key)
        for key, value in after.items():
            old = session.get(key)
            if isinstance(old, dict) and isinstance(value, dict):
                old.clear()
                old.update(value)
            elif isinstance(old, list) and isinstance(value, list):
                old[:] = value
            else:
                session[key] = value
        session.modified = True

    return turn


def serialized(content):
    return repr(
        sorted(
            (key, repr(content[key])) for key in content if key not in evenkeel_sessions.HARMLESS
        )
    )


@pytest.mark.slow
@given(before=CONTENTS, after=CONTENTS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_id_of_before_finds_what_a_request_made_of_the_session(before, after):
    store = Store()
    worker = Worker(evenkeel_sessions.RedisSessions(store.guarded(), "shop:"))
    planted = worker.give(lambda session: session.update(before))
    own = worker.give(turn_into(after), planted)
    assert worker.found(own) == after
    if serialized(before) == serialized(after):
        return
    assert own != planted
    assert worker.found(planted) in (before, {})
    forget_grace(store)
    if planted and "." not in planted:
        assert worker.found(planted) == {}
    assert worker.found(own) == after


@pytest.mark.parametrize("key", LOGINS)
@pytest.mark.parametrize("before", [{"csrf_token": "1"}, {"cart": [1]}, {}])
def test_a_login_by_any_key_gets_an_id_that_nobody_knows(key, before, worker, store):
    app = worker()
    planted = app.give(put(**before))
    own = app.give(put(**{key: 7}), planted)
    assert own not in (planted, None)
    assert app.found(own) == {**before, key: 7}
    assert key not in app.found(planted)
    assert len(store.sessions) == 1


@pytest.mark.parametrize("key", HARMLESS)
def test_a_message_and_a_token_of_a_form_keep_the_id(key, worker):
    app = worker()
    own = app.give(put(user=7))
    assert app.give(put(**{key: True}), own) == own
    assert app.found(own) == {"user": 7, key: True}


def test_a_login_as_the_same_user_after_a_clear_gets_a_new_id(worker):
    app = worker()
    known = app.give(put(user=7))

    def again(session):
        session.clear()
        session["user"] = 7

    own = app.give(again, known)
    assert own != known
    assert app.found(known) == {}


# Requests in flight


def test_a_request_in_flight_finds_what_was_there_before_and_leaves_the_cookie_alone(worker, store):
    app = worker()
    old = app.give(put(user=7, _permanent=True))
    new = app.give(put(cart=[1]), old)
    assert app.ask(dict, old) == (200, {"user": 7, "_permanent": True}, old)
    ttl = store.inside.pttl("shop:was:" + hashlib.sha256(old.encode()).hexdigest())
    assert 0 < ttl <= evenkeel_sessions.GRACE_SECONDS * 1000
    assert app.found(new)["cart"] == [1]
    forget_grace(store)
    assert app.found(old) == {}


TAKEN_AWAY = {
    "pop": lambda session: session.pop("user"),
    "del": lambda session: session.__delitem__("user"),
    "clear": lambda session: session.clear(),
    "clear and write": lambda session: (session.clear(), session.update(theme="dark")),
    "None": put(user=None),
    "False": put(user=False),
    "empty": put(user={}),
    "nested pop": lambda session: (session["user"].pop("id"), session.update()),
    "nested None": lambda session: (session["user"].update(id=None), session.update()),
}


@pytest.mark.parametrize("how", TAKEN_AWAY)
@pytest.mark.parametrize("in_flight", [False, True])
def test_a_logout_ends_every_id_at_once(how, in_flight, worker):
    """Also that of a request that changed the session a moment ago, and also by an id of before."""
    app = worker()
    first = app.give(put(user={"id": 7}, theme="dark"))
    second = app.give(put(cart=[1]), first)
    assert app.found(first)["user"] == {"id": 7}
    own = app.give(TAKEN_AWAY[how], first if in_flight else second)
    for cookie in (first, second):
        assert app.found(cookie) == {}
    assert not ((own and app.found(own).get("user")) or {}).get("id")


@pytest.mark.parametrize("late", [put(cart=[1]), lambda session: session.clear()])
@pytest.mark.parametrize("early", [put(theme="dark"), lambda session: session.pop("user")])
def test_of_two_requests_in_flight_at_most_one_leaves_a_session(early, late, worker, store):
    app, other = worker(), worker()
    own = app.give(put(user=7))
    cookies = [own]

    def overtaken(session):
        dict(session)
        cookies.append(other.give(early, own))
        late(session)

    cookies.append(app.give(overtaken, own))
    forget_grace(store)
    alive = [cookie for cookie in set(cookies) if cookie and app.found(cookie).get("user")]
    assert len(alive) <= 1
    assert len([key for key in store.sessions if b"user" in (store.inside.get(key) or b"")]) <= 1
    if "clear" in late.__code__.co_names or "pop" in early.__code__.co_names:
        assert alive == []


def test_a_write_by_a_request_in_flight_does_not_lengthen_the_life_of_its_id(worker, store):
    app = worker()
    old = app.give(put(user=7))
    app.give(put(cart=[1]), old)
    for act in (put(_flashes=[1]), put(csrf_token="1"), dict):
        assert app.ask(act, old)[2] == old
    digest = hashlib.sha256(old.encode()).hexdigest()
    assert store.inside.pttl("shop:was:" + digest) <= evenkeel_sessions.GRACE_SECONDS * 1000
    assert store.inside.exists("shop:session:" + digest) == 0


# Redis away: an error is not an empty session


ENDS = {
    "pop if it is there": lambda session: session.pop("user") if "user" in session else None,
    "pop": lambda session: session.pop("user", None),
    "clear": lambda session: session.clear(),
    "None": put(user=None),
}


@pytest.mark.parametrize("how", ENDS)
@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/"), ("DELETE", "/"), ("GET", "/logout"), ("POST", "/logout")]
)
def test_a_logout_while_redis_is_away_is_refused_and_not_pretended(
    how, method, path, worker, store
):
    app = worker()
    own = app.give(put(user=7))
    store.go()
    status, _result, cookie = app.ask(ENDS[how], own, method, path)
    assert (status, cookie) == (503, own)
    store.come_back()
    assert app.found(own) == {"user": 7}
    assert app.ask(ENDS[how], own, method, path)[0] == 200
    assert app.found(own) == {}


@pytest.mark.parametrize("how", [name for name in ENDS if "if" not in name])
def test_neither_is_one_by_a_get_of_another_name(how, worker, store):
    app = worker()
    own = app.give(put(user=7))
    store.go()
    status, _result, cookie = app.ask(ENDS[how], own)
    assert (status, cookie) == (503, own)


@pytest.mark.parametrize("how", ENDS)
def test_a_logout_is_refused_when_redis_is_lost_after_the_session_was_read(how, worker, store):
    app = worker()
    own = app.give(put(user=7))

    def lose(session):
        ENDS[how](session)
        store.go()

    assert app.ask(lose, own)[0] == 503


def test_pages_are_served_while_redis_is_away_and_nobody_loses_a_session_by_it(worker, store):
    app = worker()
    own = app.give(put(user=7))
    store.go()
    for act in (dict, lambda session: session.get("user"), put(csrf_token="1", _flashes=["x"])):
        status, _result, cookie = app.ask(act, own)
        assert (status, cookie) == (200, own)
    store.come_back()
    assert app.found(own) == {"user": 7}


def test_a_visitor_without_a_session_logs_in_while_redis_is_away(worker, store):
    app = worker()
    form = app.give(put(csrf_token="1"))
    store.go()
    own = app.give(put(user=7), form)
    assert app.found(own) == {"csrf_token": "1", "user": 7}
    assert app.ask(lambda session: session.clear(), own, "POST")[0] == 503
    richer = app.give(put(cart=[1]), own)
    store.come_back()
    stored = app.give(dict, richer)
    assert app.found(stored) == {"csrf_token": "1", "user": 7, "cart": [1]}
    assert "." not in stored
    assert app.give(lambda session: session.clear(), stored) is None
    for cookie in (own, richer, stored):
        assert app.found(cookie) == {}
    # Nor during the next absence.
    store.go()
    for cookie in (own, richer, stored):
        assert app.found(cookie) == {}


# Signed cookies are taken over once


def signed(content, key="first"):
    app = flask.Flask("shop")
    app.secret_key = key
    return SecureCookieSessionInterface().get_signing_serializer(app).dumps(content)


def test_a_signed_cookie_is_taken_over_once(worker, store):
    app = worker()
    old = signed({"user": 7})
    own = app.give(dict, old)
    assert app.found(own) == {"user": 7}
    # Others of its browser may be in flight.
    assert app.ask(dict, old) == (200, {"user": 7}, old)
    app.give(lambda session: session.clear(), own)
    assert app.found(old) == {}
    (spent,) = store.inside.scan_iter("*spent:*")
    assert store.inside.ttl(spent) > 30 * 24 * 3600


def test_a_signed_cookie_that_was_taken_over_is_not_taken_again_later(worker, store):
    app = worker()
    old = signed({"user": 7})
    app.give(dict, old)
    (spent,) = store.inside.scan_iter("*spent:*")
    store.inside.expire(spent, 30 * 24 * 3600)
    assert app.found(old) == {}


def test_another_spelling_of_its_signature_is_the_same_cookie(worker):
    app = worker()
    old = signed({"user": 7})
    others = [old[:-1] + letter for letter in string.ascii_letters + string.digits + "-_"]
    valid = [other for other in others if app.found(other)]
    app.give(lambda session: session.clear(), old)
    assert valid
    for other in valid:
        assert app.found(other) == {}


def test_a_logout_by_a_signed_cookie_ends_it(worker):
    app = worker()
    old = signed({"user": 7})
    assert app.give(lambda session: session.clear(), old) is None
    assert app.found(old) == {}


@pytest.mark.parametrize("act", [dict, put(user=8)])
def test_a_signed_cookie_of_before_cannot_be_trusted_while_redis_is_away(act, worker, store):
    """It may have been taken over and logged out."""
    app = worker()
    old = signed({"user": 7})
    store.go()
    status, result, cookie = app.ask(act, old)
    assert (status, cookie) == ((200, old) if act is dict else (503, old))
    assert not result
    store.come_back()
    assert app.found(old) == {"user": 7}


# The key


def rotated(app, key, fallbacks=()):
    app.app.config.update(SECRET_KEY=key, SECRET_KEY_FALLBACKS=list(fallbacks))
    return app


def flasks(**config):
    return Worker(SecureCookieSessionInterface(), **config)


@pytest.mark.parametrize("kind", ["cookie", "redis"])
@pytest.mark.parametrize(
    ("key", "fallbacks", "finds"),
    [
        ("first", [], True),
        ("second", [], False),
        ("second", ["first"], True),
        ("second", ["zeroth", b"first"], True),
        ("second", ["third"], False),
        (b"first", [], True),
    ],
)
def test_the_secret_key_ends_sessions_as_in_flask(key, fallbacks, finds, kind, worker):
    app = flasks() if kind == "cookie" else worker()
    own = app.give(put(user=7))
    assert app.found(own) == {"user": 7}
    assert bool(app.found(own) if finds else rotated(app, key, fallbacks).found(own)) is finds
    assert bool(rotated(app, key, fallbacks).found(own)) is finds


@given(key=st.binary(min_size=1, max_size=200), what=st.binary(max_size=100))
def test_the_mac_is_hmac_sha256(key, what):
    expected = hmac.digest(key, b"evenkeel session " + what, "sha256")
    assert expected.startswith(evenkeel_sessions._mac(key, what))


def test_a_session_in_use_outlives_the_fallback(worker):
    app = worker()
    own = app.give(put(user=7))
    moved = rotated(app, "second", ["first"]).give(dict, own)
    assert moved != own
    assert rotated(app, "second").found(moved) == {"user": 7}
    assert rotated(app, "second").found(own) == {}


PROPERTIES = {
    "SESSION_COOKIE_NAME": ["shop"],
    "SESSION_COOKIE_DOMAIN": ["shop.example"],
    "SESSION_COOKIE_PATH": ["/"],
    "SESSION_COOKIE_HTTPONLY": [True, False],
    "SESSION_COOKIE_SECURE": [True, False],
    "SESSION_COOKIE_SAMESITE": ["Lax", "Strict", "None", None],
    "SESSION_COOKIE_PARTITIONED": [True, False],
    "SESSION_REFRESH_EACH_REQUEST": [True, False],
    "PERMANENT_SESSION_LIFETIME": [600],
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name in PROPERTIES for value in PROPERTIES[name]]
)
@pytest.mark.parametrize("permanent", [True, False])
def test_flasks_settings_mean_the_same_with_both_stores(name, value, permanent, worker):
    outcomes = []
    for app in (flasks(**{name: value}), worker(**{name: value})):
        with app.app.test_client() as client:
            app.act = put(user=7, _permanent=permanent)
            answers = [client.get("/", base_url="https://shop.example")]
            for act in (
                dict,
                put(csrf_token="1"),
                put(cart=[1]),
                lambda session: session.clear(),
                dict,
            ):
                app.act = act
                answers.append(client.get("/", base_url="https://shop.example"))
        outcomes.append(
            [
                [
                    [part for part in each.split("; ")[1:] if not part.startswith("Expires=")]
                    for each in answer.headers.getlist("Set-Cookie")
                ]
                for answer in answers
            ]
        )
        outcomes[-1].append(app.result)
    assert outcomes[0] == outcomes[1]


def test_a_session_larger_than_a_cookie_is_kept_whole(worker):
    """Flask's own session would be lost: browsers store 4096 bytes."""
    app = worker()
    large = secrets.token_hex(5000)
    assert app.found(app.give(put(user=large))) == {"user": large}
    assert app.found(app.give(put(_flashes=[large]))) == {"_flashes": [large]}


def test_what_fits_in_no_cookie_is_refused_while_redis_is_away(worker, store):
    app = worker()
    store.go()
    assert app.ask(put(user=secrets.token_hex(5000)), method="POST")[0] == 503


# Two apps with one login


def test_two_apps_share_a_login_by_one_key_and_one_prefix(worker):
    shop, blog = worker(), worker()
    own = shop.give(put(user=7))
    assert blog.found(own) == {"user": 7}
    assert shop.found(own) == {"user": 7}


@pytest.mark.parametrize("config", [{"prefix": "blog:"}, {"SECRET_KEY": "other"}])
def test_they_do_not_by_another_prefix_or_key(config, worker):
    shop, blog = worker(), worker(**config)
    own = shop.give(put(user=7))
    assert blog.found(own) == {}
    assert shop.found(own) == {"user": 7}


# Sessions of the version before, whose ids have no MAC


@pytest.fixture(name="earlier")
def _earlier(store):
    """The cookie of a session as the version before wrote it."""

    def earlier(content=b'{"user":7}'):
        own = secrets.token_urlsafe(32)
        digest = hashlib.sha256(own.encode()).hexdigest()
        store.inside.set(f"shop:session:{digest}", content, ex=31 * 24 * 3600)
        return own

    return earlier


def test_nobody_is_logged_out_by_the_upgrade(earlier, worker, store):
    app, old = worker(), earlier()
    own = app.give(dict, old)
    assert len(own) == evenkeel_sessions.ID_LENGTH
    assert app.found(own) == {"user": 7}
    forget_grace(store)
    assert app.found(old) == {}
    # Releases of the version before find the session under the same digest.
    assert (
        store.inside.get("shop:session:" + hashlib.sha256(own.encode()).hexdigest())
        == b'{"user":7}'
    )


@pytest.mark.parametrize("was_seen", [True, False])
def test_a_new_key_ends_sessions_from_before_the_upgrade_too(was_seen, earlier, worker):
    old, other = earlier(), earlier()
    app = worker()
    own = app.give(dict, old) if was_seen else app.ask(path="/untouched")[2]
    later = worker(SECRET_KEY="second")
    for cookie in (old, other, own):
        if cookie:
            assert later.found(cookie) == {}
    assert worker(SECRET_KEY="third", SECRET_KEY_FALLBACKS=["first"]).found(other) == {"user": 7}


def test_the_key_of_before_is_learnt_when_redis_is_back(earlier, worker, store):
    app, old = worker(), earlier()
    store.go()
    assert app.found(old) == {}
    store.come_back()
    assert app.ask(path="/untouched")[0] == 200
    assert worker(SECRET_KEY="second").found(old) == {}
    assert app.found(old) == {"user": 7}


# A full Redis is not an absent Redis


def named(kind):
    return [
        each
        for each in vars(redis.exceptions).values()
        if isinstance(each, type) and issubclass(each, redis.exceptions.RedisError) and kind(each)
    ]


UNREACHABLE = evenkeel_redis.UNREACHABLE
ERRORS = [(each, True) for each in named(lambda each: issubclass(each, UNREACHABLE))]
ERRORS += [(each, False) for each in named(lambda each: not issubclass(each, UNREACHABLE))]
ERRORS += [(OSError, True), (ConnectionResetError, True)]


def test_only_an_unreachable_server_is_taken_for_one():
    names = {error.__name__ for error, is_away in ERRORS if is_away}
    assert {"ConnectionError", "TimeoutError", "BusyLoadingError", "MasterDownError"} <= names
    assert not {"OutOfMemoryError", "ResponseError", "ReadOnlyError", "NoPermissionError"} & names


class Failing:
    """A Redis that fails once it is armed, at every command or at those that write."""

    def __init__(self, inner, error):
        self.inner, self.error, self.armed = inner, error, False

    def pipeline(self, **options):
        made = self.inner.pipeline(**options)
        execute = made.execute

        def fail(*args, **kwargs):
            self._check()
            return execute(*args, **kwargs)

        made.execute = fail
        return made

    def __getattr__(self, name):
        command = getattr(self.inner, name)

        def fail(*args, **kwargs):
            self._check()
            return command(*args, **kwargs)

        return fail

    def _check(self):
        if self.armed:
            raise made_error(self.error)


def made_error(kind):
    try:
        return kind("OOM command not allowed when used memory > 'maxmemory'.")
    except (IndexError, ValueError):
        # Errors of a cluster contain an address.
        return kind("1 127.0.0.1:6379")


OPERATIONS = {
    "read a session": lambda app, own: app.ask(dict, own),
    "keep a session": lambda app, own: app.ask(put(user=8)),
    "change a session": lambda app, own: app.ask(put(cart=[1]), own, "POST"),
    "end a session": lambda app, own: app.ask(lambda session: session.clear(), own, "POST"),
    "take a cookie over": lambda app, own: app.ask(dict, signed({"user": 9})),
}


@pytest.mark.parametrize("operation", [*OPERATIONS, "cache", "limit"])
@pytest.mark.parametrize(
    ("error", "is_away"), ERRORS, ids=[error.__name__ for error, _is_away in ERRORS]
)
def test_an_error_of_one_operation_changes_no_other(error, is_away, operation, worker, store):
    app = worker()
    own = app.give(put(user=7))
    guarded = app.interface.guarded
    failing = guarded.redis = Failing(guarded.redis, error)
    if operation == "cache":
        rules = evenkeel_cache.Rules([("/*", 60)])
        cache = evenkeel_cache.CacheMiddleware(
            Response("page", content_type="text/html"), guarded, "shop:", "r1", rules
        )
        client = Client(cache)

        def run():
            return client.get("/").status_code

    elif operation == "limit":
        client = Client(evenkeel_limit.FleetLimit(Response("page"), guarded, "shop:", 1000))
        address = {"REMOTE_ADDR": "203.0.113.7"}

        def run():
            return client.get("/", environ_overrides=address).status_code

    else:

        def run():
            return OPERATIONS[operation](app, own)[0]

    failing.armed = True
    status = run()
    failing.armed = False
    assert status in (200, 503)
    assert (guarded.away_since is not None) is is_away
    if is_away:
        assert app.found(own) == {}
        store.time += evenkeel_redis.RETRY_SECONDS
    # Each response is true: an end that was not refused did end the session.
    assert app.found(own) == ({} if operation == "end a session" and status == 200 else {"user": 7})


class Full(Failing):
    """A Redis at its maxmemory with noeviction, which reads and deletes."""

    def pipeline(self, **options):
        made = self.inner.pipeline(**options)
        execute, command = made.execute, made.execute_command
        denied = []

        def queue(*args, **kwargs):
            denied.extend(args[:1] if args[0] in ("SET", "SETNX", "RENAME", "INCR") else [])
            return command(*args, **kwargs)

        def fail(*args, **kwargs):
            if self.armed and denied:
                made.reset()
                raise made_error(self.error)
            return execute(*args, **kwargs)

        made.execute, made.execute_command = fail, queue
        return made

    def __getattr__(self, name):
        command = getattr(self.inner, name)

        def fail(*args, **kwargs):
            if name in ("set", "setnx", "rename"):
                self._check()
            return command(*args, **kwargs)

        return fail


def test_a_full_redis_logs_nobody_out_and_lets_people_in_and_out(worker):
    app = worker()
    own = app.give(put(user=7))
    guarded = app.interface.guarded
    full = guarded.redis = Full(guarded.redis, redis.exceptions.OutOfMemoryError)
    full.armed = True
    assert app.found(own) == {"user": 7}
    # A new session is Flask's own for as long as this lasts.
    new = app.give(put(user=8))
    assert app.found(new) == {"user": 8}
    changed = app.give(put(cart=[1]), own)
    assert app.found(changed) == {"user": 7, "cart": [1]}
    assert app.found(own) == {}
    # A session that was never in Redis cannot be ended there, and the app does not report that it was.
    assert app.ask(lambda session: session.clear(), changed, "POST")[0] == 503
    full.armed = False
    for cookie in (new, changed):
        stored = app.give(dict, cookie)
        assert app.give(lambda session: session.clear(), stored) is None
        for each in (cookie, stored):
            assert app.found(each) == {}


def test_a_logout_succeeds_with_a_full_redis(worker):
    app = worker()
    own = app.give(put(user=7))
    guarded = app.interface.guarded
    full = guarded.redis = Full(guarded.redis, redis.exceptions.OutOfMemoryError)
    full.armed = True
    assert app.give(lambda session: session.pop("user"), own) is None
    assert app.found(own) == {}


# The memory that one client can fill


@pytest.mark.slow
@given(turns=st.lists(st.sampled_from(["new", "again"]), max_size=30))
@settings(max_examples=30)
def test_a_client_with_forms_fills_nothing(turns):
    store = Store()
    app = Worker(evenkeel_sessions.RedisSessions(store.guarded(), "shop:"))
    cookie, before = None, None
    for turn in ["new", *turns]:
        cookie = app.give(put(csrf_token="1", _flashes=[1]), cookie if turn == "again" else None)
        before = before or store.inside.dbsize()
        assert store.inside.dbsize() == before == 1


MOST = 3
ROUTES = [
    put(lang="de"),
    put(user=7),
    put(cart=[1], csrf_token="1"),
    lambda session: session.clear(),
    dict,
]


@pytest.mark.slow
@given(
    turns=st.lists(
        st.tuples(st.sampled_from(ROUTES), st.integers(0, 5), st.booleans()),
        min_size=1,
        max_size=40,
    )
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_client_has_a_bounded_number_of_sessions_that_last(turns, monkeypatch_module):
    """All others live for hours: a client has as many as it can request in that time."""
    monkeypatch_module.setattr(evenkeel_sessions, "MAX_LONG_SESSIONS", MOST)
    store = Store()
    app = Worker(evenkeel_sessions.RedisSessions(store.guarded(), "shop:"))
    cookies = []
    for act, which, with_cookie in turns:
        shown = cookies[which % len(cookies)] if cookies and with_cookie else None
        cookie = app.ask(act, shown)[2]
        if cookie:
            cookies.append(cookie)
    lasting = [
        key for key in store.sessions if store.inside.ttl(key) > evenkeel_sessions.FIRST_SECONDS
    ]
    assert len(lasting) <= MOST
    for key in store.inside.scan_iter():
        if key not in lasting and not key.startswith((b"shop:key:", b"shop:spent:", b"shop:long:")):
            assert 0 < store.inside.ttl(key) <= evenkeel_sessions.FIRST_SECONDS


@pytest.fixture(name="monkeypatch_module", scope="module")
def _monkeypatch_module():
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("203.0.113.7", "203.0.113.8", False),
        ("2001:db8::1", "2001:db8::ffff", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:203.0.113.7", "203.0.113.7", True),
    ],
)
def test_a_client_is_a_network_as_one_customer_has_it(one, other, same):
    assert (evenkeel_redis.client_of(one) == evenkeel_redis.client_of(other)) is same


# All of it together


class Sessions(RuleBasedStateMachine):
    """A browser, an attacker with every cookie that was ever seen, two workers, and what may happen to them."""

    @initialize()
    def begin(self):
        self.store = Store()
        self.config = {"SECRET_KEY": "key 0", "SECRET_KEY_FALLBACKS": []}
        self.workers = [
            Worker(evenkeel_sessions.RedisSessions(self.store.guarded(), "shop:"), **self.config)
            for _number in range(2)
        ]
        self.jar, self.jar_key, self.seen = None, None, []
        self.users, self.ended, self.number = 0, 0, 0
        self.is_away = False

    def do(self, act, cookie, worker, method="POST", path="/"):
        app = self.workers[worker]
        app.app.config.update(self.config)
        status, result, cookie = app.ask(act, cookie, method, path)
        if cookie and cookie not in self.seen:
            self.seen.append(cookie)
        return status, result, cookie

    def browse(self, act, worker, method="POST", path="/"):
        before = self.jar
        status, _result, self.jar = self.do(act, self.jar, worker, method, path)
        if self.jar != before:
            self.jar_key = self.config["SECRET_KEY"]
        return status

    @rule(worker=st.integers(0, 1))
    def log_in(self, worker):
        self.users += 1
        self.browse(put(user=self.users), worker)

    @rule(worker=st.integers(0, 1), key=st.sampled_from(["cart", "csrf_token", "_flashes"]))
    def write(self, worker, key):
        self.number += 1
        self.browse(put(**{key: self.number}), worker)

    @rule(worker=st.integers(0, 1))
    def look(self, worker):
        self.browse(dict, worker, "GET")

    @rule(
        worker=st.integers(0, 1),
        how=st.sampled_from(sorted(ENDS)),
        where=st.sampled_from([("POST", "/"), ("GET", "/logout")]),
    )
    def log_out(self, worker, how, where):
        # As with Flask's own sessions, a cookie that no key verifies names no session that could end.
        keys = [self.config["SECRET_KEY"], *self.config["SECRET_KEY_FALLBACKS"]]
        is_readable = self.jar_key in keys
        if self.browse(ENDS[how], worker, *where) < 400 and is_readable:
            self.ended = self.users

    @rule()
    def lose_redis(self):
        self.store.go()
        self._notice()

    @rule()
    def get_redis_back(self):
        self.store.come_back()
        self._notice()

    def _notice(self):
        """Workers that have something to do notice at once; see the limits in docs/production.md."""
        for worker in (0, 1):
            self.workers[worker].ask(put(probe=1))

    @rule(keeps=st.booleans())
    def rotate_the_key(self, keeps):
        self.number += 1
        old = self.config["SECRET_KEY"]
        self.config = {
            "SECRET_KEY": f"key {self.number}",
            "SECRET_KEY_FALLBACKS": [old] if keeps else [],
        }
        if not keeps:
            self.ended = self.users

    @rule(worker=st.integers(0, 1), which=st.integers(0, 50), act=st.sampled_from([dict, put(x=1)]))
    def replay(self, worker, which, act):
        """An attacker may also change what it finds, to have a cookie of its own."""
        if self.seen:
            self.do(act, self.seen[which % len(self.seen)], worker)

    @invariant()
    def no_earlier_cookie_finds_a_user_who_logged_out(self):
        for cookie in getattr(self, "seen", [])[-8:]:
            for worker in (0, 1):
                _status, result, _cookie = self.do(dict, cookie, worker, "GET")
                user = (result or {}).get("user") or 0
                assert user == 0 or user > self.ended


Sessions.TestCase.settings = settings(
    max_examples=40, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
test_no_earlier_cookie_finds_a_user_after_a_logout_or_a_new_key = pytest.mark.slow(
    Sessions.TestCase
)
