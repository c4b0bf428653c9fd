# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stored responses of an app, their recipients, and the responses that are never stored."""

from __future__ import annotations

import copy
import gzip
import itertools
import threading
import time
import uuid

import evenkeel_cache
import evenkeel_sessions
import flask
import pytest
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.test import Client, EnvironBuilder

RULES = evenkeel_cache.Rules(types={"text/html": 60, "application/json": 60})
SLOW = 2 * evenkeel_cache.WORTH_SECONDS


pytestmark = pytest.mark.usefixtures("taught")


def compute():
    """Take long: on a busy machine a sleep may be over before the kernel has counted it as a wait."""
    end = time.thread_time() + SLOW
    while time.thread_time() < end:
        pass


@pytest.fixture
def app(store):
    """An app whose responses take long enough to be stored; some contain a number."""
    app = flask.Flask(__name__)
    app.secret_key = "sesame"
    app.session_interface = evenkeel_sessions.RedisSessions(store.guarded(), "shop:")
    app.numbers = itertools.count(1)
    app.asked = []

    @app.before_request
    def take_time():
        app.asked.append(flask.request.path)
        compute()

    @app.route("/page", methods=["GET", "POST"])
    def page():
        return f"page {flask.request.args.get('n', '')}"

    return app


@pytest.fixture
def site(app, store):
    """A worker of the app, as a function of its rules; each has its own memory and way to Redis."""

    def worker(rules=RULES, release="r1", inner=None, **options):
        options = {"tells": True, **options}
        made = evenkeel_cache.CacheMiddleware(
            inner or app, store.guarded(), "shop:", release, rules, **options
        )
        return Client(made)

    return worker


def fetch(client, path="/page", **request):
    """Return the body of a response and its cache status."""
    answer = client.get(path, **request)
    return answer.get_data(as_text=True), answer.headers["X-Cache"]


def detail(client, path="/page", **request):
    return client.get(path, **request).headers["Cache-Status"]


def keep(client, path="/page", **request):
    """Send requests until the response is stored: made twice, then a hit."""
    for _time in range(2):
        client.get(path, **request)
    assert fetch(client, path, **request)[1] == "HIT"


# Stored responses


def test_what_was_made_twice_alike_is_kept(site, app):
    client = site()
    assert [fetch(client) for _time in range(4)] == [
        ("page ", "MISS"),
        ("page ", "MISS"),
        ("page ", "HIT"),
        ("page ", "HIT"),
    ]
    assert len(app.asked) == 2


def test_a_rule_of_its_own_needs_no_proof(site):
    client = site(evenkeel_cache.Rules(paths=[("/page", 60)]))
    assert [fetch(client)[1] for _time in range(2)] == ["MISS", "HIT"]


def test_other_workers_and_hosts_get_it_too(site, app):
    keep(site())
    assert fetch(site())[1] == "HIT"
    assert len(app.asked) == 2


def test_it_is_asked_in_one_round_trip(site, store):
    client = site()
    keep(client)
    store.asked = 0
    assert fetch(client)[1] == "HIT"
    assert store.asked == 1


def test_headers_and_age_come_along(app, site, monkeypatch):
    @app.get("/teapot")
    def teapot():
        return "short", {"X-Own": "yes", "Content-Type": "text/html; charset=ascii"}

    client = site()
    keep(client, "/teapot")
    now = time.time()
    monkeypatch.setattr(evenkeel_cache.time, "time", lambda: now + 7)
    answer = client.get("/teapot")
    assert (answer.headers["X-Own"], answer.content_type) == ("yes", "text/html; charset=ascii")
    assert answer.headers["Age"] in ("7", "8")


def test_head_is_answered_from_what_get_left_and_leaves_nothing(site):
    client = site()
    for _time in range(3):
        assert client.head("/page").headers["X-Cache"] == "MISS"
    keep(client)
    answer = client.head("/page")
    assert (answer.headers["X-Cache"], answer.data, answer.content_length) == ("HIT", b"", 5)


