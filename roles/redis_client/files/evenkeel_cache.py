# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Store responses of an app in Redis for all workers and hosts.

A response is stored only if all clients would get the same one, and if its request had no effect.
The app gets an environ that records the reads of the request (evenkeel_environ.py), and its actions
are also recorded (evenkeel_effects.py). A response that depends on anything outside the key, or
whose request had an effect, is not stored. A write invalidates all responses
(evenkeel_writes.py). A response is stored only after the app made it twice alike, and if that took
longer than Redis takes. It is compressed once: it has no secret, so its length reveals nothing.
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
import socket
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Callable

import evenkeel_effects
import evenkeel_environ
import redis as redis_py
from evenkeel_effects import Record
from evenkeel_environ import ABSENT, CONDITIONAL, DIGITS, FREE, KEY, Seen, digest_of
from evenkeel_http import Headers, compressed, of_not_modified, takes_gzip
from evenkeel_redis import Guarded
from evenkeel_writes import FAILURES, Writes
from werkzeug.http import parse_list_header, parse_options_header

__all__ = ["FREE", "KEY", "CacheMiddleware", "Rules", "teach_frameworks"]

WsgiApp = Callable[..., Iterable[bytes]]

SAFE_METHODS = ("GET", "HEAD", "OPTIONS", "TRACE")
# Responses which mean that nothing was changed, regardless of the request.
REFUSALS = ("401", "403", "404", "405", "413", "429")
# Headers that may differ between two answers that are the same.
VOLATILE = frozenset(
    {"age", "date", "server-timing", "x-process-time", "x-response-time", "x-runtime"}
)
THIS_HOST = ("", "127.0.0.1", "::1")

# Redis is not faster for a response that the app makes in less time and without a wait.
WORTH_SECONDS = 0.001
LARGEST_BODY = 1 << 20
# Other requests wait this long for the worker that makes a response. Then one of them makes it too: the
# first worker may have been killed, and a waiting request blocks a thread.
MAKING_MILLISECONDS = 2_000
POLL_SECONDS = 0.01
# How long an outdated response is stored: it is served while a new one is made, and proves that the app
# makes the same one twice.
STALE_SECONDS = 60
# How long a worker remembers that a key is not stored, and the number of such keys.
FORGET_SECONDS = 60.0
AFTER_AN_ERROR_SECONDS = 1.0
MOST_PATHS = 4096
# How many equal answers are a proof, without and with a random number in their making. Of two pages that
# are chosen by chance, eight are equal in one of 128 cases.
PROOFS = 2
PROOFS_OF_CHANCE = 8
# The bound on what clients can put into Redis: entries of one path, where paths share a number of
# buckets, and entries of a size in bytes. All sizes together are 192 MiB.
# Each ring grows to twice that before it is shortened.
MOST_VARIANTS = 22
BUCKETS = 1024
LARGEST_HEAD = 16 << 10
SIZES = ((16 << 10, 2048), (128 << 10, 256), (LARGEST_BODY + LARGEST_HEAD, 32))

log = logging.getLogger("evenkeel.cache")


def teach_frameworks() -> None:
    """Before the app is imported: have Flask, Werkzeug and Python report what is done with a request."""
    evenkeel_environ.teach_frameworks()
    evenkeel_effects.install()


@dataclass
class Rules:
    """The time for which a response may be stored, in seconds; 0 is never.

    @param paths: patterns of paths; the first that matches counts. V(*) is any text, and a name in
        C(<>), as in Flask's routes, is any text without a slash. Each has the seconds, and optionally
        whether requests to it change anything that other pages show
    @param types: by content type, for all other paths
    @param never: paths that the app always serves itself
    """

    paths: Sequence[tuple[Any, ...]] = ()
    types: Mapping[str, int] = field(default_factory=dict)
    never: Sequence[str] = ()

    def __post_init__(self) -> None:
        self._compiled = [
            (re.compile(_pattern(path), re.DOTALL), timeout, more[0] if more else True)
            for path, timeout, *more in self.paths
        ]
        self.longest = max([0, *self.types.values(), *(rule[1] for rule in self._compiled)])

    def of_path(self, path: str) -> int | None:
        if path in self.never:
            return 0
        return next(
            (rule[1] for rule in self._compiled if rule[0].fullmatch(path)),
            None,
        )

    def changes(self, path: str) -> bool:
        """Whether a request to it may change what other pages show."""
        return next((bool(rule[2]) for rule in self._compiled if rule[0].fullmatch(path)), True)


