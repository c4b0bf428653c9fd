# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Flask's sessions, read only when they are touched: from Flask's own cookie, or from Redis for the whole fleet.

This file is part of each release and runs inside the app's own process. It needs Python 3.9,
Flask 2.2 and redis-py 4.1 or newer.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator, Mapping
from typing import Any, Callable

from evenkeel_redis import Guarded, RedisAway
from flask import Flask, Request, Response
from flask.sessions import SecureCookieSessionInterface, SessionMixin
from werkzeug.exceptions import ServiceUnavailable

ID_BYTES = 32
# Flask has a getter for each, older ones not for the last.
COOKIE = ("domain", "path", "secure", "httponly", "samesite", "partitioned")
# Where apps keep who is logged in; the first is Flask-Login's.
WHO = ("_user_id", "user_id", "user", "username")


class LazySession(SessionMixin):
    """A session that is looked for when it is first touched.

    All that it has of its own begins with an underscore: in templates it would hide the app's keys.

    @param find: gets this session and says what is in it, or None if it is new
    """

    modified = False
    # Older versions of Flask say that it was.
    accessed = False

    def __init__(self, find: Callable[[Any], Mapping[str, Any] | None]) -> None:
        self._find = find
        self._found: dict[str, Any] | None = None
        self._is_new = False

    def _touch(self) -> dict[str, Any]:
        self.accessed = True
        if self._found is None:
            found = self._find(self)
            self._is_new = found is None
            self._found = dict(found or {})
        return self._found

    @property
    def new(self) -> bool:  # type: ignore[override]
        self._touch()
        return self._is_new

    def __getitem__(self, key: str) -> Any:
        return self._touch()[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self._touch()[key] = value
        self.modified = True

    def __delitem__(self, key: str) -> None:
        del self._touch()[key]
        self.modified = True

    def __iter__(self) -> Iterator[str]:
        return iter(self._touch())

    def __len__(self) -> int:
        return len(self._touch())

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._touch()}>"

    def __reversed__(self) -> Iterator[str]:
        return reversed(self._touch())

    def __or__(self, other: Any) -> Any:
        return self._touch() | other

    def __ror__(self, other: Any) -> Any:
        return other | self._touch()

    def __ior__(self, other: Any) -> LazySession:
        self.update(other)
        return self

    def update(self, *args: Any, **more: Any) -> None:
        super().update(*args, **more)
        # By nothing, too: so apps tell of what they changed within a value.
        self.modified = True

    def clear(self) -> None:
        self._touch().clear()
        self.modified = True

    def copy(self) -> dict[str, Any]:
        return self._touch().copy()


class CookieSessions(SecureCookieSessionInterface):
    """Flask's own, but for requests that do not touch their session: these cost nothing and may be cached."""

    lazy_class: type[LazySession] = LazySession

    def open_session(  # type: ignore[override]
        self, app: Flask, request: Request
    ) -> LazySession | None:
        # Without a key Flask has a session that says so.
        if not app.secret_key:
            return None
        return self.lazy_class(lambda session: self._find(app, request, session))

    def _find(self, app: Flask, request: Request, session: Any) -> Mapping[str, Any] | None:
        return super().open_session(app, request)

    def save_session(self, app: Flask, session: Any, response: Response) -> None:
        if session.accessed or session.modified:
            super().save_session(app, session, response)


class RedisSession(LazySession):
    """Its cookie has an id, and Redis what is in it."""

    _id: str | None = None
    _seconds_left = 0.0
    _who: list[Any] | None = None
    _is_refused = False

    def clear(self) -> None:
        super().clear()
        # Whoever comes next in it is somebody else.
        self._who = None


