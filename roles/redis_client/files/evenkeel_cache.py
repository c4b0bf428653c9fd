# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers of an app, kept in Redis for all workers and hosts.

What is kept was made without a look at who asked: the app is handed an environ that notes what is
read of it, and an answer for which anything was read that is not part of the key is not kept. So
whoever gets it would have been made the same one. Kept is only what the app made twice alike, and
for what took it longer than asking Redis does. It is compressed once, and nobody's secret can be guessed by
its length: nobody's is in it.

This file is part of each release and runs inside the app's own process. It needs Python 3.9, Flask
and redis-py.
"""

from __future__ import annotations

import collections
import contextlib
import gzip
import hashlib
import json
import logging
import re
import resource
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Callable

import flask
from evenkeel_http import Headers, compressed, of_not_modified, takes_gzip
from evenkeel_redis import Guarded, RedisAway
from werkzeug.http import parse_list_header, parse_options_header
from werkzeug.middleware.proxy_fix import ProxyFix

WsgiApp = Callable[..., Iterable[bytes]]

SAFE_METHODS = ("GET", "HEAD", "OPTIONS", "TRACE")
# Headers by which an answer may differ, and that are part of every key.
KEYED = (
    "HTTP_ACCEPT",
    "HTTP_ACCEPT_LANGUAGE",
    "HTTP_HOST",
    "HTTP_ORIGIN",
    "HTTP_X_FORWARDED_HOST",
    "HTTP_X_FORWARDED_PORT",
    "HTTP_X_FORWARDED_PREFIX",
    "HTTP_X_FORWARDED_PROTO",
)
# With any of these in it a request is the app's own business. Reading that there is none tells nothing.
ABSENT = (
    "HTTP_AUTHORIZATION",
    "HTTP_IF_MATCH",
    "HTTP_IF_RANGE",
    "HTTP_IF_UNMODIFIED_SINCE",
    "HTTP_RANGE",
    "HTTP_TRANSFER_ENCODING",
    "HTTP_UPGRADE",
)
# An answer out of the cache is as good with these as without.
CONDITIONAL = ("HTTP_IF_MODIFIED_SINCE", "HTTP_IF_NONE_MATCH")
FREE = frozenset(
    {
        *KEYED,
        *ABSENT,
        *CONDITIONAL,
        "CONTENT_LENGTH",
        "CONTENT_TYPE",
        "HTTP_CONNECTION",
        "PATH_INFO",
        "QUERY_STRING",
        "REQUEST_METHOD",
        "SCRIPT_NAME",
        "SERVER_NAME",
        "SERVER_PORT",
        "SERVER_PROTOCOL",
        "SERVER_SOFTWARE",
        "wsgi.errors",
        "wsgi.file_wrapper",
        "wsgi.input",
        "wsgi.input_terminated",
        "wsgi.multiprocess",
        "wsgi.multithread",
        "wsgi.run_once",
        "wsgi.url_scheme",
        "wsgi.version",
    }
)
THIS_HOST = ("", "127.0.0.1", "::1")

# What the app makes sooner, and without waiting for anything, Redis would not answer much sooner.
WORTH_SECONDS = 0.001
LARGEST_BODY = 1 << 20
# So long others wait for the worker that makes an answer, and then one of them makes it too: the first may have
# been killed, and whoever waits keeps a thread from serving others.
MAKING_MILLISECONDS = 2_000
POLL_SECONDS = 0.01
# How long an answer that is too old is kept: to be given away while a new one is made, and as the proof that
# the app makes the same one twice.
STALE_SECONDS = 60
# How long a worker remembers of a path that nothing of it is kept, and of how many.
FORGET_SECONDS = 60.0
AFTER_AN_ERROR_SECONDS = 1.0
MOST_PATHS = 4096

log = logging.getLogger("evenkeel.cache")


class Seen(dict[str, Any]):
    """An environ that notes what the app looks at, beside what is in every key."""

    def __init__(self, environ: Mapping[str, Any]) -> None:
        super().__init__(environ)
        self.given = frozenset(environ)
        self.looked: set[str] = set()
        self.paused = False

    def note(self, name: Any) -> None:
        if self.paused or name in FREE:
            return
        if name in self.given or str(name).startswith("HTTP_"):
            self.looked.add(name)

    def _note_all(self) -> None:
        if not self.paused:
            self.looked.add("everything")

    def __getitem__(self, name: str) -> Any:
        self.note(name)
        return super().__getitem__(name)

    def __contains__(self, name: object) -> bool:
        self.note(name)
        return super().__contains__(name)

    def get(self, name: str, default: Any = None) -> Any:
        self.note(name)
        return super().get(name, default)

    def pop(self, name: str, *default: Any) -> Any:
        self.note(name)
        return super().pop(name, *default)

    def setdefault(self, name: str, default: Any = None) -> Any:
        self.note(name)
        return super().setdefault(name, default)

    def __iter__(self) -> Iterator[str]:
        self._note_all()
        return super().__iter__()

    def __reversed__(self) -> Iterator[str]:
        self._note_all()
        return super().__reversed__()

    def __or__(self, other: Any) -> Any:
        self._note_all()
        return super().__or__(other)

    def __ror__(self, other: Any) -> Any:
        self._note_all()
        return super().__ror__(other)

    def __repr__(self) -> str:
        self._note_all()
        return super().__repr__()

    def keys(self) -> Any:
        self._note_all()
        return super().keys()

    def values(self) -> Any:
        self._note_all()
        return super().values()

    def items(self) -> Any:
        self._note_all()
        return super().items()

    def copy(self) -> dict[str, Any]:
        self._note_all()
        return super().copy()

    def popitem(self) -> tuple[str, Any]:
        self._note_all()
        return super().popitem()


def teach_frameworks() -> None:
    """Have what Flask and Werkzeug read for everybody not count, only what is done with it.

    Each request object keeps the address of who asked, and each ProxyFix that an app brings along
    works it out, whether it is of use to anybody or not.
    """
    made, fixed, proxy_fix = flask.Request.__init__, ProxyFix.__init__, ProxyFix.__call__

    def make(self: Any, environ: Any, *args: Any, **options: Any) -> None:
        _pause(environ, True)
        try:
            made(self, environ, *args, **options)
        finally:
            _pause(environ, False)

    def remote_addr(self: Any) -> Any:
        if isinstance(self.environ, Seen):
            self.environ.note("REMOTE_ADDR")
        return self.__dict__["remote_addr"]

    def keep_remote_addr(self: Any, address: Any) -> None:
        self.__dict__["remote_addr"] = address

    def fix(self: Any, app: WsgiApp, *args: Any, **options: Any) -> None:
        def go_on(environ: Any, start_response: Any) -> Iterable[bytes]:
            _pause(environ, False)
            return app(environ, start_response)

        # Whoever looks for the app inside finds it.
        go_on.app = app  # type: ignore[attr-defined]
        fixed(self, go_on, *args, **options)

    def call(self: Any, environ: Any, start_response: Any) -> Iterable[bytes]:
        _pause(environ, True)
        return proxy_fix(self, environ, start_response)

    flask.Request.__init__ = make  # type: ignore[method-assign]
    flask.Request.remote_addr = property(remote_addr, keep_remote_addr)  # type: ignore[assignment]
    ProxyFix.__init__ = fix  # type: ignore[method-assign]
    ProxyFix.__call__ = call  # type: ignore[method-assign]


def _pause(environ: Any, paused: bool) -> None:
    if isinstance(environ, Seen):
        environ.paused = paused


@dataclass
class Rules:
    """What may be kept for how long, in seconds; 0 is never.

    @param paths: patterns of paths, the first that fits counts: V(*) is anything, and what stands in
        C(<>), as in Flask's routes, anything without a slash
    @param types: by content type, for all other paths
    @param never: paths that the app always answers itself
    """

    paths: Sequence[tuple[str, int]] = ()
    types: Mapping[str, int] = field(default_factory=dict)
    never: Sequence[str] = ()

    def __post_init__(self) -> None:
        self._compiled = [(re.compile(_pattern(path)), timeout) for path, timeout in self.paths]

    def of_path(self, path: str) -> int | None:
        if path in self.never:
            return 0
        return next(
            (timeout for pattern, timeout in self._compiled if pattern.fullmatch(path)), None
        )


def _pattern(path: str) -> str:
    parts = re.split(r"(\*|<[^>]*>)", path)
    return "".join(
        ".*" if part == "*" else "[^/]+" if part[:1] == "<" else re.escape(part) for part in parts
    )


class Unkept(Exception):
    """Why an answer is not kept, and for how many seconds nobody shall try; the message stands in Cache-Status."""

    def __init__(self, why: str, seconds: float = FORGET_SECONDS) -> None:
        super().__init__(why)
        self.seconds = seconds


def lifetime(
    status: str, headers: Headers, rule: int | None, types: Mapping[str, int]
) -> tuple[int, set[str]]:
    """For how many seconds an answer may be kept, and which names in the environ it varies by.

    @param rule: what the rule for its path says, where there is one
    @raises Unkept: when it may not
    """
    told: dict[str, str] = {}
    for name, value in headers:
        name = name.lower()
        told[name] = f"{told[name]}, {value}" if name in told else value
    if not status.startswith("200"):
        raise Unkept(f"status {status[:3]}", AFTER_AN_ERROR_SECONDS)
    if "set-cookie" in told:
        raise Unkept("it sets a cookie")
    if "'nonce-" in told.get("content-security-policy", ""):
        raise Unkept("it has a nonce")
    vary = [name.strip() for name in told.get("vary", "").lower().split(",") if name.strip()]
    for name in ("*", "cookie", "authorization"):
        if name in vary:
            raise Unkept(f"it varies by {name}")
    if not told.get("content-length", "").isdigit():
        raise Unkept("its length is not known")
    if int(told["content-length"]) > LARGEST_BODY:
        raise Unkept("it is too large")
    if rule is None:
        rule = types.get(parse_options_header(told.get("content-type", ""))[0], 0)
    seconds = _wanted(told, rule)
    if seconds <= 0:
        raise Unkept("no rule is for it")
    return seconds, {f"HTTP_{name.upper().replace('-', '_')}" for name in vary}


def _wanted(told: Mapping[str, str], seconds: int) -> int:
    """What the app itself says, before any rule."""
    said: dict[str, str] = {}
    for item in parse_list_header(told.get("cache-control", "")):
        name, _equals, value = item.partition("=")
        said[name.strip().lower()] = value.strip(' "')
    for word in ("private", "no-store", "no-cache"):
        if word in said:
            raise Unkept(f"the app says {word}")
    for word in ("s-maxage", "max-age"):
        if word in said:
            return min(seconds, int(said[word])) if said[word].isdigit() else 0
    if "expires" in told or "no-cache" in told.get("pragma", ""):
        raise Unkept("the app says when it expires")
    return seconds


@dataclass(frozen=True)
class Entry:
    """What Redis has under a key: an answer, the proof that one was made, or why none is kept."""

    generation: str = ""
    expires: float = 0.0
    made: float = 0.0
    headers: Headers = field(default_factory=list)
    body: bytes = b""
    is_compressed: bool = False
    seen: str = ""
    refused: str = ""

    def is_fresh(self, generation: str) -> bool:
        return self.generation == generation and bool(self.headers) and time.time() < self.expires

    def dump(self) -> bytes:
        """One line of JSON, and the body after it."""
        head = {name: value for name, value in vars(self).items() if value and name != "body"}
        return json.dumps(head).encode() + b"\n" + self.body

    @classmethod
    def load(cls, raw: bytes | None) -> Entry | None:
        if not raw:
            return None
        head, _newline, body = raw.partition(b"\n")
        try:
            told = json.loads(head)
            told["headers"] = list(map(tuple, told.get("headers", [])))
            return cls(**told, body=body)
        except (AttributeError, TypeError, ValueError):
            # Of another version of this collection, or not of ours at all.
            return None


class Paths:
    """What a worker has learnt of a path: by which headers its answers vary, and for how long nothing is kept."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.known: collections.OrderedDict[str, tuple[float, str, tuple[str, ...]]] = (
            collections.OrderedDict()
        )

    def refused(self, path: str) -> str:
        until, why, _vary = self.known.get(path, (0.0, "", ()))
        return why if why and self.clock() < until else ""

    def vary(self, path: str) -> tuple[str, ...]:
        return self.known.get(path, (0.0, "", ()))[2]

    def learn(
        self, path: str, why: str = "", seconds: float = FORGET_SECONDS, vary: Iterable[str] = ()
    ) -> None:
        self.known.pop(path, None)
        self.known[path] = (self.clock() + seconds, why, tuple(sorted(vary)))
        while len(self.known) > MOST_PATHS:
            self.known.popitem(last=False)


