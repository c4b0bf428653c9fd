# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An app finds in its sessions what it finds in Flask's own, and one that it does not touch costs nothing."""

from __future__ import annotations

import datetime
import hashlib
import uuid

import flask
import pytest
from ansible_collections.evenkeel.flask.roles.redis_client.files import evenkeel_sessions
from flask.sessions import SecureCookieSessionInterface
from itsdangerous import TimestampSigner
from markupsafe import Markup

THEN = datetime.datetime(2030, 1, 1, tzinfo=datetime.timezone.utc)
MONTH = 31 * 24 * 3600


def nest(session):
    session["cart"].append(7)


def nest_and_say_so(session):
    nest(session)
    session.modified = True


def nest_and_update(session):
    nest(session)
    session.update()


def only_say_so(session):
    session.modified = True


def stay(session):
    session.permanent = True
    session["name"] = "Ann"


def clear_and_write(session):
    session.clear()
    session["name"] = "Bob"


LOOKS = {
    "get": lambda session: session.get("name"),
    "in": lambda session: "name" in session,
    "len": len,
    "iter": list,
    "items": lambda session: sorted(session.items(), key=str),
    "bool": bool,
    "repr": lambda session: "cart" in repr(session),
    "copy": lambda session: session.copy(),
    "equal": lambda session: session == {"name": "Ann"},
    "permanent": lambda session: session.permanent,
    "no pop": lambda session: session.pop("nothing", None),
    "or": lambda session: sorted((session | {"other": 2}).items(), key=str),
    "or of another": lambda session: sorted(({"other": 2} | session).items(), key=str),
    "reversed": lambda session: list(reversed(session)),
}
WRITES = {
    "set": lambda session: session.__setitem__("name", "Eve"),
    "del": lambda session: session.__delitem__("name"),
    "pop": lambda session: session.pop("name"),
    "setdefault": lambda session: session.setdefault("other", 1),
    "no setdefault": lambda session: session.setdefault("name", 1),
    "update": lambda session: session.update(name="Eve", other=2),
    "update by nothing": lambda session: session.update(),
    "or in place": lambda session: session.__ior__({"name": "Eve"}) and None,
    "clear": lambda session: session.clear(),
    "clear and write": clear_and_write,
    "empty": lambda session: [session.pop(key) for key in list(session)],
    "permanent": stay,
    "nested": nest,
    "nested and said so": nest_and_say_so,
    "nested and updated": nest_and_update,
    "said so": only_say_so,
    "flash": lambda session: flask.flash("saved"),
    "flashed": lambda session: flask.get_flashed_messages(),
    "types": lambda session: session.update(
        {"t": (1, 2), "b": b"\0", "m": Markup("<b>"), "u": uuid.UUID(int=1), "d": THEN, "n": {" t": 1}}
    ),
}  # fmt: skip
ACTS = [pytest.param(act, id=name) for name, act in {**LOOKS, **WRITES}.items()]


def fill(session):
    session["name"] = "Ann"
    session["cart"] = [1]


class Environ(dict):
    """Notes what is read of it, as the cache does."""

    def __init__(self, *args):
        super().__init__(*args)
        self.read = set()

    def get(self, key, default=None):
        self.read.add(key)
        return super().get(key, default)

    def __getitem__(self, key):
        self.read.add(key)
        return super().__getitem__(key)


class Browser:
    """A client that makes an app use its session."""

    shown = None

    def __init__(self, interface, **config):
        self.app = flask.Flask("shop")
        self.app.config.update({"SECRET_KEY": "s3cret", "TESTING": True, **config})
        self.app.session_interface = interface
        for path in ("/", "/logout"):
            self.app.add_url_rule(path, path, self.view, methods=["GET", "POST", "DELETE"])
        self.app.add_url_rule("/plain", view_func=lambda: "plain")
        self.client = self.app.test_client()
        inner = self.app.wsgi_app

        def noting(environ, start_response):
            self.environ = Environ(environ)
            if self.shown:
                self.environ["HTTP_COOKIE"] = f"session={self.shown}"
            return inner(self.environ, start_response)

        self.app.wsgi_app = noting

    def view(self):
        self.result = self.act(flask.session)
        return "done"

    def do(self, act, cookie=None, method="GET", path="/"):
        """Send this cookie if one is given, or else the cookie that was set last."""
        self.act, self.shown = act, cookie
        self.answer = self.client.open(path, method=method)
        return self.answer

    @property
    def cookie(self):
        """The cookie that was set last."""
        set_cookie = self.answer.headers.get("Set-Cookie")
        return set_cookie and set_cookie.partition(";")[0].partition("=")[2]

    @property
    def held(self):
        self.do(dict)
        return self.result


