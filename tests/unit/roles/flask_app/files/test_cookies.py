# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The session cookie is Secure exactly where the request came by https, and the app's own setting wins."""

from __future__ import annotations

import itertools

import evenkeel_cookies
import flask
import pytest
from flask.sessions import SecureCookieSessionInterface, SessionInterface
from werkzeug.middleware.proxy_fix import ProxyFix

# Nothing, and each value that an app may set for itself.
SECURE = (..., None, True, False)


@pytest.fixture(name="answer")
def _answer(monkeypatch):
    """The responses of an app with the defaults of the production form."""

    def answer(*, host_prefix=False, headers=(), scheme="http", interface=None, **config):
        for method in ("get_cookie_name", "get_cookie_secure"):
            monkeypatch.setattr(SessionInterface, method, vars(ORIGINALS)[method])
        evenkeel_cookies.lay_under(host_prefix)
        app = flask.Flask("shop")
        app.config.update({"SECRET_KEY": "sesame", "SESSION_COOKIE_SECURE": None})
        app.config.update({name: value for name, value in config.items() if value is not ...})
        if interface:
            app.session_interface = interface
        # As in evenkeel_wsgi.py: nginx sends https only if a trusted proxy does.
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1, x_host=1)

        @app.route("/")
        def index():
            flask.session["user"] = 7
            return "welcome"

        response = app.test_client().get(
            "/", headers=dict(headers), base_url=f"{scheme}://shop.example"
        )
        name, _equals, rest = response.headers["Set-Cookie"].partition("=")
        return name, "Secure" in rest.split("; ")

    return answer


class ORIGINALS:
    get_cookie_name = SessionInterface.get_cookie_name
    get_cookie_secure = SessionInterface.get_cookie_secure


@pytest.mark.parametrize(
    ("scheme", "proto", "own"),
    list(itertools.product(("http", "https"), (None, "http", "https"), SECURE)),
)
def test_the_cookie_is_secure_exactly_over_https_unless_the_app_sets_it(answer, scheme, proto, own):
    headers = {"X-Forwarded-Proto": proto} if proto else {}
    _name, secure = answer(scheme=scheme, headers=headers, SESSION_COOKIE_SECURE=own)
    expected = own if own in (True, False) else (proto or scheme) == "https"
    assert secure is expected


def test_an_interface_of_the_apps_own_decides_for_itself(answer):
    class Own(SecureCookieSessionInterface):
        def get_cookie_secure(self, app):
            return False

        def get_cookie_name(self, app):
            return "own"

    assert answer(scheme="https", host_prefix=True, interface=Own()) == ("own", False)


@pytest.mark.parametrize(
    ("config", "name"),
    [
        ({}, "__Host-session"),
        ({"SESSION_COOKIE_NAME": "shop"}, "__Host-shop"),
        ({"SESSION_COOKIE_SECURE": True}, "__Host-session"),
        # A browser would refuse these under such a name.
        ({"SESSION_COOKIE_SECURE": False}, "session"),
        ({"SESSION_COOKIE_DOMAIN": "example"}, "session"),
        ({"SESSION_COOKIE_PATH": "/my"}, "session"),
        ({"APPLICATION_ROOT": "/my"}, "session"),
        ({"SESSION_COOKIE_NAME": "__Secure-shop"}, "__Secure-shop"),
        ({"SESSION_COOKIE_NAME": "__Host-shop"}, "__Host-shop"),
    ],
)
def test_a_host_name_is_given_only_to_a_cookie_that_a_browser_keeps(answer, config, name):
    found, secure = answer(host_prefix=True, **config)
    assert found == name
    if name.startswith("__Host-"):
        assert secure


def test_without_the_option_the_name_is_the_apps(answer):
    assert answer() == ("session", False)
