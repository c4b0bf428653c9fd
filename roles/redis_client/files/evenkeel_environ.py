# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts of a request that decide an answer: the cache key, and a record of all other reads.

This file is part of each release and runs inside the app's own process. It needs Python 3.9, Flask
and Werkzeug.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Callable

import flask
from werkzeug.middleware.proxy_fix import ProxyFix

WsgiApp = Callable[..., Iterable[bytes]]

# Headers in every key. Clients send few different values of them.
KEYED = (
    "CONTENT_LENGTH",
    "CONTENT_TYPE",
    "HTTP_ACCEPT",
    "HTTP_ACCEPT_LANGUAGE",
    "HTTP_CONNECTION",
    "HTTP_HOST",
    "HTTP_ORIGIN",
    "HTTP_X_FORWARDED_HOST",
    "HTTP_X_FORWARDED_PORT",
    "HTTP_X_FORWARDED_PREFIX",
    "HTTP_X_FORWARDED_PROTO",
)
KEY = (
    "wsgi.url_scheme",
    "SCRIPT_NAME",
    "PATH_INFO",
    "QUERY_STRING",
    "SERVER_NAME",
    "SERVER_PORT",
    "SERVER_PROTOCOL",
    *KEYED,
)
# A request with one of these bypasses the cache. So every other request has none of them.
ABSENT = (
    "HTTP_AUTHORIZATION",
    "HTTP_IF_MATCH",
    "HTTP_IF_RANGE",
    "HTTP_IF_UNMODIFIED_SINCE",
    "HTTP_RANGE",
    "HTTP_TRANSFER_ENCODING",
    "HTTP_UPGRADE",
)
# The same for all requests of a process. wsgi.input is empty: a request with a body bypasses the cache.
CONSTANT = (
    "SERVER_SOFTWARE",
    "wsgi.errors",
    "wsgi.file_wrapper",
    "wsgi.input",
    "wsgi.input_terminated",
    "wsgi.multiprocess",
    "wsgi.multithread",
    "wsgi.run_once",
    "wsgi.version",
)
# A request with one of these is never stored, and only an answer whose app did not read them serves it.
CONDITIONAL = ("HTTP_IF_MODIFIED_SINCE", "HTTP_IF_NONE_MATCH")
# The app may read these without a record. HEAD gets the headers of GET (RFC 9110, 9.3.2).
FREE = frozenset({*KEY, *ABSENT, *CONSTANT, "REQUEST_METHOD"})

DIGITS = 32


def digest_of(environ: Mapping[str, Any], vary: Iterable[str] = ()) -> str:
    """Return a digest that is equal for two requests only if all these values are.

    An absent value differs from every present one. The encoding is injective: Python's own of a list
    of strings, with the names by position and those of Vary next to their values. JSON takes twice as
    long, on each hit.
    """
    parts: list[Any] = [*map(environ.get, KEY)]
    more = [(name, environ.get(name)) for name in vary]
    if more:
        parts.append(more)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:DIGITS]


class Seen(dict[str, Any]):
    """An environ that records which names outside C(FREE) the app reads."""

    def __init__(self, environ: Mapping[str, Any]) -> None:
        super().__init__(environ)
        self.given = set(environ)
        self.looked: set[str] = set()
        self.is_address_withheld = False

    def note(self, name: Any) -> None:
        if name in FREE:
            return
        # Absent names with a dot are those of libraries and never a client's.
        if name in self.given or (isinstance(name, str) and "." not in name):
            self.looked.add(str(name))

    def _note_all(self) -> None:
        self.looked.add("everything")

    def unseen(self) -> dict[str, Any]:
        """Return a plain copy whose reads are not recorded."""
        return dict(dict.items(self))

    def take_over(self, values: Mapping[str, Any]) -> None:
        """Accept values that were computed without a record. Reading one of them is recorded."""
        for name, value in values.items():
            if dict.get(self, name, self) is not value:
                self.given.add(name)
                super().__setitem__(name, value)

    def __getitem__(self, name: str) -> Any:
        self.note(name)
        return super().__getitem__(name)

    def __delitem__(self, name: str) -> None:
        self.note(name)
        super().__delitem__(name)

    def __contains__(self, name: object) -> bool:
        self.note(name)
        return super().__contains__(name)

    def get(self, name: str, default: Any = None) -> Any:
        if self.is_address_withheld and name == "REMOTE_ADDR":
            self.is_address_withheld = False
            return None
        self.note(name)
        return super().get(name, default)

    def pop(self, name: str, *default: Any) -> Any:
        self.note(name)
        return super().pop(name, *default)

    def setdefault(self, name: str, default: Any = None) -> Any:
        self.note(name)
        return super().setdefault(name, default)

    def __bool__(self) -> bool:
        return True

    def __len__(self) -> int:
        self._note_all()
        return super().__len__()

    def __eq__(self, other: object) -> bool:
        self._note_all()
        return super().__eq__(other)

    def __ne__(self, other: object) -> bool:
        self._note_all()
        return super().__ne__(other)

    __hash__ = None  # type: ignore[assignment]

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
    """Let Flask and Werkzeug handle the client's address without a record, until the app reads it.

    Each request object keeps the address, and each ProxyFix of an app computes it. Nothing is
    paused meanwhile: code of the app that runs inside either of them is recorded as anywhere else.
    """
    made, proxy_fix, real_value = (
        flask.Request.__init__,
        ProxyFix.__call__,
        ProxyFix._get_real_value,
    )

    def make(self: Any, environ: Any, *args: Any, **options: Any) -> None:
        if not isinstance(environ, Seen) or not has_our_address(type(self)):
            made(self, environ, *args, **options)
            return
        # Werkzeug reads it before any code of the app can run, and gets nothing.
        environ.is_address_withheld = True
        try:
            made(self, environ, *args, **options)
        finally:
            environ.is_address_withheld = False
            vars(self).pop("remote_addr", None)

    def remote_addr(self: Any) -> Any:
        own = vars(self)
        return own["remote_addr"] if "remote_addr" in own else self.environ.get("REMOTE_ADDR")

    def keep_remote_addr(self: Any, address: Any) -> None:
        vars(self)["remote_addr"] = address

    watched = property(remote_addr, keep_remote_addr)

    def has_our_address(kind: Any) -> bool:
        """Whether no code of the app is called with the address, and misses it."""
        return kind.remote_addr is watched and kind.__setattr__ is object.__setattr__

    def fix(self: Any, environ: Any, start_response: Any) -> Iterable[bytes]:
        own = "_get_real_value" in vars(self) or type(self)._get_real_value is not real_value
        if own or not isinstance(environ, Seen):
            return proxy_fix(self, environ, start_response)
        plain = environ.unseen()
        stand_in = ProxyFix.__new__(ProxyFix)
        vars(stand_in).update(vars(self), app=lambda *_request: ())
        proxy_fix(stand_in, plain, start_response)
        environ.take_over(plain)
        inner: WsgiApp = self.app
        return inner(environ, start_response)

    flask.Request.__init__ = make  # type: ignore[method-assign]
    flask.Request.remote_addr = watched  # type: ignore[assignment]
    ProxyFix.__call__ = fix  # type: ignore[method-assign]