def test_who_has_it_already_is_told_so(app, site):
    @app.get("/tagged")
    def tagged():
        return "tagged", {"ETag": '"one"'}

    client = site()
    keep(client, "/tagged")
    answer = client.get("/tagged", headers={"If-None-Match": '"one"'})
    assert (answer.status_code, answer.data, answer.headers["ETag"]) == (304, b"", '"one"')
    assert client.get("/tagged", headers={"If-None-Match": '"two"'}).data == b"tagged"


def test_it_is_made_anew_when_its_time_is_over(site, app, monkeypatch):
    client = site()
    keep(client)
    now = time.time()
    monkeypatch.setattr(evenkeel_cache.time, "time", lambda: now + 61)
    assert [fetch(client)[1] for _time in range(2)] == ["MISS", "HIT"]


def test_the_first_rule_that_fits_counts_and_zero_is_never(site):
    rules = evenkeel_cache.Rules(
        paths=[("/page", 0), ("/*", 60)], types={"text/html": 60}, never=["/health"]
    )
    client = site(rules)
    assert [fetch(client)[1] for _time in range(3)] == ["BYPASS"] * 3
    assert rules.of_path("/other/page") == 60
    assert rules.of_path("/health") == 0


@pytest.mark.parametrize(
    ("pattern", "path", "fits"),
    [
        ("/a/<int:id>", "/a/7", True),
        ("/a/<int:id>", "/a/7/b", False),
        ("/a/*", "/a/7/b", True),
        ("/a.b", "/a_b", False),
        ("/a", "/a/", False),
    ],
)
def test_a_rule_is_written_as_routes_are(pattern, path, fits):
    found = evenkeel_cache.Rules(paths=[(pattern, 5)]).of_path(path)
    assert found == (5 if fits else None)


def test_the_apps_own_word_goes_before_the_rules(app, site, monkeypatch):
    @app.get("/brief")
    def brief():
        return "brief", {"Cache-Control": "public, max-age=5"}

    client = site()
    keep(client, "/brief")
    now = time.time()
    monkeypatch.setattr(evenkeel_cache.time, "time", lambda: now + 6)
    assert fetch(client, "/brief")[1] == "MISS"


# Limits that keep the app from becoming slower


def test_what_the_app_makes_at_once_is_not_kept(site, app):
    app.before_request_funcs.clear()
    client = site()
    for _time in range(3):
        client.get("/page")
    assert "the app is as fast" in detail(client)


def test_what_is_not_kept_costs_no_redis(app, site, store):
    @app.get("/own")
    def own():
        return flask.request.remote_addr

    client = site()
    client.get("/own")
    store.asked = 0
    assert fetch(client, "/own")[1] == "BYPASS"
    assert store.asked == 0


# Changes


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_a_request_that_may_change_something_makes_all_of_it_old(app, site, method):
    app.add_url_rule("/change", "change", lambda: "done", methods=[method])
    client, other = site(), site(release="r2")
    keep(client)
    keep(other)
    client.open("/change", method=method)
    assert fetch(client)[1] == "MISS"
    assert fetch(other)[1] == "MISS"
    # A response that is made again was made twice before.
    assert fetch(client)[1] == "HIT"


def test_a_refused_one_does_not(site):
    client = site()
    keep(client)
    assert client.post("/nowhere").status_code == 404
    assert fetch(client)[1] == "HIT"


def test_that_can_be_switched_off(site):
    client = site(forgets=False)
    keep(client)
    client.post("/page")
    assert fetch(client)[1] == "HIT"


def test_what_was_being_made_meanwhile_is_old_too(app, site):
    client = site(evenkeel_cache.Rules(paths=[("/*", 60)]))

    @app.get("/overtaken")
    def overtaken():
        site().post("/page")
        return "before the change"

    assert [fetch(client, "/overtaken")[1] for _time in range(3)] == ["MISS"] * 3


def test_a_change_while_redis_is_away_is_made_up_for(site, store):
    client = site()
    keep(client)
    store.go()
    client.post("/page")
    store.come_back()
    assert fetch(client)[1] == "MISS"


def test_another_release_has_its_own(site):
    keep(site())
    assert fetch(site(release="r2"))[1] == "MISS"


# One maker