def _pattern(path: str) -> str:
    parts = re.split(r"(\*|<[^>]*>)", path)
    return "".join(
        ".*" if part == "*" else "[^/]+" if part[:1] == "<" else re.escape(part) for part in parts
    )


class Unkept(Exception):
    """The reason why a response is not stored, shown in Cache-Status, and the seconds until the next attempt."""

    def __init__(self, why: str, seconds: float = FORGET_SECONDS) -> None:
        super().__init__(why)
        self.seconds = seconds


def lifetime(
    status: str, headers: Headers, rule: int | None, types: Mapping[str, int]
) -> tuple[int, set[str]]:
    """Return the seconds for which a response may be stored, and the environ names by which it varies.

    @param rule: the seconds of the rule for its path, if there is one
    @raises Unkept: if it must not be stored
    """
    fields: dict[str, str] = {}
    for name, value in headers:
        name = name.lower()
        fields[name] = f"{fields[name]}, {value}" if name in fields else value
    if not status.startswith("200"):
        raise Unkept(f"status {status[:3]}", AFTER_AN_ERROR_SECONDS)
    if "set-cookie" in fields:
        raise Unkept("it sets a cookie")
    if "'nonce-" in fields.get("content-security-policy", ""):
        raise Unkept("it has a nonce")
    vary = [name.strip() for name in fields.get("vary", "").lower().split(",") if name.strip()]
    for name in ("*", "cookie", "authorization"):
        if name in vary:
            raise Unkept(f"it varies by {name}")
    if not fields.get("content-length", "").isdigit():
        raise Unkept("its length is not known")
    if int(fields["content-length"]) > LARGEST_BODY:
        raise Unkept("it is too large")
    if rule is None:
        rule = types.get(parse_options_header(fields.get("content-type", ""))[0], 0)
    seconds = _wanted(fields, rule)
    if seconds <= 0:
        raise Unkept("no rule is for it")
    return seconds, {f"HTTP_{name.upper().replace('-', '_')}" for name in vary}


def _wanted(fields: Mapping[str, str], seconds: int) -> int:
    """Return the seconds of a rule, limited by the app's own headers."""
    directives: dict[str, str] = {}
    for item in parse_list_header(fields.get("cache-control", "")):
        name, _equals, value = item.partition("=")
        directives[name.strip().lower()] = value.strip(' "')
    for word in ("private", "no-store", "no-cache"):
        if word in directives:
            raise Unkept(f"the app says {word}")
    for word in ("s-maxage", "max-age"):
        if word in directives:
            return min(seconds, int(directives[word])) if directives[word].isdigit() else 0
    if "expires" in fields or "no-cache" in fields.get("pragma", ""):
        raise Unkept("the app says when it expires")
    return seconds


# Not frozen: that takes twice as long, on each hit.
@dataclass
class Entry:
    """The value of a key in Redis: a response, the proof that one was made, or the reason why none is stored."""

    generation: str = ""
    expires: float = 0.0
    made: float = 0.0
    headers: Headers = field(default_factory=list)
    body: bytes = b""
    is_compressed: bool = False
    # The digest of the answer, and how often in a row it was that.
    seen: str = ""
    times: int = 0
    # Whether the app read the headers of a conditional request.
    is_conditional: bool = False
    # By which names the answers under this key vary; they are under other ones.
    vary: list[str] = field(default_factory=list)
    refused: str = ""
    # Whether what was refused changes what other pages show.
    changes: bool = False

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
            stored = json.loads(head)
            stored["headers"] = list(map(tuple, stored.get("headers", [])))
            return cls(**stored, body=body)
        except (AttributeError, TypeError, ValueError):
            # Of another version of this collection, or not of ours at all.
            return None