@pytest.fixture(autouse=True)
def _frozen(monkeypatch):
    monkeypatch.setattr(TimestampSigner, "get_timestamp", lambda self: int(THEN.timestamp()))
    monkeypatch.setattr(
        SecureCookieSessionInterface,
        "get_expiration_time",
        lambda self, app, session: THEN if session.permanent else None,
    )


@pytest.fixture(name="redis_sessions")
def _redis_sessions(store):
    def make(away="cookie"):
        return evenkeel_sessions.RedisSessions(store.guarded(), "shop:", away)

    return make


@pytest.fixture(name="browser")
def _browser(redis_sessions, store):
    def browser(away="cookie", **config):
        made = Browser(redis_sessions(away), **config)
        # Each worker requests the key of older ids from Redis once.
        with made.app.test_request_context("/plain"):
            store.asked = 0
        return made

    return browser


def done(browser, act):
    """The result of an action, as a browser and an app can see it."""
    try:
        browser.do(act)
    except Exception as error:
        return type(error)
    return browser.result, browser.answer.headers.getlist("Set-Cookie")


@pytest.mark.parametrize(
    "before", [fill, stay, lambda session: None], ids=["full", "permanent", "none"]
)
@pytest.mark.parametrize("act", ACTS)
def test_the_cookie_is_flasks_own(act, before):
    flasks, ours = (
        Browser(interface)
        for interface in (SecureCookieSessionInterface(), evenkeel_sessions.CookieSessions())
    )
    for step in (before, act, dict):
        assert done(ours, step) == done(flasks, step)


@pytest.mark.parametrize(
    "before", [fill, stay, lambda session: None], ids=["full", "permanent", "none"]
)
@pytest.mark.parametrize("act", ACTS)
def test_what_redis_keeps_is_what_flasks_cookie_kept(act, before, browser):
    flasks, ours = Browser(SecureCookieSessionInterface()), browser()
    for step in (before, act, dict):
        theirs, own = done(flasks, step), done(ours, step)
        if isinstance(theirs, type):
            assert own == theirs
            continue
        assert own[0] == theirs[0]
        assert attributes(own[1]) == attributes(theirs[1])
    assert [key for key in sorted(ours.held) if key != "_permanent"] == [
        key for key in sorted(flasks.held) if key != "_permanent"
    ]


def attributes(set_cookies):
    """All of them but the value, unless that is gone."""
    return [
        [value if value.startswith("session=;") else "session", rest]
        for value, _semicolon, rest in (set_cookie.partition(";") for set_cookie in set_cookies)
    ]


@pytest.mark.parametrize("name", sorted(LOOKS))
def test_a_look_of_any_kind_is_told_to_caches(name, browser):
    for shopper in (browser(), Browser(evenkeel_sessions.CookieSessions())):
        shopper.do(fill)
        assert shopper.do(LOOKS[name]).headers["Vary"] == "Cookie"


def test_a_session_that_is_not_touched_costs_nothing(browser, store):
    for shopper in (browser(), Browser(evenkeel_sessions.CookieSessions())):
        shopper.do(stay)
        asked = store.asked
        answer = shopper.client.get("/plain")
        assert answer.data == b"plain"
        assert "Vary" not in answer.headers
        assert "Set-Cookie" not in answer.headers
        assert "HTTP_COOKIE" in shopper.environ
        assert "HTTP_COOKIE" not in shopper.environ.read
        assert store.asked == asked


def test_neither_does_one_that_is_only_named(browser, store):
    shopper = browser()
    shopper.do(fill)
    asked = store.asked
    shopper.do(lambda session: session._get_current_object())
    assert store.asked == asked


