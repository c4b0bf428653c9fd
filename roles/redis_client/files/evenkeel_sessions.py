# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Flask's sessions, read only when they are touched: from Flask's own cookie, or from Redis for the whole fleet.

How a session in Redis stays with one visitor:

- An id is random bytes and their MAC by SECRET_KEY. Another key ends every session, as in Flask.
- Each change gets a new id, except changes to the keys in C(HARMLESS) only. A chain of ids has at most
  one live id. The id before it is readable for C(GRACE_SECONDS), while the chain has a live id. It is
  not readable if the change took something away.
- An error is not an empty session. A session that could not be read cannot be changed.
- A signed cookie moves to Redis once. A mark in Redis says that it did.

This file is part of each release and runs inside the app's own process. It needs Python 3.9,
Flask 2.2 and redis-py 4.1 or newer.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import hashlib
import hmac
import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Callable

import redis.exceptions as redis_errors
from evenkeel_redis import Guarded, RedisAway, RedisRefused, client_of
from flask import Flask, Request, Response
from flask.sessions import SecureCookieSessionInterface, SessionMixin
from werkzeug.exceptions import ServiceUnavailable

RANDOM_BYTES = 32
MAC_BYTES = 16
# Of SHA-256.
BLOCK_BYTES = 64
# Base64 of both, without padding.
ID_LENGTH = 64
# Ids of the collection before 1.0: base64 of the random bytes alone.
UNSIGNED_ID_LENGTH = 43
# Flask has a getter for each, older ones not for the last.
COOKIE = ("domain", "path", "secure", "httponly", "samesite", "partitioned")

# Changes to these grant no right. A session with only these stays in Flask's signed cookie:
# a visitor who opens a form causes no Redis query.
HARMLESS = frozenset({"_flashes", "_permanent", "csrf_token"})
# Browsers store cookies of up to 4096 bytes, with name and attributes (RFC 6265, section 6.1).
MAX_COOKIE_BYTES = 3500
# In a signed cookie that holds more than that: which cookies came from one another, and when in microseconds.
STAMP = "_evenkeel"

# Requests in flight come with the id of before.
GRACE_SECONDS = 10
# Changes within that time by requests in flight.
MAX_HOPS = 20
# The time in which a logout by a request in flight finds the id that came after its own.
CHAIN_SECONDS = 300
# A session whose cookie did not come back yet, so that a client without cookies fills nothing.
FIRST_SECONDS = 4 * 3600
# Of so many sessions a client a day the cookie may come back and make them last as long as configured.
MAX_LONG_SESSIONS = 1000
DAY_SECONDS = 24 * 3600
# The time for which a worker remembers that a client has all of them, and the number of such clients.
OVER_SECONDS = 600
MAX_CLIENTS = 10_000

SAFE_METHODS = ("GET", "HEAD", "OPTIONS", "TRACE")
# Many apps log out by GET, and first check whether a user is logged in.
LOGOUT = re.compile(r"(log|sign)[-_]?(out|off)", re.IGNORECASE)
# A worker that was idle notices late that Redis is away.
NOTICE_SECONDS = 60
ENDED = "ended"


class LazySession(SessionMixin):
    """A session that is read when it is first accessed.

    Its own attributes begin with an underscore: in templates, others would hide the app's keys.

    @param find: gets this session and returns its content, or None if it is new
    """

    modified = False
    # Older versions of Flask set it.
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
        # Also without arguments: apps report a change within a value in this way.
        self.modified = True

    def clear(self) -> None:
        self._touch().clear()
        self.modified = True

    def copy(self) -> dict[str, Any]:
        return self._touch().copy()


class CookieSessions(SecureCookieSessionInterface):
    """Flask's own, except for requests that do not touch their session: these cost nothing and may be cached."""

    lazy_class: type[LazySession] = LazySession

    def open_session(  # type: ignore[override]
        self, app: Flask, request: Request
    ) -> LazySession | None:
        # Without a key, Flask has its own session with an error message.
        if not app.secret_key:
            return None
        return self.lazy_class(lambda session: self._find(app, request, session))

    def _find(self, app: Flask, request: Request, session: Any) -> Mapping[str, Any] | None:
        return super().open_session(app, request)

    def save_session(self, app: Flask, session: Any, response: Response) -> None:
        if session.accessed or session.modified:
            super().save_session(app, session, response)


