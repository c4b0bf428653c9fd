# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Defaults of the session cookie that depend on the request or on other settings of the app.

They are methods of Flask's base class. So they apply to Flask's own sessions, to those in Redis, and
to an extension that uses them. An interface with its own methods is not affected.

This file is part of each release and runs inside the app's own process. It needs Python 3.9 and
Flask 2.2.
"""

from __future__ import annotations

import flask
from flask.sessions import SessionInterface

HOST = "__Host-"


def lay_under(host_prefix: bool) -> None:
    """Before the app is imported.

    @param host_prefix: whether the name of the cookie begins with C(__Host-)
    """
    named = SessionInterface.get_cookie_name

    def name(self: SessionInterface, app: flask.Flask) -> str:
        own = named(self, app)
        return f"{HOST}{own}" if host_prefix and _may_be_of_host(self, app, own) else own

    def secure(self: SessionInterface, app: flask.Flask) -> bool:
        """V(None) is the default of this collection: whether the request came by https."""
        configured = app.config["SESSION_COOKIE_SECURE"]
        if configured is not None:
            return bool(configured)
        if self.get_cookie_name(app).startswith(HOST):
            return True
        return flask.has_request_context() and flask.request.is_secure

    SessionInterface.get_cookie_name = name  # type: ignore[method-assign]
    SessionInterface.get_cookie_secure = secure  # type: ignore[method-assign]


def _may_be_of_host(interface: SessionInterface, app: flask.Flask, name: str) -> bool:
    """Return whether a browser would store it (RFC 6265bis, 4.1.3.2): Secure, no Domain, and Path=/."""
    return (
        not name.startswith("__")
        and app.config["SESSION_COOKIE_SECURE"] is not False
        and not interface.get_cookie_domain(app)
        and interface.get_cookie_path(app) == "/"
    )