@dataclass(frozen=True)
class Learnt:
    """A worker's knowledge of a key: until when and why nothing is stored, and its Vary headers."""

    until: float = 0.0
    why: str = ""
    vary: tuple[str, ...] = ()
    changes: bool = False


NOTHING = Learnt()


class Paths:
    """A worker's knowledge of all keys. One request does not affect the keys of others."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.known: collections.OrderedDict[str, Learnt] = collections.OrderedDict()

    def of(self, key: str) -> Learnt:
        found = self.known.get(key, NOTHING)
        return found if not found.why or self.clock() < found.until else NOTHING

    def learn(
        self,
        key: str,
        why: str = "",
        seconds: float = FORGET_SECONDS,
        vary: Iterable[str] = (),
        changes: bool = False,
    ) -> None:
        self.known.pop(key, None)
        self.known[key] = Learnt(self.clock() + seconds, why, tuple(sorted(vary)), changes)
        while len(self.known) > MOST_PATHS:
            with contextlib.suppress(KeyError):
                self.known.popitem(last=False)


@dataclass(frozen=True)
class Ring:
    """A bound on a number of entries: a text in Redis of their digests, in the order in which they came.

    @param place: what the keys of the entries begin with
    @param most: entries; twice as many digests are let grow before the older half goes
    @param lifetime: of the longest entry, in milliseconds
    """

    place: str
    name: str
    most: int
    lifetime: int

    def add(self, pipeline: Any, key: str) -> None:
        pipeline.append(self.place + self.name, key[len(self.place) :])
        pipeline.pexpire(self.place + self.name, self.lifetime)

    def trim(self, redis: Any, length: int) -> None:
        """Delete the oldest entries, if there are too many by now."""
        if length <= 2 * self.most * DIGITS:
            return
        name = self.place + self.name
        with redis.pipeline() as pipeline, contextlib.suppress(redis_py.WatchError):
            # If another worker was faster, that worker trims.
            pipeline.watch(name)
            text = (pipeline.get(name) or b"").decode()
            digests = [text[at : at + DIGITS] for at in range(0, len(text), DIGITS)]
            kept = [*dict.fromkeys(reversed(digests))][: self.most][::-1]
            gone = {*digests} - {*kept}
            pipeline.multi()
            pipeline.set(name, "".join(kept), px=self.lifetime)
            if gone:
                pipeline.delete(*(self.place + digest for digest in gone))
            pipeline.execute()


class CacheMiddleware:
    """Serve responses from Redis if allowed, and all others from the app.

    @param prefix: the beginning of its keys in Redis
    @param release: part of each key, so after a switch no page of the old release is served
    @param tells: whether responses have C(X-Cache) and C(Cache-Status) (RFC 9211)
    @param forgets: whether a request that may have changed something invalidates all responses
    @param compresses: whether responses are stored and served with gzip
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
        self.writes = Writes(redis, f"{self.prefix}generation")

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        method = environ["REQUEST_METHOD"]
        if method not in SAFE_METHODS:
            return self._change(environ, self._telling(start_response, "BYPASS", "its method"))
        why = "its method" if method not in ("GET", "HEAD") else self._bypass(environ)
        if why:
            return self._pass(environ, self._telling(start_response, "BYPASS", why))
        base = digest_of(environ)
        learnt = self.paths.of(base)
        if learnt.why:
            start = self._telling(start_response, "BYPASS", learnt.why)
            return (self._change if learnt.changes else self._pass)(environ, start)
        try:
            return self._answer(environ, start_response, base, learnt.vary)
        except Unreachable:
            start = self._telling(start_response, "BYPASS", "Redis is away")
            return self._pass(environ, start)

    def _bypass(self, environ: dict[str, Any]) -> str:
        """Return why the app must respond itself, regardless of Redis, or an empty string."""
        for name in ABSENT:
            if name in environ:
                return f"the request has {name}"
        if environ.get("CONTENT_LENGTH") not in (None, "", "0"):
            return "the request has a body"
        if self.rules.of_path(environ.get("PATH_INFO", "")) == 0:
            return "its path"
        # For the rollout, which measures the app and not Redis.
        if "no-cache" in environ.get("HTTP_CACHE_CONTROL", "") and (
            environ.get("REMOTE_ADDR", "") in THIS_HOST
        ):
            return "the host itself asked"
        return ""

    def _answer(
        self, environ: dict[str, Any], start_response: Any, base: str, vary: tuple[str, ...]
    ) -> Iterable[bytes]:
        is_conditional = not environ.keys().isdisjoint(CONDITIONAL)
        is_whole = environ["REQUEST_METHOD"] == "GET" and not is_conditional
        while True:
            key = self._named(base, environ, vary)
            generation, entry = self._look(key)
            if entry and entry.vary and not vary:
                # Another worker has learnt it.
                vary = tuple(entry.vary)
                self.paths.learn(base, vary=vary)
                continue
            if generation is None:
                why, entry = "a write is under way", None
            elif entry and entry.is_fresh(generation):
                answer = self._hit(environ, start_response, entry, is_conditional)
                if answer is not None:
                    return answer
                why = "not asked for a whole"
            elif entry and entry.refused:
                why = entry.refused
            elif not is_whole:
                why = "not asked for a whole"
            elif self._may_make(key):
                return self._make(environ, start_response, base, key, generation, entry)
            elif entry and entry.body and entry.generation == generation:
                answer = self._hit(environ, start_response, entry, is_conditional)
                if answer is not None:
                    return answer
                why = "not asked for a whole"
            elif "HTTP_COOKIE" in environ:
                # Most likely a personal page, which no other request will make.
                why = "being made"
            else:
                time.sleep(POLL_SECONDS)
                continue
            start = self._telling(start_response, "MISS", why)
            return (self._change if entry and entry.changes else self._pass)(environ, start)

    def _may_make(self, key: str) -> bool:
        """Return whether no other request makes the response."""
        return bool(
            self._ask(lambda redis: redis.set(f"{key}:made", 1, nx=True, px=MAKING_MILLISECONDS))
        )

    def _ask(self, question: Callable[[Any], Any]) -> Any:
        """Put a question to Redis, without which the app answers. An error ends this request's use of Redis only."""
        try:
            return self.redis.ask(question)
        except FAILURES as error:
            raise Unreachable from error

    def _look(self, key: str) -> tuple[str | None, Entry | None]:
        """The generation, None while something is written, and what is under a key, in one round trip."""
        if self.writes.owed:
            try:
                self.writes.settle()
            except FAILURES as error:
                raise Unreachable from error
        for _time in range(2):
            text, raw = self._ask(lambda redis: redis.mget(self.writes.key, key))
            state = self.writes.read(text)
            if state.base:
                break
            # It was evicted, or there never was one.
            self._ask(self.writes.start)
        else:
            raise Unreachable
        generation = None if state.is_writing(time.time()) else state.generation
        return generation, Entry.load(raw)

    def _key(self, environ: Mapping[str, Any], vary: Iterable[str]) -> str:
        return f"{self.prefix}{self.release}:{digest_of(environ, vary)}"

    def _named(self, base: str, environ: Mapping[str, Any], vary: Iterable[str]) -> str:
        return self._key(environ, vary) if vary else f"{self.prefix}{self.release}:{base}"

    def _hit(
        self, environ: dict[str, Any], start_response: Any, entry: Entry, is_conditional: bool
    ) -> Iterable[bytes] | None:
        """Serve the entry; None if the app may have another response to this request."""
        age = str(max(0, int(time.time() - entry.made)))
        headers, body = [*entry.headers, ("Age", age)], entry.body
        if entry.is_compressed:
            headers.append(("Vary", "Accept-Encoding"))
            if takes_gzip(environ.get("HTTP_ACCEPT_ENCODING", "")):
                headers = _of_compressed(headers, len(body))
            else:
                body = gzip.decompress(body)
        start = self._telling(start_response, "HIT", "")
        kept = of_not_modified(environ, headers)
        if kept is not None:
            start("304 Not Modified", kept)
            return []
        if is_conditional and entry.is_conditional:
            return None
        start("200 OK", headers)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]

    def _entry(self, answer: _Answer, whole: bytes, generation: str, seconds: int) -> Entry:
        names = {name.lower(): value for name, value in answer.headers}
        smaller = None
        if self.compresses and "content-encoding" not in names:
            smaller = compressed(parse_options_header(names.get("content-type", ""))[0], whole)
        now = time.time()
        body, is_compressed = (whole, False) if smaller is None else (smaller, True)
        return Entry(
            generation,
            now + seconds,
            now,
            answer.headers,
            body,
            is_compressed,
            seen=answer.digest(whole),
            is_conditional=answer.is_conditional(),
        )

    def _make(
        self,
        environ: dict[str, Any],
        start_response: Any,
        base: str,
        key: str,
        generation: str,
        old: Entry | None,
    ) -> Iterable[bytes]:
        """Make the response with the app, and store it if allowed."""
        path = environ.get("PATH_INFO", "")
        rule = self.rules.of_path(path)
        record = Record()
        if rule is None and old and old.seen:
            record.watch_draws()
        answer = _Answer(Seen(environ), self._telling(start_response, "MISS", ""), record)
        began = _Cost.now()
        try:
            answer.ask(self.app)
            seconds, vary = lifetime(answer.status, answer.headers, rule, self.rules.types)
            whole = answer.read()
            looked = sorted(answer.environ.looked - vary - {*CONDITIONAL})
            if looked:
                raise Unkept(f"the app looked at {' and '.join(looked)}")
            is_little = rule is None and began.is_little()
            self._refuse_effects(record, path, rule, is_little)
        except Unkept as why:
            start = self._telling(start_response, "MISS", str(why))
            return self._give(environ, record, base, key, why, answer.go_on(start))
        except BaseException:
            self._note(path, key)
            self._finish(record, path, None, "500")
            raise
        new = sorted(vary.difference(KEY))
        self.paths.learn(base, vary=new)
        kept = self._named(base, environ, new)
        if kept != key:
            self._note(path, self._named(base, environ, ()), Entry(vary=new), FORGET_SECONDS)
        digest = answer.digest(whole)
        is_same = old is not None and old.seen == digest
        times = min(old.times + 1 if old and is_same else 1, PROOFS_OF_CHANCE)
        needed = PROOFS_OF_CHANCE if record.has_drawn() else PROOFS
        what = "made once"
        if rule is not None or times >= needed or (old and old.headers and is_same):
            what = "stored"
            entry = self._entry(answer, whole, generation, seconds)
            self._note(path, kept, entry, seconds + STALE_SECONDS, key)
        elif old and not old.headers and old.seen and not is_same and old.generation == generation:
            self._refuse(path, base, key, Unkept("it is another one each time"))
        else:
            entry = Entry(generation, seen=digest, times=times)
            self._note(path, kept, entry, FORGET_SECONDS, key)
            what = "made once" if times == 1 else f"made {times} times"
        start = self._telling(start_response, "MISS", what)
        start(answer.status, answer.headers)
        return [whole]

    def _refuse_effects(self, record: Record, path: str, rule: int | None, is_little: bool) -> None:
        """Keep nothing whose request did more than answer, or may have; nor what is made at once.

        A rule for the path allows what may be harmless, and no certain write.

        @raises Unkept: then
        """
        counts = self.rules.changes(path)
        if counts and (record.wrote or (record.acted and rule is None)):
            raise Unkept(record.wrote or record.acted)
        if is_little:
            raise Unkept("the app is as fast")
        if counts:
            why, is_lasting = evenkeel_effects.doubt(record, self._own_descriptors())
            # The one doubt that does not recur with each request is a file that was written to just before.
            if why and (rule is None or record.wrote or not is_lasting):
                raise Unkept(why, FORGET_SECONDS if is_lasting else AFTER_AN_ERROR_SECONDS)

    def _own_descriptors(self) -> set[int]:
        """Those of this worker's own connections to Redis."""
        pool = self.redis.redis.connection_pool
        found = set()
        for name in ("_available_connections", "_in_use_connections"):
            for connection in [*getattr(pool, name, ())]:
                own = getattr(connection, "_sock", None)
                if isinstance(own, socket.socket):
                    found.add(own.fileno())
        return found

    def _give(
        self,
        environ: dict[str, Any],
        record: Record,
        base: str,
        key: str,
        why: Unkept,
        body: Iterable[bytes],
    ) -> Iterable[bytes]:
        """Serve a response that is not stored, and record the reason after its end."""
        path = environ.get("PATH_INFO", "")
        is_counted = self.forgets and self.rules.changes(path)
        # A stream may take long, so others must not wait for its end.
        self._refuse(path, base, key, why, record.changes and is_counted)
        known = record.changes

        def end() -> None:
            if record.changes and not known and is_counted:
                self._refuse(path, base, key, why, True)
            self._finish(record, path, None, "200")

        if isinstance(body, list) or _is_file(environ, body):
            end()
            return body
        return _Watched(body, record, end)

    def _refuse(self, path: str, base: str, key: str, why: Unkept, changes: bool = False) -> None:
        self.paths.learn(base, str(why), why.seconds, changes=changes)
        self._note(path, key, Entry(refused=str(why), changes=changes), why.seconds)

    def _note(
        self,
        path: str,
        key: str,
        entry: Entry | None = None,
        seconds: float = 0,
        made: str = "",
    ) -> None:
        """Store an entry, and wake the requests that wait for it."""
        raw = entry.dump() if entry else b""
        raw = b"" if len(raw) > LARGEST_BODY + LARGEST_HEAD else raw
        rings = self._rings(path, len(raw)) if seconds > AFTER_AN_ERROR_SECONDS else []

        def note(redis: Any) -> None:
            with redis.pipeline(transaction=False) as pipeline:
                pipeline.delete(f"{made or key}:made")
                if raw:
                    pipeline.set(key, raw, px=int(seconds * 1000))
                    for ring in rings:
                        ring.add(pipeline, key)
                counts = pipeline.execute()[2::2]
            for ring, count in zip(rings, counts):
                ring.trim(redis, count)

        # The loss of Redis was already reported, and the lock expires by itself.
        with contextlib.suppress(*FAILURES):
            self.redis.ask(note)

    def _rings(self, path: str, size: int) -> list[Ring]:
        """Return the rings that limit the number of entries like this one."""
        digest = hashlib.sha256(path.encode("utf-8", "surrogatepass")).digest()
        bucket = int.from_bytes(digest[:4], "big") % BUCKETS
        number = next((n for n, (limit, _most) in enumerate(SIZES) if size <= limit), 2)
        place = f"{self.prefix}{self.release}:"
        lifetime = (self.rules.longest + STALE_SECONDS) * 1000
        return [
            Ring(place, f"of:{bucket}", MOST_VARIANTS, lifetime),
            Ring(place, f"size:{number}", SIZES[number][1], lifetime),
        ]

    # Requests that are the app's

    def _pass(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Handle a request that should change nothing. If it does, all stored responses are outdated."""
        return self._through(environ, start_response, None)

    def _change(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """A request that may change anything, at any moment until its answer is closed."""
        if not self.forgets or not self.rules.changes(environ.get("PATH_INFO", "")):
            return self.app(environ, start_response)
        return self._through(environ, start_response, self.writes.begin())

    def _through(
        self, environ: dict[str, Any], start_response: Any, token: str | None
    ) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if not self.forgets or not self.rules.changes(path):
            return self.app(environ, start_response)
        record = Record()
        statuses = ["500"]

        def start(status: str, headers: Headers, *exc_info: Any) -> Any:
            statuses[0] = status
            return start_response(status, headers, *exc_info)

        try:
            with record:
                body = self.app(environ, start)
        except BaseException:
            self._finish(record, path, token, statuses[0])
            raise
        if token is not None and statuses[0].startswith(REFUSALS):
            # A later write of this request would be unexpected, and is detected.
            self._finish(record, path, token, statuses[0])
            token, record.changes = None, False
        if token is None and _is_file(environ, body):
            self._finish(record, path, None, "")
            return body
        return _Watched(body, record, lambda: self._finish(record, path, token, statuses[0]))

    def _finish(self, record: Record, path: str, token: str | None, status: str) -> None:
        """After a request has done all that it does."""
        if not self.forgets or not self.rules.changes(path):
            return
        if token is not None:
            self.writes.end(token, record.changes or not status.startswith(REFUSALS))
        elif record.changes:
            self.writes.forget()

    def _telling(self, start_response: Any, what: str, why: str) -> Any:
        if not self.tells:
            return start_response

        def start(status: str, headers: Headers, *exc_info: Any) -> Any:
            forwarded = {"HIT": "hit", "MISS": "fwd=miss", "BYPASS": "fwd=bypass"}[what]
            detail = f'; detail="{why}"' if why else ""
            own = [("X-Cache", what), ("Cache-Status", f"evenkeel; {forwarded}{detail}")]
            return start_response(status, [*headers, *own], *exc_info)

        return start


class Unreachable(Exception):
    """Redis did not answer, or refused; this request goes on without it."""


def _is_file(environ: Mapping[str, Any], body: Any) -> bool:
    """Whether gunicorn may send it without reading it, if it sees it as it is."""
    wrapper = environ.get("wsgi.file_wrapper")
    return isinstance(wrapper, type) and isinstance(body, wrapper)


class _Watched:
    """A body whose iteration and close are also recorded.

    @param end: called once, after the body was closed
    """

    def __init__(self, body: Iterable[bytes], record: Record, end: Callable[[], None]) -> None:
        self.body = body
        self.record = record
        self.end: Callable[[], None] | None = end

    def __iter__(self) -> Iterator[bytes]:
        with self.record:
            blocks = iter(self.body)
            block = next(blocks, None)
        while block is not None:
            yield block
            with self.record:
                block = next(blocks, None)

    def close(self) -> None:
        try:
            with self.record:
                close = getattr(self.body, "close", None)
                if close:
                    close()
        finally:
            self.__del__()

    def __del__(self) -> None:
        # Not every server closes what it gave up.
        end, self.end = self.end, None
        if end:
            end()


def _of_compressed(headers: Headers, length: int) -> Headers:
    """Return the headers of the compressed response. A strong ETag would be wrong (RFC 9110, 8.8.1)."""
    result = [("Content-Encoding", "gzip")]
    for name, value in headers:
        if name.lower() == "content-length":
            value = str(length)
        elif name.lower() == "etag" and not value.startswith("W/"):
            value = f"W/{value}"
        result.append((name, value))
    return result


@dataclass(frozen=True)
class _Cost:
    """The resources that the app has used so far: time, processor time, and the number of waits."""

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
    """One response of the app, held back until it is decided whether to store it."""

    def __init__(self, environ: Seen, start_response: Any, record: Record) -> None:
        self.environ = environ
        self.start_response = start_response
        self.record = record
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
        with self.record:
            self.body = app(self.environ, self._start)
        if _is_file(self.environ, self.body):
            raise Unkept("it is a file")
        if self.write or not self.status:
            raise Unkept("it is made piece by piece")

    def read(self) -> bytes:
        with self.record:
            try:
                whole = b"".join(self.body)
            finally:
                close = getattr(self.body, "close", None)
                if close:
                    close()
        self.body = [whole]
        fields = {name.lower(): value for name, value in self.headers}
        if fields.get("content-length") != str(len(whole)):
            raise Unkept("its length is another than it says")
        return whole

    def digest(self, whole: bytes) -> str:
        """Return the digest of all parts that a client sees, except volatile headers."""
        headers = sorted(
            [name.lower(), value] for name, value in self.headers if name.lower() not in VOLATILE
        )
        text = json.dumps([self.status, headers]).encode()
        return hashlib.sha256(text + b"\n" + whole).hexdigest()[:32]

    def is_conditional(self) -> bool:
        return not self.environ.looked.isdisjoint(CONDITIONAL)

    def go_on(self, start_response: Any) -> Iterable[bytes]:
        """Give it away as it is."""
        if self.write:
            return self.body
        if self.status:
            start_response(self.status, self.headers)
            return self.body
        return _Late(self, start_response)


class _Late:
    """A body that sends its status only when its first piece is requested."""

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