@dataclass
class Origin:
    """The origin of the content of a session.

    @param digest: of the id, or of the cookies that came from one another
    @param content: serialized, as it was read
    @param is_signed: in a signed cookie, not in Redis
    @param is_superseded: a request in flight had the previous id
    @param has_to_move: it gets a new id without a change
    """

    digest: str
    content: str
    is_signed: bool = False
    is_superseded: bool = False
    has_to_move: bool = False
    seconds_left: float = 0.0


class RedisSession(LazySession):
    """A session whose cookie has an id, and whose content is in Redis."""

    _origin: Origin | None = None
    _id: str | None = None
    _address: str | None = None
    _is_refused = False
    # There is a session, and it could not be read.
    _is_unread = False
    # The app took something out of a session that could not be read, or cleared any.
    _loses = False
    _was_cleared = False

    def clear(self) -> None:
        super().clear()
        # Later content belongs to another user.
        self._was_cleared = self._loses = True

    def pop(self, key: str, *default: Any) -> Any:
        self._touch()
        self._loses = self._loses or key not in HARMLESS
        return super().pop(key, *default)


class RedisSessions(CookieSessions):
    """Sessions in Redis. Redis has only digests of ids, so a reader of Redis cannot take a session over.

    Keys after the prefix, by the digest of an id: C(session:) is the content under the live id, C(was:)
    the content under the id before, C(next:) the digest of the id after it. C(spent:) has the digest of
    the id that a signed cookie moved to. C(long:) counts a client's sessions. C(key:) is a MAC of the
    SECRET_KEY that ids without a MAC belong to.

    @param away: while Redis is away, C(cookie) stores new sessions in Flask's own cookie, and C(refuse)
        returns 503 for requests that need a session
    """

    lazy_class = RedisSession

    def __init__(self, guarded: Guarded, prefix: str, away: str = "cookie") -> None:
        self.guarded = guarded
        self.prefix = prefix
        self.away = away
        # By the cookie's name and the keys: whether ids without a MAC belong to one of the keys.
        self._unsigned: dict[tuple[str, ...], bool] = {}
        self._over: dict[str, float] = {}
        self._has_asked = False

    def open_session(  # type: ignore[override]
        self, app: Flask, request: Request
    ) -> LazySession | None:
        session = super().open_session(app, request)
        if session is not None and not self._has_asked:
            # Once in a worker, also if no request uses a session: the key that is in force at the
            # upgrade has to be known before it is changed.
            self._has_asked = True
            try:
                self._takes_unsigned(app)
            except RedisAway:
                self._has_asked = False
        return session

    # Read

    def _find(self, app: Flask, request: Request, session: Any) -> Mapping[str, Any] | None:
        own = request.cookies.get(self.get_cookie_name(app))
        # The handler that responds instead of a refusal may read its session.
        if not own or session._is_refused:
            return None
        session._address = request.remote_addr
        try:
            # No id has a dot.
            if "." in own:
                return self._find_signed(app, request, session, own)
            return self._find_stored(app, session, own)
        except RedisAway:
            session._is_unread = True
            # A logout first checks whether a user is logged in, and finds none. So it looks like a read, and it
            # must not get a response as if it had been done.
            place = f"{request.endpoint or ''} {request.path}"
            if (
                self.away == "refuse"
                or request.method not in SAFE_METHODS
                or LOGOUT.search(place) is not None
            ):
                session._is_refused = True
                raise ServiceUnavailable(retry_after=1) from None
            return None

    def _find_signed(
        self, app: Flask, request: Request, session: Any, own: str
    ) -> Mapping[str, Any] | None:
        """From before the first release with Redis, from while Redis was away, or harmless."""
        content = dict(super()._find(app, request, session) or {})
        stamp = content.pop(STAMP, None)
        if HARMLESS.issuperset(content):
            return content or None
        # A signature can be written in several ways, what it is of cannot.
        family, made = stamp or (_digest(own.rpartition(".")[0]), 0)
        origin = Origin(family, self.serializer.dumps(content), is_signed=True, has_to_move=True)
        try:
            origin.is_superseded = self.guarded.ask(
                lambda redis: self._is_spent(redis, app, family)
            )
        except RedisAway:
            # It may have moved to Redis and ended there, unless Redis was away ever since it was made.
            if self.away == "refuse" or not self._is_of_this_absence(made / 1e6):
                raise
        except _Ended:
            return None
        session._origin = origin
        return content

    def _is_spent(self, redis: Any, app: Flask, family: str) -> bool:
        """Whether a signed cookie moved to Redis a moment ago.

        @raises _Ended: when it did before, or was logged out
        """
        with redis.pipeline(transaction=False) as asked:
            key = self._key("spent", family)
            following, milliseconds = asked.get(key).pttl(key).execute()
        if following is None:
            return False
        age = self._lifetime(app) - milliseconds / 1000
        if not -1 < age <= GRACE_SECONDS or not self._is_alive(redis, following.decode()):
            raise _Ended
        return True

    def _is_of_this_absence(self, made: float) -> bool:
        guarded = self.guarded
        if guarded.away_since is None:
            return False
        return made >= max(guarded.answered, guarded.noticed - NOTICE_SECONDS)

    def _find_stored(self, app: Flask, session: Any, own: str) -> Mapping[str, Any] | None:
        keys = _secret_keys(app)
        signed_by = _signed_by(own, keys)
        if signed_by is None and not (len(own) == UNSIGNED_ID_LENGTH and self._takes_unsigned(app)):
            # A made-up id, or one of another key. A client never chooses an id.
            return None
        digest = _digest(own)
        content, seconds_left = self.guarded.ask(lambda redis: self._read(redis, digest))
        if content is None:
            return None
        data: dict[str, Any] = self.serializer.loads(content)
        # Set when an earlier release moved a signed cookie to Redis.
        data.pop(STAMP, None)
        session._id = own
        session._origin = Origin(
            digest,
            content.decode(),
            is_superseded=seconds_left is None,
            has_to_move=signed_by != 0,
            seconds_left=seconds_left or 0.0,
        )
        return data

    def _read(self, redis: Any, digest: str) -> tuple[bytes | None, float | None]:
        """The content, and how many seconds it will last; without these it is that of the id before."""
        live = self._key("session", digest)
        with redis.pipeline(transaction=False) as asked:
            content, milliseconds = asked.get(live).pttl(live).execute()
        if content is not None:
            return content, milliseconds / 1000
        was, following = redis.mget(self._key("was", digest), self._key("next", digest))
        if was is not None and following and self._is_alive(redis, following.decode()):
            return was, None
        return None, None

    def _is_alive(self, redis: Any, digest: str) -> bool:
        """Whether the session that came of this id has not ended."""
        for _hop in range(MAX_HOPS):
            with redis.pipeline(transaction=False) as asked:
                asked.exists(self._key("session", digest)).get(self._key("next", digest))
                is_live, following = asked.execute()
            if is_live or not following:
                return bool(is_live)
            digest = following.decode()
        return False

    def _takes_unsigned(self, app: Flask) -> bool:
        """Whether ids without a MAC belong to this SECRET_KEY or one of its fallbacks.

        Earlier versions made such ids. They belong to the key that was in force when a version that
        makes MACs was first started.
        """
        name = self.get_cookie_name(app)
        fingerprints = [_mac(key, f"unsigned {name}".encode()).hex() for key in _secret_keys(app)]
        known = (name, *fingerprints)
        if known not in self._unsigned:
            key = f"{self.prefix}key:{name}"

            def look(redis: Any) -> str:
                with redis.pipeline() as asked:
                    found: bytes = asked.setnx(key, fingerprints[0]).get(key).execute()[1]
                return found.decode()

            self._unsigned[known] = self.guarded.ask(look) in fingerprints
        return self._unsigned[known]

    # Write

    def save_session(self, app: Flask, session: Any, response: Response) -> None:
        if session._is_refused:
            _refuse(response)
        elif session.accessed or session.modified:
            response.vary.add("Cookie")
            # Newer versions of Flask take a session that was only named for accessed.
            if session._found is None and not session.modified:
                return
            try:
                content = session._touch().copy()
                if session._is_unread:
                    self._leave_alone(session, content)
                else:
                    self._keep(app, session, content, response)
            except (RedisAway, ServiceUnavailable) as error:
                # A session that was only read loses nothing.
                if session.modified and not self._kept_in_cookie(app, session, response, error):
                    _refuse(response)

    def _leave_alone(self, session: Any, content: Mapping[str, Any]) -> None:
        """Its cookie stays with the browser, for when Redis is back.

        @raises ServiceUnavailable: when the app changed what it could not read
        """
        if session._loses or not HARMLESS.issuperset(content):
            session.modified = True
            raise ServiceUnavailable

    def _keep(self, app: Flask, session: Any, content: dict[str, Any], response: Response) -> None:
        origin: Origin | None = session._origin
        if origin and origin.is_superseded and not session.modified:
            # The browser has its successor, or is about to.
            return
        lifetime = self._lifetime(app)
        if not content:
            if session.modified:
                if origin:
                    self._end(origin, lifetime)
                response.delete_cookie(self.get_cookie_name(app), **self._attributes(app))
            return
        if HARMLESS.issuperset(content) and (
            origin is None or session.modified or origin.has_to_move
        ):
            if not session.modified and origin is None:
                # Flask renews the cookie of a permanent session.
                super().save_session(app, session, response)
                return
            value = self._signed(app, content)
            if len(value) <= MAX_COOKIE_BYTES:
                if origin:
                    self._end(origin, lifetime)
                self._set_cookie(app, session, response, value)
                return
        is_new = self._store(app, session, content, lifetime)
        if is_new is not None and (is_new or self.should_set_cookie(app, session)):
            self._set_cookie(app, session, response, session._id)

    def _set_cookie(self, app: Flask, session: Any, response: Response, value: str) -> None:
        response.set_cookie(
            self.get_cookie_name(app),
            value,
            expires=self.get_expiration_time(app, session),
            **self._attributes(app),
        )

    def _store(
        self, app: Flask, session: Any, content: dict[str, Any], lifetime: int
    ) -> bool | None:
        """Whether it has a new id, or V(None) if it was ended or changed in the meantime."""
        origin: Origin | None = session._origin
        if origin is None:
            new, digest = self._new_id(app)
            value = self.serializer.dumps(content)
            seconds = FIRST_SECONDS if _has_two_terms(app, lifetime) else lifetime
            self.guarded.ask(
                lambda redis: redis.set(self._key("session", digest), value, ex=seconds)
            )
            session._id = new
            return True
        value = self.serializer.dumps(content) if session.modified else origin.content
        is_changed, takes_away = session._was_cleared, session._was_cleared
        if value != origin.content:
            # Against what was read, not against the same objects: an app may change a value in place.
            old = _essence(self.serializer.loads(origin.content))
            is_changed = is_changed or not _is_same(old, _essence(content))
            takes_away = takes_away or _loses(old, content)
        if is_changed or (origin.has_to_move and not origin.is_superseded):
            new, digest = self._new_id(app)
            seconds = lifetime
            if _has_two_terms(app, lifetime) and origin.seconds_left <= FIRST_SECONDS:
                seconds = FIRST_SECONDS
            if not self._follow(origin, digest, value, seconds, lifetime, takes_away):
                return None
            session._id = new
            if not origin.is_signed:
                # It was already stored for some hours.
                with contextlib.suppress(RedisAway):
                    self._renew(app, session, digest, seconds, lifetime)
            return True
        if origin.is_superseded:
            return None
        if value != origin.content:
            seconds = lifetime
            if _has_two_terms(app, lifetime) and origin.seconds_left <= FIRST_SECONDS:
                seconds = FIRST_SECONDS
            key = self._key("session", origin.digest)
            # Never under an id that was ended or superseded in the meantime.
            if not self.guarded.ask(lambda redis: redis.set(key, value, ex=seconds, xx=True)):
                return None
            origin.seconds_left = seconds
        self._renew(app, session, origin.digest, origin.seconds_left, lifetime)
        return False

    def _follow(
        self,
        origin: Origin,
        digest: str,
        value: str,
        seconds: int,
        lifetime: int,
        takes_away: bool,
    ) -> bool:
        """Put this content under a new id, in place of the live id of its chain.

        Of two requests in flight that change a session the later one wins, as in Flask's cookie. Only
        one of their ids stays live.

        @returns: V(False) if the session was ended in the meantime; then it stays ended
        """
        live = self._key("session", digest)

        def step(redis: Any, before: str, is_signed: bool) -> str | None:
            """The next id of the chain, V("") if this was the live one, or V(None) if it is ended."""
            session, was, following = (
                self._key(kind, before) for kind in ("session", "was", "next")
            )
            with redis.pipeline() as asked:
                if is_signed:
                    spent = self._key("spent", before)
                    asked.get(spent)
                    mark = ENDED if takes_away else digest
                    asked.set(spent, mark, ex=lifetime, nx=not takes_away)
                elif takes_away:
                    asked.get(following).delete(session).delete(was, following)
                else:
                    # It fails if this is not the live id. Nothing is readable under it by accident.
                    asked.rename(session, was).pexpire(was, GRACE_SECONDS * 1000)
                    asked.set(following, digest, ex=CHAIN_SECONDS, nx=True)
                asked.set(live, value, ex=seconds)
                answers = asked.execute(raise_on_error=False)
            if is_signed or takes_away:
                for answer in answers:
                    if isinstance(answer, Exception):
                        raise answer
                is_live = answers[0] is None if is_signed else bool(answers[1])
                found = answers[0]
            else:
                is_live = not isinstance(answers[0], redis_errors.ResponseError)
                for answer in answers[is_live ^ 1 :]:
                    if isinstance(answer, Exception):
                        raise answer
                found = None if is_live else redis.get(following)
            if is_live:
                return ""
            found = (found or b"").decode()
            return None if found in ("", ENDED, digest) else found

        def follow(redis: Any) -> bool:
            before: str | None = origin.digest
            is_signed = origin.is_signed
            for _hop in range(MAX_HOPS):
                before = step(redis, before or "", is_signed)
                if before == "":
                    return True
                if before is None:
                    break
                is_signed = False
            redis.delete(live)
            return False

        return self.guarded.ask(follow)

    def _end(self, origin: Origin, lifetime: int) -> None:
        """End a session, with all ids that requests in flight gave it."""

        def end(redis: Any) -> None:
            following: str = origin.digest
            if origin.is_signed:
                spent = self._key("spent", origin.digest)
                with redis.pipeline() as asked:
                    found = asked.get(spent).set(spent, ENDED, ex=lifetime).execute()[0]
                following = (found or b"").decode()
            for _hop in range(MAX_HOPS):
                if following in ("", ENDED):
                    return
                keys = [self._key(kind, following) for kind in ("session", "was", "next")]
                # At once, so that no request in flight moves it between the two.
                with redis.pipeline() as asked:
                    found = asked.get(keys[2]).delete(*keys).execute()[0]
                following = (found or b"").decode()

        self.guarded.ask(end)

    def _renew(
        self, app: Flask, session: Any, digest: str, seconds_left: float, lifetime: int
    ) -> None:
        """Extend only its lifetime, so that it never overwrites a concurrent write of another request."""
        if not app.config["SESSION_REFRESH_EACH_REQUEST"]:
            return
        key = self._key("session", digest)
        is_first_term = _has_two_terms(app, lifetime) and seconds_left <= FIRST_SECONDS
        if is_first_term and self._may_last(session):
            self.guarded.ask(lambda redis: self._lengthen(redis, session, key, lifetime))
        elif seconds_left < 0.9 * (FIRST_SECONDS if is_first_term else lifetime):
            seconds = FIRST_SECONDS if is_first_term else lifetime
            self.guarded.ask(lambda redis: redis.expire(key, seconds))

    def _may_last(self, session: Any) -> bool:
        return self.guarded.clock() >= self._over.get(client_of(session._address), 0.0)

    def _lengthen(self, redis: Any, session: Any, key: str, lifetime: int) -> None:
        client = client_of(session._address)
        counter = self._key("long", client)
        with redis.pipeline() as asked:
            asked.set(counter, 0, ex=DAY_SECONDS, nx=True).incr(counter).expire(key, lifetime)
            _is_new, count, _is_there = asked.execute()
        if count > MAX_LONG_SESSIONS:
            if len(self._over) >= MAX_CLIENTS:
                self._over.clear()
            self._over[client] = self.guarded.clock() + OVER_SECONDS
            redis.expire(key, FIRST_SECONDS)

    def _kept_in_cookie(self, app: Flask, session: Any, response: Response, error: Any) -> bool:
        """Store the session in Flask's own cookie if that leaves nothing in Redis; return whether it did."""
        origin: Origin | None = session._origin
        if self.away == "refuse" or session._is_refused or session._is_unread:
            return False
        content: dict[str, Any] = dict(session)
        family = secrets.token_hex(16)
        if origin and origin.is_signed:
            old = self.serializer.loads(origin.content)
            if origin.is_superseded or session._was_cleared or _loses(_essence(old), content):
                # The cookie of before would log in again.
                return False
            family = origin.digest
        elif origin:
            # A full Redis takes no content, but it deletes.
            try:
                if not isinstance(error, RedisRefused):
                    return False
                self._end(origin, self._lifetime(app))
            except RedisAway:
                return False
        if not HARMLESS.issuperset(content):
            content[STAMP] = [family, int(self.guarded.wall() * 1e6)]
        value = self._signed(app, content)
        if len(value) > MAX_COOKIE_BYTES:
            return False
        self._set_cookie(app, session, response, value)
        return True

    def _signed(self, app: Flask, content: Mapping[str, Any]) -> str:
        value: str | bytes = self.get_signing_serializer(app).dumps(dict(content))  # type: ignore[union-attr]
        return value if isinstance(value, str) else value.decode()

    def _attributes(self, app: Flask) -> dict[str, Any]:
        getters = {each: getattr(self, f"get_cookie_{each}", None) for each in COOKIE}
        return {each: getter(app) for each, getter in getters.items() if getter}

    def _lifetime(self, app: Flask) -> int:
        return max(1, int(app.permanent_session_lifetime.total_seconds()))

    def _key(self, kind: str, name: str) -> str:
        return f"{self.prefix}{kind}:{name}"

    def _new_id(self, app: Flask) -> tuple[str, str]:
        """An id, and its digest."""
        drawn = secrets.token_bytes(RANDOM_BYTES)
        own = base64.urlsafe_b64encode(drawn + _mac(_secret_keys(app)[0], drawn)).decode()
        return own, _digest(own)


