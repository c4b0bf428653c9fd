# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Load the app as gunicorn will, and report as JSON what the release should know of it.

C(forkable): whether its workers may be forked from a process that has loaded it. A fork loses threads.
It shares connections and files, except idle connections in the pools of SQLAlchemy. It copies what
each worker must have of its own: generators, seeded counters, ids of the process (C(copied)).
C(measures) and C(static): see evenkeel_optimize.py.

This file is part of each release and runs once, when it is staged. It needs Python 3.9, its standard
library, gunicorn and evenkeel_fork.py.
"""

from __future__ import annotations

import _random
import base64
import fcntl
import gc
import itertools
import json
import os
import random
import re
import sys
import tempfile
import threading
import uuid
from collections.abc import Iterable, Iterator
from typing import Any, Callable

import evenkeel_fork
from gunicorn.app.wsgiapp import WSGIApplication

# The last line of output begins with it; the output of the app comes before it.
MARK = "evenkeel: "
STDLIB = os.path.dirname(os.__file__)
PACKAGES = re.compile(r"/(site|dist)-packages/")
# These read the id of the process and compare it later, so they notice a fork. Any other module that
# reads it while the app loads may store it. Names, and the beginnings of names.
FORK_AWARE = (
    *("logging", "tempfile", "concurrent.futures.", "multiprocessing.util", "multiprocessing.heap"),
    *("multiprocessing.pool", "multiprocessing.queues", "multiprocessing.resource_"),
    *("gunicorn", "evenkeel_", "redis", "valkey", "pymongo", "bson", "psycopg", "sqlalchemy"),
)
# Their generators are outside of Python's heap, so it is not known whether they were seeded.
FOREIGN = {
    "numpy.random.mtrand": "numpy.random",
    **{name: name for name in ("torch", "tensorflow", "cupy", "rpy2", "uuid_utils", "fastuuid")},
}
# Counters begin near zero in each worker. One that is further was seeded by time or at random.
SEEDED = 65536


def open_files() -> dict[str, str]:
    """Return the target of each descriptor, except append-only ones such as logs, which forks may share."""
    found = {}
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            flags = fcntl.fcntl(int(descriptor), fcntl.F_GETFL)
            where = os.readlink(f"/proc/self/fd/{descriptor}")
        except OSError:
            # The one that the listing itself was read with.
            continue
        if flags & (os.O_ACCMODE | os.O_APPEND) != os.O_WRONLY | os.O_APPEND:
            found[descriptor] = where
    return found


class Watched:
    """A function whose results are recorded. Like the built-in functions it replaces, it is not a descriptor."""

    def __init__(self, function: Callable[..., Any], note: Callable[[Any], None]) -> None:
        self._function = function
        self._note = note

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        result = self._function(*args, **kwargs)
        self._note(result)
        return result

    def __getattr__(self, name: str) -> Any:
        return getattr(self._function, name)


class Loading:
    """The state that the app takes from this process while it loads, and may store."""

    def __init__(self) -> None:
        self._notes: set[str] = set()
        self._draws: list[tuple[str, Any]] = []
        self._references = sys.getrefcount(_random.Random)

    def watch(self) -> None:
        os.getpid = Watched(os.getpid, self._pid)  # type: ignore[assignment]
        # The one of libuuid has a clock sequence in its own memory.
        generate = getattr(uuid, "_generate_time_safe", None)
        if generate is not None:
            uuid._generate_time_safe = Watched(generate, self._uuid1)  # type: ignore[attr-defined]
        os.urandom = Watched(os.urandom, self._drawn)  # type: ignore[assignment]
        random._urandom = Watched(random._urandom, self._drawn)  # type: ignore[attr-defined]
        for name in random.__all__:
            function = getattr(random, name)
            if getattr(function, "__self__", None) is random._inst:  # type: ignore[attr-defined]
                setattr(random, name, Watched(function, self._drawn))

    def notes(self, config: Iterable[Any] = ()) -> set[str]:
        """Describe the state that each worker must create itself.

        @param config: the values of the app's configuration. A key there must be the same in all
            workers, so a random key should be copied.
        """
        keys = {value for value in config if isinstance(value, (str, bytes))}
        drawn = {module for module, value in self._draws if not keys & set(_written(value))}
        return self._notes | {f"{module} draws random values while it loads" for module in drawn}

    def hides_generators(self) -> bool:
        """Whether there can be generators that the garbage collector does not know: those of C itself."""
        return sys.getrefcount(_random.Random) > self._references

    def _pid(self, _result: int) -> None:
        for module, _file in callers():
            if not module.startswith(FORK_AWARE):
                self._notes.add(f"{module} reads the id of its process")
            return

    def _uuid1(self, _result: object) -> None:
        self._notes.add("uuid.uuid1() was called")

    def _drawn(self, result: object) -> None:
        # Libraries draw random values for many reasons. Only draws of the app's own modules are recorded.
        for module, file in callers():
            if not PACKAGES.search(file) and not module.startswith(FORK_AWARE):
                self._draws.append((module, result))
            return


def _written(value: Any) -> Iterator[str | bytes]:
    """The ways to write random bytes as a key."""
    if isinstance(value, bytes):
        yield from (value, value.hex(), base64.urlsafe_b64encode(value).rstrip(b"=").decode())
        if len(value) == 16:
            own = uuid.UUID(bytes=value, version=4)
            yield from (own.hex, str(own))


def callers() -> Iterator[tuple[str, str]]:
    """The module that called a watched function, through the standard library or not; none for an import in it."""
    frame = sys._getframe(3)
    while frame is not None:
        module, file = str(frame.f_globals.get("__name__", "")), frame.f_code.co_filename
        standard = file.startswith((f"{STDLIB}/", "<frozen")) and not PACKAGES.search(file)
        if not standard or module.startswith(FORK_AWARE):
            yield module, file
            return
        if frame.f_code.co_name == "<module>":
            return
        frame = frame.f_back  # type: ignore[assignment]


def copied(objects: list[Any], hidden: bool = True) -> list[str]:
    """Describe the objects that a fork would copy into all workers.

    @param objects: all objects that the garbage collector knows
    @param hidden: whether to check also the objects that only these refer to
    """
    every = [*objects, *(gc.get_referents(*objects) if hidden else ())]
    # There are some 100000 objects and few types, so the types are checked first.
    kinds = {kind for kind in {*map(type, every)} if _is_stateful(kind)}
    stateful = {
        id(each): each
        for each in every
        if type(each) in kinds
        and each is not random._inst  # type: ignore[attr-defined]
        and (not isinstance(each, itertools.count) or _position(each) >= SEEDED)
    }
    # It makes a new generator in each process.
    aware = {
        id(getattr(each, "_rng", None))
        for each in objects
        if isinstance(each, tempfile._RandomNameSequence)  # type: ignore[attr-defined]
    }
    found = [each for known, each in stateful.items() if known not in aware]
    names = dict(_names(found))
    reasons = {f"{names.get(id(each), 'an object')} is {_kind(each)}" for each in found}
    foreign = {
        f"{name} has a generator" for module, name in FOREIGN.items() if module in sys.modules
    }
    return sorted(reasons | foreign)


def _is_stateful(kind: type) -> bool:
    generator = issubclass(kind, _random.Random) and not issubclass(kind, random.SystemRandom)
    return generator or kind is itertools.count


def _position(counter: Any) -> float:
    match = re.match(r"count\((-?[\d.]+)", repr(counter))
    return abs(float(match[1])) if match else 0


def _kind(each: Any) -> str:
    if isinstance(each, itertools.count):
        return f"a counter at {_position(each):.0f}"
    return f"a {type(each).__module__}.{type(each).__qualname__}"


def _names(found: Iterable[Any]) -> Iterator[tuple[int, str]]:
    """Yield the id and the name of each object that is an attribute of a module."""
    wanted = {id(each) for each in found}
    for module, of in list(sys.modules.items()):
        for name, value in list(getattr(of, "__dict__", {}).items()) if wanted else ():
            if id(value) in wanted:
                yield id(value), f"{module}.{name}"


def measure(gunicorn: Any, reasons: list[str]) -> dict[str, str]:
    """Return the state of preloading, as a measure of the production form."""
    settings = sys.modules.get("production_optimized")
    wanted = getattr(settings, "EVENKEEL_PRELOAD", "auto")
    state, detail = "applied", "the app is loaded once for all workers"
    if wanted == "never":
        state, detail = "off", ""
    elif wanted == "always":
        detail += "".join(f"; {reason}" for reason in reasons)
    elif gunicorn.cfg.worker_class_str not in ("sync", "gthread"):
        state, detail = "not applicable", f"workers are of class {gunicorn.cfg.worker_class_str}"
    elif reasons:
        state, detail = "not applicable", f"each worker loads the app: {'; '.join(reasons)}"
    return {"measure": "preload", "state": state, "detail": detail}


def scheduler(threads: list[str]) -> list[dict[str, str]]:
    """Return a note about an app that runs jobs, as a row next to the measures."""
    detail = (
        "the app starts APScheduler when it is loaded: each worker runs it, both slots do during a "
        "rollout, and staging does once; EVENKEEL_SLOT is none while it is staged"
    )
    runs = any(name.startswith("APScheduler") for name in threads)
    return [{"measure": "scheduler", "state": "present", "detail": detail}] if runs else []


def main() -> None:
    config = os.path.join(os.path.dirname(os.path.realpath(__file__)), "gunicorn.conf.py")
    sys.argv = ["gunicorn", "--config", config]
    gunicorn = WSGIApplication()
    before = open_files().items()
    loading = Loading()
    loading.watch()
    gunicorn.load()
    if "sqlalchemy" in sys.modules:
        # As the slot will before it forks, except for connections that would lose state.
        evenkeel_fork.let_go(gc.get_objects(), held=False)
    opened = sorted(where for _descriptor, where in open_files().items() - before)
    threads = [
        thread.name for thread in threading.enumerate() if thread is not threading.main_thread()
    ]
    # The list of objects does not contain those that the app froze.
    gc.unfreeze()
    wsgi = sys.modules.get("evenkeel_wsgi")
    config = (
        getattr(sys.modules["evenkeel_optimize"].flask_app(wsgi.app), "config", {}) if wsgi else {}
    )
    same = sorted(
        loading.notes(config.values()) | set(copied(gc.get_objects(), loading.hides_generators()))
    )
    report: dict[str, Any] = {
        "forkable": not opened and not threads and not same,
        "opened": opened,
        "threads": threads,
        "copied": same,
    }
    reasons = [
        *(f"{where} stays open" for where in opened),
        *(f"thread {name} runs" for name in threads),
        *same,
    ]
    # An app that answers may open what it had not.
    if wsgi:
        report.update(wsgi.optimizer.describe(wsgi.app, wsgi.application))
        report["measures"] += [measure(gunicorn, reasons), *scheduler(threads)]
    print(f"\n{MARK}{json.dumps(report)}", flush=True)
    # Threads that an app started would keep this process alive.
    os._exit(0)


if __name__ == "__main__":
    main()