@pytest.mark.parametrize("kind", ["cookie", "redis"])
def test_without_a_key_flask_says_what_is_missing(kind, redis_sessions):
    interface = redis_sessions() if kind == "redis" else evenkeel_sessions.CookieSessions()
    shopper = Browser(interface, SECRET_KEY=None)
    shopper.do(lambda session: session.get("name"))
    assert shopper.result is None
    with pytest.raises(RuntimeError, match="no secret key was set"):
        shopper.do(fill)


def test_an_app_without_an_interface_of_its_own_has_it(monkeypatch):
    own = evenkeel_sessions.CookieSessions()
    monkeypatch.setattr(flask.Flask, "session_interface", own)
    assert flask.Flask("shop").session_interface is own


def test_a_test_client_can_look_into_it(browser):
    shopper = browser()
    with shopper.client.session_transaction() as session:
        session["name"] = "Ann"
    assert shopper.held == {"name": "Ann"}


@pytest.mark.parametrize("kind", ["cookie", "redis"])
def test_it_hides_none_of_the_apps_keys_in_templates(kind, browser):
    shopper = browser() if kind == "redis" else Browser(evenkeel_sessions.CookieSessions())
    names = ["id", "data", "find", "touch", "seconds_left", "who"]
    shopper.do(lambda session: session.update(dict.fromkeys(names, "the app's")))
    template = "".join(f"{{{{ session.{name} }}}}" for name in names)
    shopper.do(lambda session: flask.render_template_string(template))
    assert shopper.result == "the app&#39;s" * len(names)


def test_reading_and_writing_are_one_round_trip_each(browser, store):
    shopper = browser()
    shopper.do(fill)
    assert store.asked == 1
    # One more when the cookie comes back for the first time, which makes it last.
    shopper.do(LOOKS["items"])
    assert store.asked == 3
    shopper.do(LOOKS["items"])
    assert store.asked == 4
    shopper.do(WRITES["set"])
    assert store.asked == 6
    shopper.do(clear_and_write)
    assert store.asked == 8
    shopper.do(WRITES["clear"])
    assert store.asked == 10


def test_redis_holds_no_id_and_no_pickle(browser, store):
    shopper = browser()
    shopper.do(fill)
    (key,) = store.sessions
    assert key.decode() == "shop:session:" + hashlib.sha256(shopper.cookie.encode()).hexdigest()
    assert store.inside.get(key) == b'{"cart":[1],"name":"Ann"}'
    assert len(shopper.cookie) == 64
    shopper.do(WRITES["set"])
    shown = shopper.cookie
    shopper.do(WRITES["clear"])
    held = b"".join(key + (store.inside.get(key) or b"") for key in store.inside.scan_iter())
    assert b"s3cret" not in held
    assert shown.encode() not in held


@pytest.mark.parametrize("act", [fill, stay])
def test_a_session_ends_when_flask_would_end_it(act, browser, store):
    shopper = browser(PERMANENT_SESSION_LIFETIME=600)
    shopper.do(act)
    assert 590 < store.inside.ttl(store.sessions[0]) <= 600


def test_sessions_that_last_no_time_are_no_reason_to_do_without_redis(browser, store):
    shopper = browser(PERMANENT_SESSION_LIFETIME=0)
    shopper.do(fill)
    assert "." not in shopper.cookie


def test_it_lasts_longer_the_longer_it_is_used(browser, store):
    shopper = browser(PERMANENT_SESSION_LIFETIME=1000)
    shopper.do(fill)
    (key,) = store.sessions
    store.inside.expire(key, 950)
    store.asked = 0
    shopper.do(dict)
    assert store.inside.ttl(key) <= 950
    assert store.asked == 1
    store.inside.expire(key, 850)
    shopper.do(dict)
    assert store.inside.ttl(key) > 950


def test_an_app_that_ends_sessions_in_any_case_still_does(browser, store):
    shopper = browser(PERMANENT_SESSION_LIFETIME=1000, SESSION_REFRESH_EACH_REQUEST=False)
    shopper.do(stay)
    (key,) = store.sessions
    store.inside.expire(key, 5)
    assert "Set-Cookie" not in shopper.do(dict).headers
    assert store.inside.ttl(key) <= 5