class _Ended(Exception):
    """A signed cookie has moved to Redis before."""


def _digest(own: str) -> str:
    return hashlib.sha256(own.encode()).hexdigest()


def _secret_keys(app: Flask) -> list[bytes]:
    """Return the key that signs, and those that are also accepted (Flask 3.1, SECRET_KEY_FALLBACKS)."""
    keys = [app.secret_key, *(app.config.get("SECRET_KEY_FALLBACKS") or [])]
    return [key.encode() if isinstance(key, str) else key for key in keys if key]


@functools.lru_cache(16)
def _pads(key: bytes) -> tuple[Any, Any]:
    """The two halves of HMAC-SHA256 (RFC 2104) with a key. C(hmac.digest) takes eight times as long."""
    padded = (hashlib.sha256(key).digest() if len(key) > BLOCK_BYTES else key).ljust(
        BLOCK_BYTES, b"\0"
    )
    inner, outer = (hashlib.sha256(bytes(byte ^ pad for byte in padded)) for pad in (0x36, 0x5C))
    inner.update(b"evenkeel session ")
    return inner, outer


def _mac(key: bytes, what: bytes) -> bytes:
    inner, outer = (half.copy() for half in _pads(key))
    inner.update(what)
    outer.update(inner.digest())
    mac: bytes = outer.digest()
    return mac[:MAC_BYTES]