class CacheMiddleware:
    """Answers from Redis where it may, and has the app make the others.

    @param prefix: what its keys in Redis begin with
    @param release: part of each key, so a switch never gives out the old release's pages
    @param tells: whether answers say C(X-Cache) and C(Cache-Status) (RFC 9211)
    @param forgets: whether a request that may have changed something makes all answers old
    @param compresses: whether answers are kept, and given away, by gzip
    """

    def __init__(
        self,
        app: WsgiApp,
        redis: Guarded,
        prefix: str,
        release: str,
        rules: Rules,
        tells: bool = False,
        forgets: bool = True,
        compresses: bool = True,
    ) -> None:
        self.app = app
        self.redis = redis
        self.prefix = f"{prefix}cache:"
        self.release = release
        self.rules = rules
        self.tells = tells
        self.forgets = forgets
        self.compresses = compresses
        self.paths = Paths(time.monotonic)
        self.owes_a_generation = False

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] not in SAFE_METHODS:
            return self._changed(environ, start_response)
        why = self._bypass(environ)
        if why:
            return self.app(environ, self._telling(start_response, "BYPASS", why))
        try:
            return self._answer(environ, start_response)
        except RedisAway:
            told = self._telling(start_response, "BYPASS", "Redis is away")
            return self.app(environ, told)

    def _bypass(self, environ: dict[str, Any]) -> str:
        """Why the app answers itself, whatever Redis has."""
        path = environ.get("PATH_INFO", "")
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return "its method"
        for name in ABSENT:
            if name in environ:
                return f"the request has {name}"
        if environ.get("CONTENT_LENGTH") not in (None, "", "0"):
            return "the request has a body"
        if self.rules.of_path(path) == 0:
            return "its path"
        # For the rollout, which wants to know how fast the app is and not how fast Redis.
        if "no-cache" in environ.get("HTTP_CACHE_CONTROL", "") and (
            environ.get("REMOTE_ADDR", "") in THIS_HOST
        ):
            return "the host itself asked"
        return self.paths.refused(path)

    def _answer(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        key = self._key(environ, self.paths.vary(environ.get("PATH_INFO", "")))
        is_whole = environ["REQUEST_METHOD"] == "GET" and not any(
            name in environ for name in CONDITIONAL
        )
        while True:
            generation, entry = self._look(key)
            if entry and entry.is_fresh(generation):
                return self._hit(environ, start_response, entry)
            why = ""
            if entry and entry.refused:
                why = entry.refused
            elif not is_whole:
                why = "not asked for a whole"
            elif self._may_make(key):
                return self._make(environ, start_response, key, generation, entry)
            elif entry and entry.body and entry.generation == generation:
                return self._hit(environ, start_response, entry)
            elif "HTTP_COOKIE" in environ:
                # Most likely a page of somebody's own, which nobody else will make.
                why = "being made"
            if why:
                return self.app(environ, self._telling(start_response, "MISS", why))
            time.sleep(POLL_SECONDS)

    def _may_make(self, key: str) -> bool:
        """Whether nobody else is at it."""
        return bool(
            self.redis.ask(
                lambda redis: redis.set(f"{key}:made", 1, nx=True, px=MAKING_MILLISECONDS)
            )
        )

    def _look(self, key: str) -> tuple[str, Entry | None]:
        if self.owes_a_generation:
            self._begin_generation()
        generation, raw = self.redis.ask(lambda redis: redis.mget(f"{self.prefix}generation", key))
        return (generation or b"").decode(), Entry.load(raw)

    def _key(self, environ: Mapping[str, Any], vary: Iterable[str]) -> str:
        names = ("wsgi.url_scheme", "SCRIPT_NAME", "PATH_INFO", "QUERY_STRING", *KEYED)
        parts = [str(environ.get(name)) for name in names]
        parts += [f"{name}={environ.get(name)}" for name in vary]
        digest = hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()
        return f"{self.prefix}{self.release}:{digest[:32]}"

    def _hit(self, environ: dict[str, Any], start_response: Any, entry: Any) -> Iterable[bytes]:
        age = str(max(0, int(time.time() - entry.made)))
        headers, body = [*entry.headers, ("Age", age)], entry.body
        if entry.is_compressed:
            headers.append(("Vary", "Accept-Encoding"))
            if takes_gzip(environ.get("HTTP_ACCEPT_ENCODING", "")):
                headers = _of_compressed(headers, len(body))
            else:
                body = gzip.decompress(body)
        told = self._telling(start_response, "HIT", "")
        kept = of_not_modified(environ, headers)
        if kept is not None:
            told("304 Not Modified", kept)
            return []
        told("200 OK", headers)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]

    def _entry(self, answer: _Answer, whole: bytes, generation: str, seconds: int) -> Entry:
        names = {name.lower(): value for name, value in answer.headers}
        smaller = None
        if self.compresses and "content-encoding" not in names:
            smaller = compressed(parse_options_header(names.get("content-type", ""))[0], whole)
        now = time.time()
        body, is_compressed = (whole, False) if smaller is None else (smaller, True)
        return Entry(generation, now + seconds, now, answer.headers, body, is_compressed)

    def _make(
        self, environ: dict[str, Any], start_response: Any, key: str, generation: str, old: Any
    ) -> Iterable[bytes]:
        """Have the app answer, and keep the answer if it may be kept."""
        path = environ.get("PATH_INFO", "")
        rule = self.rules.of_path(path)
        answer = _Answer(Seen(environ), self._telling(start_response, "MISS", ""))
        began = _Cost.now()
        try:
            answer.ask(self.app)
            seconds, vary = lifetime(answer.status, answer.headers, rule, self.rules.types)
            whole = answer.read()
            looked = sorted(answer.environ.looked - vary)
            if looked:
                raise Unkept(f"the app looked at {' and '.join(looked)}")
            if rule is None and began.is_little():
                raise Unkept("the app is as fast")
        except Unkept as why:
            self._refuse(path, key, why)
            return answer.go_on(self._telling(start_response, "MISS", str(why)))
        except BaseException:
            self._note(key)
            raise
        new = sorted(vary.difference(KEYED))
        self.paths.learn(path, vary=new)
        digest = hashlib.sha256(whole).hexdigest()[:32]
        proven = rule is not None or (old and (old.headers or old.seen == digest))
        if proven:
            entry = self._entry(answer, whole, generation, seconds)
            kept = self._key(environ, new) if new else key
            self._note(kept, entry, seconds + STALE_SECONDS, key)
        elif old and old.seen and old.generation == generation:
            self._refuse(path, key, Unkept("it is another one each time"))
        else:
            self._note(key, Entry(generation, seen=digest), FORGET_SECONDS)
        told = self._telling(start_response, "MISS", "stored" if proven else "made once")
        told(answer.status, answer.headers)
        return [whole]

    def _refuse(self, path: str, key: str, why: Unkept) -> None:
        self.paths.learn(path, str(why), why.seconds)
        self._note(key, Entry(refused=str(why)), why.seconds)

    def _note(
        self, key: str, entry: Entry | None = None, seconds: float = 0, made: str = ""
    ) -> None:
        """Keep an entry, and let go of who waits for it."""

        def note(redis: Any) -> None:
            with redis.pipeline(transaction=False) as pipeline:
                if entry:
                    pipeline.set(key, entry.dump(), px=int(seconds * 1000))
                pipeline.delete(f"{made or key}:made")
                pipeline.execute()

        # It has been said that it is away, and the lock ends by itself.
        with contextlib.suppress(RedisAway):
            self.redis.ask(note)

    def _changed(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """A request that may change anything: all that was kept is old once the app has answered it."""

        def start(status: str, headers: Headers, *exc_info: Any) -> Any:
            if self.forgets and not status.startswith("4"):
                self.owes_a_generation = True
                with contextlib.suppress(RedisAway):
                    self._begin_generation()
            return told(status, headers, *exc_info)

        told = self._telling(start_response, "BYPASS", "its method")
        return self.app(environ, start)

    def _begin_generation(self) -> None:
        token = secrets.token_hex(8)
        self.redis.ask(lambda redis: redis.set(f"{self.prefix}generation", token))
        self.owes_a_generation = False

    def _telling(self, start_response: Any, what: str, why: str) -> Any:
        if not self.tells:
            return start_response

        def start(status: str, headers: Headers, *exc_info: Any) -> Any:
            forwarded = {"HIT": "hit", "MISS": "fwd=miss", "BYPASS": "fwd=bypass"}[what]
            detail = f'; detail="{why}"' if why else ""
            own = [("X-Cache", what), ("Cache-Status", f"evenkeel; {forwarded}{detail}")]
            return start_response(status, [*headers, *own], *exc_info)

        return start


def _of_compressed(headers: Headers, length: int) -> Headers:
    """The same answer, compressed. It is not equal byte by byte, which a strong ETag would say (RFC 9110, 8.8.1)."""
    told = [("Content-Encoding", "gzip")]
    for name, value in headers:
        if name.lower() == "content-length":
            value = str(length)
        elif name.lower() == "etag" and not value.startswith("W/"):
            value = f"W/{value}"
        told.append((name, value))
    return told


@dataclass(frozen=True)
class _Cost:
    """What the app has used so far: time, time on a processor, and how often it waited for something."""

    elapsed: float
    computed: float
    waits: int

    @classmethod
    def now(cls) -> _Cost:
        used = resource.getrusage(resource.RUSAGE_THREAD)
        return cls(time.monotonic(), time.thread_time(), used.ru_nvcsw)

    def is_little(self) -> bool:
        """Since then. On a busy machine time passes without any work, so what counts is work and waiting."""
        now = _Cost.now()
        if now.elapsed - self.elapsed < WORTH_SECONDS:
            return True
        return now.computed - self.computed < WORTH_SECONDS and now.waits == self.waits


class _Answer:
    """One answer of the app, held back until it is known what becomes of it."""

    def __init__(self, environ: Seen, start_response: Any) -> None:
        self.environ = environ
        self.start_response = start_response
        self.status = ""
        self.headers: Headers = []
        self.body: Iterable[bytes] = []
        self.write: Any = None

    def _start(self, status: str, headers: Headers, exc_info: Any = None) -> Any:
        self.status, self.headers = status, list(headers)
        return self._write

    def _write(self, block: bytes) -> None:
        """The old way to answer (PEP 3333, "The write() Callable")."""
        if self.write is None:
            self.write = self.start_response(self.status, self.headers)
        self.write(block)

    def ask(self, app: WsgiApp) -> None:
        self.body = app(self.environ, self._start)
        wrapper = self.environ.get("wsgi.file_wrapper")
        if isinstance(wrapper, type) and isinstance(self.body, wrapper):
            raise Unkept("it is a file")
        if self.write or not self.status:
            raise Unkept("it is made piece by piece")

    def read(self) -> bytes:
        try:
            whole = b"".join(self.body)
        finally:
            close = getattr(self.body, "close", None)
            if close:
                close()
        self.body = [whole]
        told = {name.lower(): value for name, value in self.headers}
        if told.get("content-length") != str(len(whole)):
            raise Unkept("its length is another than it says")
        return whole

    def go_on(self, start_response: Any) -> Iterable[bytes]:
        """Give it away as it is."""
        if self.write:
            return self.body
        if self.status:
            start_response(self.status, self.headers)
            return self.body
        return _Late(self, start_response)


class _Late:
    """A body that says its status only when its first piece is asked for."""

    def __init__(self, answer: _Answer, start_response: Any) -> None:
        self.answer = answer
        self.start_response = start_response

    def __iter__(self) -> Iterator[bytes]:
        is_told = False
        for block in self.answer.body:
            if not is_told and not self.answer.write:
                self.start_response(self.answer.status, self.answer.headers)
            is_told = True
            yield block
        if not is_told and not self.answer.write:
            self.start_response(self.answer.status, self.answer.headers)

    def close(self) -> None:
        close = getattr(self.answer.body, "close", None)
        if close:
            close()