class RedisSessions(CookieSessions):
    """Sessions in Redis; whoever reads Redis finds no id there to take one over with.

    @param away: while Redis is away, C(cookie) keeps what is written in Flask's own cookie, and
        C(refuse) answers 503 to who needs a session
    """

    lazy_class = RedisSession

    def __init__(self, guarded: Guarded, prefix: str, away: str = "cookie") -> None:
        self.guarded = guarded
        self.prefix = prefix
        self.away = away

    def _find(self, app: Flask, request: Request, session: Any) -> Mapping[str, Any] | None:
        own = request.cookies.get(self.get_cookie_name(app))
        # It was told once; what then answers the request in its place may look at its session, too.
        if not own or session._is_refused:
            return None
        if "." in own:
            # Flask's own, from before or from while Redis was away. No id has a dot.
            signed = super()._find(app, request, session)
            session.modified = session.modified or bool(signed)
            return signed or None
        try:
            found, milliseconds = self.guarded.ask(lambda redis: self._read(redis, own))
        except RedisAway:
            if self.away == "refuse":
                session._is_refused = True
                raise ServiceUnavailable(retry_after=1) from None
            return None
        if found is None:
            # An id is never taken from who asks: it could know it of somebody else's.
            return None
        data: dict[str, Any] = self.serializer.loads(found)
        session._id, session._seconds_left, session._who = own, milliseconds / 1000, _who(data)
        return data

    def save_session(self, app: Flask, session: Any, response: Response) -> None:
        if session._is_refused:
            _refuse(response)
        elif session.accessed or session.modified:
            response.vary.add("Cookie")
            try:
                self._keep(app, session, response)
            except (RedisAway, ServiceUnavailable):
                # What was only looked at loses nothing.
                if session.modified and self.away == "refuse":
                    _refuse(response)
                elif session.modified:
                    super().save_session(app, session, response)

    def _keep(self, app: Flask, session: Any, response: Response) -> None:
        # Newer versions of Flask take a session that was only named for accessed.
        if session._found is None and not session.modified:
            return
        name = self.get_cookie_name(app)
        getters = {each: getattr(self, f"get_cookie_{each}", None) for each in COOKIE}
        attributes = {each: getter(app) for each, getter in getters.items() if getter}
        if not session:
            if session.modified:
                if session._id:
                    self.guarded.ask(lambda redis: redis.delete(self._key(session._id)))
                response.delete_cookie(name, **attributes)
            return
        lifetime = max(1, int(app.permanent_session_lifetime.total_seconds()))
        if session.modified or not session._id:
            if not self._write(session, lifetime):
                return
        elif session._seconds_left < 0.9 * lifetime and app.config["SESSION_REFRESH_EACH_REQUEST"]:
            # Alone, so that it never overwrites what another request has just written.
            self.guarded.ask(lambda redis: redis.expire(self._key(session._id), lifetime))
        if self.should_set_cookie(app, session):
            expires = self.get_expiration_time(app, session)
            response.set_cookie(name, session._id, expires=expires, **attributes)

    def _key(self, own: str) -> str:
        return f"{self.prefix}session:{hashlib.sha256(own.encode()).hexdigest()}"

    def _read(self, redis: Any, own: str) -> Any:
        with redis.pipeline(transaction=False) as asked:
            return asked.get(self._key(own)).pttl(self._key(own)).execute()

    def _write(self, session: Any, lifetime: int) -> bool:
        """Whether it is kept: one that another request has ended meanwhile stays ended."""
        value = self.serializer.dumps(dict(session))
        old = session._id
        if old and session._who == _who(session):
            return bool(
                self.guarded.ask(
                    lambda redis: redis.set(self._key(old), value, ex=lifetime, xx=True)
                )
            )
        # Also for who logs in: somebody else may have put the id that it came with into its browser.
        session._id = new = secrets.token_urlsafe(ID_BYTES)

        def write(redis: Any) -> None:
            with redis.pipeline() as asked:
                asked.set(self._key(new), value, ex=lifetime)
                if old:
                    asked.delete(self._key(old))
                asked.execute()

        self.guarded.ask(write)
        return True


def _who(data: Mapping[str, Any]) -> list[Any]:
    return [data.get(key) for key in WHO]


def _refuse(response: Response) -> None:
    """Make it a refusal in place: of what is raised while a session is saved Flask makes a 500."""
    if response.status_code != 503:
        refusal = ServiceUnavailable(retry_after=1).get_response()
        close = getattr(response.response, "close", None)
        if close:
            response.call_on_close(close)
        response.direct_passthrough = False
        response.status = refusal.status
        response.headers = refusal.headers
        response.set_data(refusal.get_data())
    response.vary.add("Cookie")