def test_the_cookie_has_all_that_flask_gives_it(browser):
    config = {
        "SESSION_COOKIE_SECURE": True,
        "SESSION_COOKIE_SAMESITE": "Strict",
        "SESSION_COOKIE_DOMAIN": "shop.example",
        "SESSION_COOKIE_PATH": "/my",
        "SESSION_COOKIE_PARTITIONED": True,
    }
    flasks, ours = Browser(SecureCookieSessionInterface(), **config), browser(**config)
    for shopper in (flasks, ours):
        shopper.do(stay)
    set_cookie = ours.answer.headers["Set-Cookie"]
    assert set_cookie.partition(";")[2] == flasks.answer.headers["Set-Cookie"].partition(";")[2]
    assert "HttpOnly" in set_cookie


@pytest.mark.parametrize("cookie", ["made-up", "A" * 43, "a.b.c", ".", "%ff"])
def test_an_id_that_a_client_made_up_is_not_taken(cookie, browser, store):
    shopper = browser()
    answer = shopper.do(dict, cookie=cookie)
    assert shopper.result == {}
    assert "Set-Cookie" not in answer.headers
    shopper.do(fill, cookie=cookie)
    assert shopper.cookie not in (cookie, None)
    assert store.inside.exists("shop:session:" + hashlib.sha256(cookie.encode()).hexdigest()) == 0


def test_who_logs_in_by_a_session_made_anew_too(browser, store):
    shopper = browser()
    shopper.do(fill)
    known = shopper.cookie
    shopper.do(clear_and_write)
    assert shopper.cookie not in (known, None)
    assert len(store.sessions) == 1


def test_an_emptied_session_is_gone(browser, store):
    shopper = browser()
    shopper.do(fill)
    shopper.do(WRITES["clear"])
    assert shopper.answer.headers["Set-Cookie"].startswith("session=;")
    assert store.sessions == []


def test_what_has_been_ended_meanwhile_stays_ended(browser, store):
    shopper = browser()
    shopper.do(fill)

    def write_late(session):
        session["name"] = "Eve"
        store.inside.flushall()

    assert "Set-Cookie" not in shopper.do(write_late).headers
    assert store.sessions == []


def test_to_last_longer_overwrites_nothing(browser, store):
    shopper = browser()
    shopper.do(fill)
    (key,) = store.sessions
    store.inside.expire(key, 10)

    def read_early(session):
        dict(session)
        store.inside.set(key, b'{"name":"Eve"}', keepttl=True)

    shopper.do(read_early)
    assert store.inside.ttl(key) > 10
    assert shopper.held == {"name": "Eve"}


def test_new_is_what_nobody_has_written_yet(browser):
    shopper = browser()
    shopper.do(lambda session: session.new)
    assert shopper.result is True
    shopper.do(fill)
    shopper.do(lambda session: session.new)
    assert shopper.result is False


@pytest.mark.parametrize("away", ["cookie", "refuse"])
def test_a_session_from_before_moves_to_redis_at_the_first_look(away, browser, store):
    before = Browser(SecureCookieSessionInterface())
    before.do(fill)
    shopper = browser(away)
    shopper.do(dict, cookie=before.cookie)
    assert shopper.result == {"name": "Ann", "cart": [1]}
    assert "." not in shopper.cookie
    assert len(store.sessions) == 1
    assert shopper.held == {"name": "Ann", "cart": [1]}


def test_it_moves_though_the_app_says_that_nothing_was_changed(browser, store):
    before = Browser(SecureCookieSessionInterface())
    before.do(stay)

    def deny(session):
        dict(session)
        session.modified = False

    shopper = browser()
    shopper.do(deny, cookie=before.cookie)
    assert shopper.held == {"name": "Ann", "_permanent": True}
    assert len(store.sessions) == 1


def test_a_session_that_somebody_else_signed_does_not(browser, store):
    forger = Browser(SecureCookieSessionInterface(), SECRET_KEY="guessed")
    forger.do(fill)
    shopper = browser()
    shopper.do(lambda session: (session.new, dict(session)), cookie=forger.cookie)
    assert shopper.result == (True, {})
    assert store.sessions == []