def test_of_many_that_ask_at_once_one_has_it_made(app, site):
    rules = evenkeel_cache.Rules(paths=[("/slow", 60)])
    all_ask, made = threading.Barrier(10), []

    @app.get("/slow")
    def slow():
        made.append(1)
        time.sleep(0.1)
        return "slow"

    def ask():
        client = site(rules)
        all_ask.wait()
        answers.append(client.get("/slow").data)

    answers = []
    threads = [threading.Thread(target=ask) for _number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (answers, len(made)) == ([b"slow"] * 10, 1)


def being_made(client, path, milliseconds=5000):
    """Simulate another worker that makes the response."""
    environ = EnvironBuilder(path).get_environ()
    key = client.application._key(environ, ())
    client.application.redis.redis.set(f"{key}:made", 1, px=milliseconds)
    return key


def test_an_old_one_is_given_away_while_a_new_one_is_made(site, monkeypatch):
    client = site()
    keep(client)
    now = time.time()
    monkeypatch.setattr(evenkeel_cache.time, "time", lambda: now + 61)
    being_made(client, "/page")
    assert fetch(client) == ("page ", "HIT")


def test_who_has_a_cookie_waits_for_nobody(site):
    client = site()
    being_made(client, "/page")
    client.set_cookie("seen", "1")
    assert fetch(client) == ("page ", "MISS")


def test_a_maker_that_was_killed_is_waited_for_no_longer_than_users_wait(app, site):
    client, left = site(), []

    @app.get("/left")
    def time_left():
        (key,) = client.application.redis.redis.keys("*:made")
        left.append(client.application.redis.redis.pttl(key))
        return "left"

    client.get("/left")
    assert 0 < left[0] <= 2000


def test_after_a_maker_that_was_killed_another_one_makes_it(site):
    client = site()
    being_made(client, "/page", milliseconds=30)
    assert fetch(client) == ("page ", "MISS")
    assert fetch(client) == ("page ", "MISS")
    assert fetch(client) == ("page ", "HIT")


def test_a_maker_that_fails_lets_the_next_one_try(app, site):
    client = site(evenkeel_cache.Rules(paths=[("/*", 60)]))
    failures = iter([True])
    app.testing = True

    @app.get("/shaky")
    def shaky():
        if next(failures, False):
            raise ZeroDivisionError
        return "well"

    with pytest.raises(ZeroDivisionError):
        client.get("/shaky")
    assert fetch(client, "/shaky") == ("well", "MISS")


# Redis away


def test_without_redis_the_app_answers(site, store):
    client = site()
    keep(client)
    store.go()
    body, _what = fetch(client)
    assert body == "page "
    assert "Redis is away" in detail(client)


def test_when_it_is_back_it_is_used(site, store):
    client = site()
    keep(client)
    store.go()
    client.get("/page")
    store.come_back()
    assert fetch(client)[1] == "HIT"


def test_what_else_lies_under_a_key_is_made_anew(site):
    client = site()
    for junk in (b"{", b"[]\n", b"\xff", b'{"other": 1}\n'):
        key = client.application._key(EnvironBuilder("/page").get_environ(), ())
        client.application.redis.redis.set(key, junk)
        assert fetch(client)[0] == "page "


# Ownership: ways to get a page of another user


def session_name(request):
    return flask.session.get("name", "nobody")


def session_only_asked_for(request):
    return "member" if "name" in flask.session else "guest"


def remote_user(request):
    return str(request.remote_user)


def raw_copy(request):
    return dict(request.environ).get("HTTP_X_USER", "nobody")


def unpacked(request):
    return {**request.environ}.get("HTTP_X_USER", "nobody")


def copied(request):
    return copy.copy(request.environ).get("HTTP_X_USER", "nobody")


def united(request):
    return ({} | request.environ).get("HTTP_X_USER", "nobody")


WAYS = {
    "a cookie": lambda request: request.cookies.get("name", "nobody"),
    "a cookie's presence": lambda request: str("name" in request.cookies),
    "the cookie header": lambda request: request.headers.get("Cookie", "nobody"),
    "the session": session_name,
    "whether there is a session": session_only_asked_for,
    "the address": lambda request: str(request.remote_addr),
    "the address as it was forwarded": lambda request: request.access_route[0],
    "the address in a header": lambda request: request.headers.get("X-Real-IP", "nobody"),
    "the address in the environ": lambda request: request.environ["REMOTE_ADDR"],
    "a key": lambda request: request.headers.get("X-Api-Key", "nobody"),
    "a user named by a proxy": remote_user,
    "a header of one's own": lambda request: request.headers.get("X-User", "nobody"),
    "the user agent": lambda request: request.user_agent.string,
    "where one comes from": lambda request: str(request.referrer),
    "all headers": lambda request: str(dict(request.headers)),
    "the headers as text": lambda request: str(request.headers),
    "the environ as text": lambda request: str(request.environ),
    "a copy of the environ": raw_copy,
    "an unpacked environ": unpacked,
    "an environ that was copied by copy": copied,
    "an environ put into another": united,
    "the environ, one by one": lambda request: str(sorted(map(str, request.environ.values()))),
}
ALICE = {
    "headers": {
        "Cookie": "name=alice",
        "X-Real-IP": "192.0.2.1",
        "X-Forwarded-For": "192.0.2.1",
        "X-Api-Key": "alice",
        "X-User": "alice",
        "User-Agent": "alice's",
        "Referer": "http://alice.example",
    },
    "environ_base": {"REMOTE_ADDR": "192.0.2.1", "REMOTE_USER": "alice"},
}


@pytest.mark.parametrize("rules", [RULES, evenkeel_cache.Rules(paths=[("/*", 60)])])
@pytest.mark.parametrize("way", WAYS)
def test_nobody_gets_a_page_that_was_made_for_somebody(app, site, way, rules):
    @app.get("/me")
    def me():
        return f"for {WAYS[way](flask.request)}"

    client = Client(site(rules).application, use_cookies=False)
    for person in (ALICE, {}) * 3:
        assert fetch(client, "/me", **person)[1] != "HIT"


def test_nor_one_that_was_made_for_who_logged_in(app, site):
    app.add_url_rule("/me", "me", lambda: str(flask.request.authorization))
    client = site()
    for _time in range(3):
        assert fetch(client, "/me", auth=("alice", "word"))[0] == "Basic YWxpY2U6d29yZA=="
        assert fetch(client, "/me")[0] == "None"


def test_nor_by_a_proxy_fix_of_the_apps_own(app, site):
    app.wsgi_app = ProxyFix(app.wsgi_app)

    @app.get("/me")
    def me():
        return flask.request.remote_addr

    client = site()
    for address in ("192.0.2.1", "192.0.2.2") * 3:
        assert fetch(client, "/me", headers={"X-Forwarded-For": address})[0] == address


def test_a_proxy_fix_that_nobody_uses_keeps_nothing_from_being_kept(app, site):
    app.wsgi_app = ProxyFix(app.wsgi_app)
    keep(site(), headers={"X-Forwarded-For": "192.0.2.1"})


def test_a_request_class_of_the_apps_own_changes_nothing(app, site):
    class Request(flask.Request):
        def __init__(self, environ, *args, **options):
            super().__init__(environ, *args, **options)
            self.who = self.headers.get("X-User")

    client = site()
    app.request_class = Request
    app.add_url_rule("/me", "me", lambda: str(flask.request.who))
    for name in ("alice", "bob") * 3:
        assert fetch(client, "/me", headers={"X-User": name})[0] == name


def test_a_wsgi_app_that_knows_no_flask_is_watched_as_well(site):
    def inner(environ, start_response):
        body = environ.get("HTTP_X_USER", "nobody").encode()
        compute()
        start_response(
            "200 OK", [("Content-Type", "text/html"), ("Content-Length", str(len(body)))]
        )
        return [body]

    client = site(inner=inner)
    for name in ("alice", "bob") * 3:
        assert fetch(client, headers={"X-User": name})[0] == name


@pytest.mark.parametrize(
    "header",
    [
        {"Cache-Control": "private"},
        {"Cache-Control": 'private="Set-Cookie"'},
        {"Cache-Control": "max-age=60, no-store"},
        {"Cache-Control": "No-Cache"},
        {"Cache-Control": "max-age=0"},
        {"Cache-Control": "s-maxage=0, max-age=60"},
        {"Cache-Control": "max-age=soon"},
        {"Expires": "0"},
        {"Pragma": "no-cache"},
        {"Set-Cookie": "a=b"},
        {"Vary": "*"},
        {"Vary": "Accept, Cookie"},
        {"Vary": "Authorization"},
        {"Content-Security-Policy": "script-src 'nonce-abc'"},
        {"Content-Type": "application/pdf"},
    ],
)
def test_what_the_answer_forbids_is_not_kept(app, site, header):
    app.add_url_rule("/said", "said", lambda: ("said", header))
    client = site()
    for _time in range(4):
        assert fetch(client, "/said")[1] != "HIT"


@pytest.mark.parametrize("status", [201, 203, 206, 301, 302, 404, 500])
def test_nothing_but_200_is_kept(app, site, status):
    app.add_url_rule("/said", "said", lambda: ("said", status))
    client = site()
    for _time in range(4):
        assert fetch(client, "/said")[1] != "HIT"


@pytest.mark.parametrize(
    "header",
    [{"Authorization": "Basic YTpi"}, {"Range": "bytes=0-1"}, {"Upgrade": "websocket"}],
)
def test_a_request_with_business_of_its_own_is_the_apps(site, header):
    client = site()
    keep(client)
    assert fetch(client, headers=header)[1] == "BYPASS"


def test_a_request_with_a_body_is_the_apps(site):
    client = site()
    keep(client)
    assert fetch(client, data=b"x")[1] == "BYPASS"


@pytest.mark.parametrize(
    "other",
    [
        {"headers": {"Host": "other.example"}},
        {"headers": {"Accept": "text/plain"}},
        {"headers": {"Accept-Language": "de"}},
        {"headers": {"X-Forwarded-Host": "other.example"}},
        {"query_string": "n=2"},
        {"base_url": "https://localhost"},
        {"base_url": "http://localhost/below"},
    ],
)
def test_what_is_asked_otherwise_is_something_else(site, other):
    client = site()
    keep(client)
    assert fetch(client, **other)[1] == "MISS"


def test_it_varies_by_what_the_app_says(app, site):
    @app.get("/vary")
    def vary():
        answer = flask.make_response(f"for {flask.request.headers.get('X-Market')}")
        answer.vary.add("X-Market")
        return answer

    client = site()
    for market in ("de", "fr"):
        for _time in range(3):
            client.get("/vary", headers={"X-Market": market})
    for market in ("de", "fr", "de"):
        assert fetch(client, "/vary", headers={"X-Market": market}) == (f"for {market}", "HIT")
    assert fetch(client, "/vary")[0] == "for None"


def test_what_is_another_one_each_time_is_not_kept(app, site):
    app.add_url_rule("/uuid", "uuid", lambda: uuid.uuid4().hex)
    client = site()
    answers = [fetch(client, "/uuid")[0] for _time in range(6)]
    assert len(set(answers)) == 6


def test_a_stream_is_passed_on_piece_by_piece(app, site):
    sent = []

    @app.get("/stream")
    def stream():
        def pieces():
            for number in range(3):
                sent.append(number)
                yield str(number)

        return flask.Response(pieces(), mimetype="text/html")

    client = site()
    answer = client.get("/stream", buffered=False)
    assert next(iter(answer.iter_encoded())) == b"0"
    assert sent == [0]
    answer.close()
    assert fetch(client, "/stream")[1] != "HIT"


def test_a_file_is_left_to_gunicorn(app, site, tmp_path):
    (tmp_path / "page.html").write_text("a file")
    app.add_url_rule("/file", "file", lambda: flask.send_from_directory(tmp_path, "page.html"))
    client = site()
    assert [fetch(client, "/file")[0] for _time in range(3)] == ["a file"] * 3
    assert fetch(client, "/file")[1] != "HIT"


def test_what_is_too_large_is_not_kept(app, site):
    large = "x" * (evenkeel_cache.LARGEST_BODY + 1)
    app.add_url_rule("/large", "large", lambda: large)
    client = site()
    assert [fetch(client, "/large") for _time in range(3)][-1] == (large, "BYPASS")


@pytest.mark.parametrize("early", [True, False])
def test_an_app_of_the_old_way_is_served(site, early):
    def inner(environ, start_response):
        write = start_response("200 OK", [("Content-Type", "text/html"), ("Content-Length", "8")])
        if early:
            write(b"old ")
            return [b"way!"]
        return [b"old ", b"way!"]

    client = site(inner=inner)
    assert [fetch(client)[0] for _time in range(4)] == ["old way!"] * 4


@pytest.mark.parametrize("pieces", [[], [b"late"]])
def test_an_app_that_says_its_status_late_is_served(site, pieces):
    def inner(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/html")])
        yield from pieces

    client = site(inner=inner)
    assert [fetch(client)[0] for _time in range(3)] == ["".join(p.decode() for p in pieces)] * 3


# For the rollout


def test_the_host_itself_can_ask_the_app(site):
    client = site()
    keep(client)
    asked = {"headers": {"Cache-Control": "no-cache"}}
    assert fetch(client, environ_base={"REMOTE_ADDR": "127.0.0.1"}, **asked)[1] == "BYPASS"
    assert fetch(client, environ_base={"REMOTE_ADDR": "192.0.2.1"}, **asked)[1] == "HIT"


def test_it_tells_nothing_unless_it_is_asked_to(site):
    client = site(tells=False)
    for _time in range(3):
        answer = client.get("/page")
    assert "Age" in answer.headers
    assert not {"X-Cache", "Cache-Status"} & set(answer.headers.keys())


def test_a_worker_remembers_no_more_paths_than_it_may(site, monkeypatch):
    monkeypatch.setattr(evenkeel_cache, "MOST_PATHS", 3)
    client = site()
    for number in range(9):
        client.get(f"/nowhere/{number}")
    assert len(client.application.paths.known) == 3


# Compressed once

LONG = "wood " * 1000


@pytest.fixture
def shelf(app, site):
    """A path whose response is compressed and stored from now on; with the parts of the site."""

    def kept(headers=(), body=LONG, mimetype="text/html", **options):
        @app.get("/shelf")
        def shelf():
            return flask.Response(body, headers=dict(headers), mimetype=mimetype)

        client = site(evenkeel_cache.Rules(paths=[("/shelf", 60)]), **options)
        assert fetch(client, "/shelf") == (body, "MISS")
        return client

    return kept


def by_gzip(client, **headers):
    return client.get("/shelf", headers={"Accept-Encoding": "gzip, br", **headers})


def test_what_is_kept_is_compressed_once_for_whoever_takes_it(shelf, store):
    client = shelf()
    answer = by_gzip(client)
    assert (answer.headers["X-Cache"], answer.headers["Content-Encoding"]) == ("HIT", "gzip")
    assert answer.headers["Vary"] == "Accept-Encoding"
    assert answer.headers["Content-Length"] == str(len(answer.get_data()))
    assert gzip.decompress(answer.get_data()).decode() == LONG
    assert max(store.inside.strlen(key) for key in store.inside.scan_iter()) < len(LONG)


@pytest.mark.parametrize("accepted", ["identity", "gzip;q=0", "br"])
def test_who_does_not_take_it_gets_it_as_it_was(shelf, accepted):
    answer = shelf().get("/shelf", headers={"Accept-Encoding": accepted})
    assert answer.get_data(as_text=True) == LONG
    assert "Content-Encoding" not in answer.headers
    assert answer.headers["Vary"] == "Accept-Encoding"
    assert answer.headers["Content-Length"] == str(len(LONG))


def test_head_says_how_long_the_compressed_one_is(shelf):
    client = shelf()
    answer = client.head("/shelf", headers={"Accept-Encoding": "gzip"})
    assert answer.headers["Content-Length"] == by_gzip(client).headers["Content-Length"]
    assert answer.get_data() == b""


def test_a_strong_etag_is_weak_for_the_compressed_one_and_still_spares_the_body(shelf):
    client = shelf(headers=[("ETag", '"1"')])
    assert client.get("/shelf").headers["ETag"] == '"1"'
    assert by_gzip(client).headers["ETag"] == 'W/"1"'
    again = by_gzip(client, **{"If-None-Match": 'W/"1"'})
    assert (again.status_code, again.get_data()) == (304, b"")
    assert "Content-Encoding" not in again.headers


@pytest.mark.parametrize(
    "different",
    [
        {"body": "short"},
        {"mimetype": "image/png"},
        {"headers": [("Content-Encoding", "br")]},
        {"compresses": False},
    ],
)
def test_what_is_not_worth_it_is_kept_as_it_is(shelf, different):
    answer = by_gzip(shelf(**different))
    assert answer.headers["X-Cache"] == "HIT"
    assert answer.headers.get("Content-Encoding") != "gzip"
    assert answer.get_data(as_text=True) == different.get("body", LONG)


# Effects of one response or one visitor on others


def test_a_header_that_is_new_each_time_goes_to_nobody_else(app, site):
    app.add_url_rule("/token", "token", lambda: ("same", {"X-Token": uuid.uuid4().hex}))
    client = site()
    assert len({client.get("/token").headers["X-Token"] for _time in range(6)}) == 6


@pytest.mark.parametrize("name", ["Date", "Server-Timing", "X-Runtime"])
def test_a_header_about_the_making_of_an_answer_keeps_nothing_from_being_kept(app, site, name):
    app.add_url_rule("/timed", "timed", lambda: ("same", {name: f"app;dur={next(app.numbers)}"}))
    keep(site(), "/timed")


def test_an_answer_that_differs_from_the_one_before_is_proven_anew(app, site, monkeypatch):
    app.is_random = False
    app.add_url_rule("/later", "later", lambda: uuid.uuid4().hex if app.is_random else "constant")
    client = site()
    keep(client, "/later")
    app.is_random = True
    client.post("/page")
    assert len({fetch(client, "/later")[0] for _time in range(6)}) == 6


def test_a_page_that_a_write_changed_is_kept_again(app, site):
    app.shown = "before"
    app.add_url_rule("/shown", "shown", lambda: app.shown)
    client = site()
    keep(client, "/shown")
    app.shown = "after"
    client.post("/page")
    assert [fetch(client, "/shown") for _time in range(3)] == [
        ("after", "MISS"),
        ("after", "MISS"),
        ("after", "HIT"),
    ]


@pytest.mark.parametrize(
    "query", ["cookie", "missing", "private", "address", "random", "effect", "large"]
)
def test_a_visitor_switches_the_cache_off_for_nobody_else(app, site, tmp_path, query):
    answers = {
        "cookie": lambda: ("page", {"Set-Cookie": "a=b"}),
        "missing": lambda: ("page", 404),
        "private": lambda: ("page", {"Cache-Control": "private"}),
        "address": lambda: str(flask.request.remote_addr),
        "random": lambda: uuid.uuid4().hex,
        "effect": lambda: str((tmp_path / "file").write_text("x")),
        "large": lambda: "x" * (evenkeel_cache.LARGEST_BODY + 1),
    }

    @app.get("/open")
    def open_to_all():
        return answers.get(flask.request.args.get("what"), lambda: "page")()

    client = site()
    keep(client, "/open")
    for _time in range(3):
        client.get(f"/open?what={query}")
        if query == "effect":
            # It makes all of them old, as it wrote something.
            fetch(client, "/open")
        assert fetch(client, "/open")[1] == "HIT"


def test_by_what_answers_vary_is_known_to_all_workers(app, site):
    @app.get("/vary")
    def vary():
        answer = flask.make_response(f"for {flask.request.headers.get('X-Market')}")
        answer.vary.add("X-Market")
        return answer

    keep(site(), "/vary", headers={"X-Market": "de"})
    client = site()
    assert fetch(client, "/vary", headers={"X-Market": "de"}) == ("for de", "HIT")
    assert fetch(client, "/vary", headers={"X-Market": "fr"}) == ("for fr", "MISS")
    assert fetch(client, "/vary", headers={"X-Market": "None"}) == ("for None", "MISS")
    assert fetch(client, "/vary")[1] == "MISS"


def test_a_stream_keeps_nobody_waiting(app, site):
    def pieces():
        while True:
            yield "x"

    app.add_url_rule("/stream", "stream", lambda: flask.Response(pieces(), mimetype="text/html"))
    client = site()
    open_ones = [client.get("/stream", buffered=False) for _time in range(3)]
    assert [answer.headers["X-Cache"] for answer in open_ones] == ["MISS", "BYPASS", "BYPASS"]
    for answer in open_ones:
        answer.close()