def _signed_by(own: str, keys: list[bytes]) -> int | None:
    """Return the index of the key that signed this id, or None."""
    if len(own) != ID_LENGTH:
        return None
    try:
        drawn = base64.b64decode(own, b"-_", validate=True)
    except ValueError:
        return None
    found, mac = drawn[:RANDOM_BYTES], drawn[RANDOM_BYTES:]
    for place, key in enumerate(keys):
        if hmac.compare_digest(_mac(key, found), mac):
            return place
    return None


def _has_two_terms(app: Flask, lifetime: int) -> bool:
    """Whether sessions last shorter until their cookie comes back."""
    return bool(app.config["SESSION_REFRESH_EACH_REQUEST"]) and lifetime > 2 * FIRST_SECONDS


def _essence(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content that can grant a right."""
    return {key: content[key] for key in content if key not in HARMLESS}


def _is_same(old: Any, new: Any) -> bool:
    """Whether both are serialized alike: to Python V(1) and V(True) are equal."""
    if type(old) is not type(new):
        return False
    if isinstance(old, dict):
        return old.keys() == new.keys() and all(_is_same(old[key], new[key]) for key in old)
    if isinstance(old, (list, tuple)):
        return len(old) == len(new) and all(map(_is_same, old, new))
    return bool(old == new)


def _loses(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether a change removed or emptied something, as a logout does."""
    for key, value in old.items():
        other = new.get(key)
        if key not in new or (value and not other):
            return True
        if isinstance(value, dict) and isinstance(other, dict) and _loses(value, other):
            return True
    return False


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
