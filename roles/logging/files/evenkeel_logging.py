# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The logs of an app under gunicorn: JSON lines in files that lose no line.

This file is part of each release and runs inside the app's own process. It needs Python 3.9, the
standard library and gunicorn. Its errors must not affect a request.
"""

from __future__ import annotations

import contextlib
import datetime
import errno
import json
import logging
import os
import re
import sys
import time
import uuid
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Callable

from gunicorn import glogging  # type: ignore[import-untyped]

SANE_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
# The address of the client, from the proxy in front. The bake counts errors by client, not by request id:
# a visitor chooses its ids, but not its address.
remote_addr: ContextVar[str | None] = ContextVar("remote_addr", default=None)

# The place of an id and an address for log lines after the request has left the middleware.
_ENVIRON_KEY = "evenkeel.request_id"
_ADDRESS_KEY = "evenkeel.remote_addr"
_EXCEPTION_KEY = "evenkeel_request_id"
_EXCEPTION_ADDRESS_KEY = "evenkeel_remote_addr"
# The collection's own limit sets it on a request that it refuses.
LIMITED_KEY = "evenkeel.limited"

# The attributes of every record; all others came by extra= and are the app's own.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


@dataclass(frozen=True)
class LogSettings:
    """The directory of the logs, the fields of each line, and the lowest level in app.log."""

    directory: str
    release: str
    slot: str
    level: str = "INFO"


class JsonFormatter(logging.Formatter):
    """One JSON object a line, `time` first: shippers believe the first time that they find."""

    def __init__(self, settings: LogSettings) -> None:
        super().__init__()
        self.settings = settings

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": _iso(record.created),
            "level": record.levelname,
            "logger": record.name,
            "message": _message(record),
            "request_id": _request_id(record),
            **_origin(self.settings),
        }
        address = _remote_addr(record)
        if address is not None:
            line["remote_addr"] = address
        if record.levelname in ("ERROR", "CRITICAL") and record.args:
            # The common part of errors of one kind; the arguments may be a visitor's input.
            line["template"] = _text(record.msg)
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        for name, value in vars(record).items():
            if name not in _STANDARD:
                line.setdefault(name, value)
        return _dump(line)


def _origin(settings: LogSettings) -> dict[str, Any]:
    """Return the fields that identify the writer of a line."""
    return {"release": settings.release, "slot": settings.slot, "worker": os.getpid()}


def _iso(created: float) -> str:
    moment = datetime.datetime.fromtimestamp(created, datetime.timezone.utc)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _request_id(record: logging.LogRecord) -> str | None:
    own = getattr(record, "request_id", None) or request_id.get()
    if own is None and record.exc_info and record.exc_info[1] is not None:
        own = vars(record.exc_info[1]).get(_EXCEPTION_KEY)
    return own


def _remote_addr(record: logging.LogRecord) -> str | None:
    address = remote_addr.get()
    if address is None and record.exc_info and record.exc_info[1] is not None:
        address = vars(record.exc_info[1]).get(_EXCEPTION_ADDRESS_KEY)
    return address


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # Arguments that do not fit must not lose the line.
        return f"{_text(record.msg)} {_text(record.args)}"


def _dump(line: dict[str, Any]) -> str:
    try:
        return _encode(line)
    except (TypeError, ValueError, RecursionError):
        return json.dumps(
            {_text(name): _plain(value) for name, value in line.items()}, default=_text
        )


def _plain(value: Any) -> Any:
    try:
        _encode(value)
    except (TypeError, ValueError, RecursionError):
        return _text(value)
    return value


def _text(value: Any) -> str:
    try:
        return str(value)
    except Exception:
        return f"<a {type(value).__name__} that cannot be shown>"


# Made once: json.dumps() would make one for each line.
_encode = json.JSONEncoder(default=_text, allow_nan=False).encode


class WholeLineHandler(logging.Handler):
    """Append each line by one write to the current file of that name.

    A local Linux file system appends each write to an O_APPEND file as a whole,
    regardless of its length. So lines of several processes do not mix. After a
    rename by logrotate, the next line goes to a new file, and a line that was
    in progress is in the renamed one.
    """

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path
        self._file: int | None = None
        self._lost = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.write(lambda: self.format(record))

    def write(self, make: Callable[[], str]) -> None:
        """Make a line and append it. Report the first error on stderr, and raise nothing."""
        self.acquire()
        try:
            self._append(make().encode() + b"\n")
        except Exception as error:
            self._lost += 1
            if self._lost == 1:
                _tell(f"{self.path}: {error}. Its lines are lost until it can be written again.")
        else:
            if self._lost:
                _tell(f"{self.path}: is written again; {self._lost} lines were lost.")
                self._lost = 0
        finally:
            self.release()

    def _append(self, line: bytes) -> None:
        if self._lost:
            # A full disk may have cut a line; this one starts on its own.
            line = b"\n" + line
        written = os.write(self._current(), line)
        if written < len(line):
            raise OSError(errno.ENOSPC, f"only {written} of {len(line)} bytes could be written")

    def _current(self) -> int:
        if self._file is None or not self._has_the_name(self._file):
            # Opened before the old one is closed: its inode cannot come back under the name.
            opened = os.open(
                self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640
            )
            if self._file is not None:
                os.close(self._file)
            self._file = opened
        return self._file

    def _has_the_name(self, file: int) -> bool:
        try:
            return os.path.samestat(os.stat(self.path), os.fstat(file))
        except FileNotFoundError:
            return False

    def close(self) -> None:
        """Let go of the file; a later line would open it again."""
        self.acquire()
        try:
            if self._file is not None:
                os.close(self._file)
                self._file = None
        finally:
            self.release()
        super().close()


def _tell(message: str) -> None:
    """Under systemd this is the journal."""
    with contextlib.suppress(Exception):  # There is no other place to report to.
        print(f"evenkeel_logging: {message}", file=sys.stderr, flush=True)


@dataclass(frozen=True)
class _Installed:
    settings: LogSettings
    app: WholeLineHandler
    access: WholeLineHandler


_installed: _Installed | None = None


def install(settings: LogSettings) -> None:
    """Send what the app and its libraries log to app.log. Comes before the app is imported."""
    global _installed
    _installed = _Installed(
        settings,
        app=WholeLineHandler(os.path.join(settings.directory, "app.log")),
        access=WholeLineHandler(os.path.join(settings.directory, "access.log")),
    )
    _installed.app.setFormatter(JsonFormatter(settings))
    root = logging.getLogger()
    root.handlers[:] = [_installed.app]
    root.setLevel(settings.level)
    logging.captureWarnings(True)


class JsonLogger(glogging.Logger):  # type: ignore[misc]
    """gunicorn's logger: its messages go to app.log, its requests to access.log."""

    access_log_enabled = True

    def setup(self, cfg: Any) -> None:
        if _installed is None:
            raise RuntimeError(
                "evenkeel_logging.install() comes first, in gunicorn's configuration."
            )
        self.cfg = cfg
        self.loglevel = logging.getLevelName(_installed.settings.level)
        # Apps that copy the handlers of this logger go on to the root's, and log each line once.
        public = logging.getLogger("gunicorn.error")
        public.propagate = True
        public.setLevel(self.loglevel)
        # Not known to logging, so that no dictConfig() of an app can disable them.
        self.error_log = logging.Logger("gunicorn.error", self.loglevel)
        self.error_log.addHandler(_installed.app)
        self.installed = _installed

    def exception(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        """Log it without the query strings of addresses, which can contain secrets."""
        shown = [arg.partition("?")[0] if isinstance(arg, str) else arg for arg in args]
        super().exception(msg, *shown, **kwargs)

    def access(
        self, resp: Any, req: Any, environ: dict[str, Any], request_time: datetime.timedelta
    ) -> None:
        # logging.disable() also stops this line: a rollout checks for it, and refuses an app that logs nothing.
        if logging.root.manager.disable >= logging.INFO:
            return
        try:
            # Without a LogRecord, which takes as long as all else of the line.
            line = _dump(_request_line(self.installed.settings, resp, environ, request_time))
        except Exception:
            self.exception("A request could not be logged")
        else:
            self.installed.access.write(lambda: line)


def _request_line(
    settings: LogSettings, resp: Any, environ: dict[str, Any], request_time: datetime.timedelta
) -> dict[str, Any]:
    line = {
        "time": _iso(time.time()),
        "request_id": environ.get(_ENVIRON_KEY) or request_id.get(),
        **_origin(settings),
        "method": environ.get("REQUEST_METHOD"),
        # No query string and no referer: they can contain secrets.
        "path": _utf8(environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")),
        "status": int(str(resp.status).split()[0]),
        "bytes": getattr(resp, "sent", None),
        "duration_ms": round(request_time.total_seconds() * 1000, 3),
        "remote_addr": environ.get(_ADDRESS_KEY) or _address(environ),
        "user_agent": _utf8(environ.get("HTTP_USER_AGENT", "")) or None,
    }
    if environ.get(LIMITED_KEY):
        line["limited"] = True
    return line


def _address(environ: dict[str, Any]) -> str | None:
    """The client's address as ProxyFix takes it; behind a Unix socket the proxy in front names it."""
    forwarded = environ.get("HTTP_X_FORWARDED_FOR", "").rpartition(",")[2].strip()
    return forwarded or environ.get("REMOTE_ADDR") or environ.get("HTTP_X_REAL_IP")


def _utf8(text: str) -> str:
    """Decode UTF-8 from a WSGI string, which has each byte as one character of Latin-1."""
    return text.encode("latin-1", "replace").decode("utf-8", "replace")


class RequestIdMiddleware:
    """Give each request an id, the proxy's own where it is sane, and each of its log lines with it."""

    def __init__(self, app: Callable[..., Iterable[bytes]]) -> None:
        self.app = app

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        given = environ.get("HTTP_X_REQUEST_ID", "")
        own = given if SANE_REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        environ[_ENVIRON_KEY] = environ["HTTP_X_REQUEST_ID"] = own
        # Before the app can put another one there, by what a visitor claims of itself.
        address = environ[_ADDRESS_KEY] = _address(environ)

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            if all(name.lower() != "x-request-id" for name, _value in headers):
                headers = [*headers, ("X-Request-ID", own)]
            return start_response(status, headers, exc_info)

        with _Serving(own, address):
            body = self.app(environ, start)
            # gunicorn knows a file that it can send without reading it, if it sees it as it is.
            if isinstance(body, (list, tuple, environ.get("wsgi.file_wrapper", ()))):
                return body
            return _Body(body, own, address)


class _Serving:
    """As long as it lasts, lines have the request's id; an exception that leaves takes it along."""

    def __init__(self, own: str, address: str | None) -> None:
        self.own = own
        self.address = address

    def __enter__(self) -> None:
        self.token = request_id.set(self.own)
        self.address_token = remote_addr.set(self.address)

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        request_id.reset(self.token)
        remote_addr.reset(self.address_token)
        if error is not None:
            vars(error)[_EXCEPTION_KEY] = self.own
            vars(error)[_EXCEPTION_ADDRESS_KEY] = self.address


class _Body:
    """A response's body, which may log while it is made and when it is closed."""

    def __init__(self, body: Iterable[bytes], own: str, address: str | None) -> None:
        self.body = body
        self.iterator = iter(body)
        self.own = own
        self.address = address

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        with _Serving(self.own, self.address):
            return next(self.iterator)

    def close(self) -> None:
        close = getattr(self.body, "close", None)
        if close is not None:
            with _Serving(self.own, self.address):
                close()