def test_redis_away_a_look_leaves_the_browsers_cookie_alone(browser, store):
    shopper = browser()
    shopper.do(stay)
    store.go()
    answer = shopper.do(dict)
    assert shopper.result == {}
    assert answer.status_code == 200
    assert "Set-Cookie" not in answer.headers
    assert answer.headers["Vary"] == "Cookie"
    store.come_back()
    assert shopper.held == {"name": "Ann", "_permanent": True}


def test_redis_lost_after_a_look_leaves_it_alone_too(browser, store):
    shopper = browser()
    shopper.do(stay)
    store.inside.expire(store.sessions[0], 10)

    def look(session):
        dict(session)
        store.go()

    answer = shopper.do(look)
    assert answer.status_code == 200
    assert "Set-Cookie" not in answer.headers


def test_redis_away_what_is_written_stays_with_the_browser_and_moves_back(browser, store):
    shopper = browser()
    store.go()
    shopper.do(fill)
    assert "." in shopper.cookie
    flasks = Browser(SecureCookieSessionInterface())
    flasks.do(dict, shopper.cookie)
    assert flasks.result.pop("_evenkeel")
    assert flasks.result == {"name": "Ann", "cart": [1]}
    shopper.do(WRITES["update"])
    assert shopper.held == {"name": "Eve", "cart": [1], "other": 2}
    store.come_back()
    assert shopper.held == {"name": "Eve", "cart": [1], "other": 2}
    assert "." not in shopper.cookie
    assert len(store.sessions) == 1


def test_a_change_is_refused_when_redis_is_lost_in_the_middle_of_a_request(browser, store):
    """Flask's cookie could store it, but the id that remains in Redis would stay valid."""
    shopper = browser()
    shopper.do(fill)

    def write_late(session):
        session["name"] = "Eve"
        store.go()

    assert is_refusal(shopper.do(write_late))
    store.come_back()
    assert shopper.held == {"name": "Ann", "cart": [1]}


def is_refusal(answer):
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "1"
    assert answer.headers["Vary"] == "Cookie"
    assert "Set-Cookie" not in answer.headers
    return b"unable to service" in answer.data


def test_redis_away_an_app_may_rather_refuse(browser, store):
    shopper = browser("refuse")
    shopper.do(fill)
    store.go()
    assert is_refusal(shopper.do(dict))
    store.come_back()
    assert shopper.held == {"name": "Ann", "cart": [1]}


def test_it_is_refused_whatever_else_looks_at_the_session(browser, store):
    """Flask-Login does when a request is over, templates do, and apps hide errors."""

    def swallow(session):
        try:
            return dict(session)
        except Exception:
            return dict(session)

    shopper = browser("refuse")
    shopper.app.after_request(lambda answer: (len(flask.session), answer)[1])
    shopper.do(fill)
    store.go()
    assert is_refusal(shopper.do(dict))
    assert is_refusal(shopper.do(swallow))


def test_a_page_of_the_apps_own_for_it_is_kept(browser, store):
    shopper = browser("refuse")
    shopper.app.register_error_handler(503, lambda error: (f"sorry {dict(flask.session)}", 503))
    shopper.do(fill)
    store.go()
    assert shopper.do(dict).text == "sorry {}"


@pytest.mark.parametrize("act", [WRITES["set"], stay, nest_and_say_so])
def test_what_cannot_be_kept_is_refused_too(act, browser, store):
    shopper = browser("refuse")
    shopper.do(fill)

    def lose(session):
        act(session)
        store.go()

    assert is_refusal(shopper.do(lose))


def test_what_was_going_to_be_sent_instead_of_a_refusal_is_closed(browser, store):
    closed = []

    class Body:
        def __iter__(self):
            return iter([b"saved"])

        def close(self):
            closed.append(True)

    shopper = browser("refuse")

    @shopper.app.route("/save")
    def save():
        fill(flask.session)
        store.go()
        return flask.Response(Body(), headers={"ETag": '"1"'}, direct_passthrough=True)

    answer = shopper.client.get("/save")
    assert is_refusal(answer)
    assert "ETag" not in answer.headers
    answer.close()
    assert closed == [True]
