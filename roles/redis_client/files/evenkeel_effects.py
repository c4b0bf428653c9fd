# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a request did more than answer: wrote, sent, started something, or may have.

Python's audit hooks (PEP 578) report files, sockets, processes and threads. Events of SQLAlchemy
report statements. Neither reports a use of what was opened before the request, or what a library
in C does. So an answer is stored only if nothing of that kind is there: see C(doubt).

Harmless is what is named here. All else counts as an effect.

This file is part of each release and runs inside the app's own process. It needs Python 3.9 and
Linux; SQLAlchemy 1.4 or 2 and drivers of databases only if the app has them.
"""

from __future__ import annotations

import _thread
import contextlib
import fcntl
import logging
import os
import random
import signal
import socket
import stat
import struct
import sys
import sysconfig
import threading
import time
import weakref
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Callable
from urllib.parse import unquote

import evenkeel_sql

# The kernel's clock for files advances at each tick: 100 times a second or more, less on a busy virtual machine.
TICK_NANOSECONDS = 100_000_000
# tcpi_last_data_sent in the kernel's struct tcp_info: milliseconds, as of the same ticks.
LAST_SENT_OFFSET = 44
TICK_MILLISECONDS = 100


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Events that change nothing beyond the process.
HARMLESS = _words(
    """array.__new__ builtins.id code.__new__ compile cpython.PyConfig_Set exec
    fcntl.fcntl fcntl.flock fcntl.lockf function.__new__ gc.get_objects gc.get_referents
    gc.get_referrers glob.glob glob.glob/2 http.client.connect import marshal.dumps marshal.load
    marshal.loads object.__delattr__ object.__getattr__ object.__setattr__ os.chdir os.fchdir os.fwalk
    os.getxattr os.listdir os.listdrives os.listmounts os.listvolumes os.listxattr os.lockf os.putenv
    os.scandir os.unsetenv os.walk pathlib.Path.glob pathlib.Path.rglob pathlib.Path.walk
    pickle.find_class resource.setrlimit setopencodehook signal.pthread_kill socket.__new__
    socket.getaddrinfo socket.gethostbyaddr socket.gethostbyname socket.gethostname socket.getnameinfo
    socket.getservbyname socket.getservbyport sqlite3.connect/handle sqlite3.enable_load_extension
    sys._current_exceptions sys._current_frames sys._getframe sys._getframemodulename
    sys.addaudithook sys.excepthook sys.monitoring.register_callback sys.set_asyncgen_hook_finalizer
    sys.set_asyncgen_hook_firstiter sys.set_asyncgen_hooks_finalizer
    sys.set_asyncgen_hooks_firstiter sys.setprofile sys.settrace sys.unraisablehook time.sleep
    urllib.Request"""
)
# Events that write for certain.
WRITES = {
    "os.chflags": "changed the flags of a file",
    "os.chmod": "changed the mode of a file",
    "os.chown": "changed the owner of a file",
    "os.link": "made a link",
    "os.removexattr": "changed the attributes of a file",
    "os.rename": "renamed a file",
    "os.setxattr": "changed the attributes of a file",
    "os.symlink": "made a link",
    "os.truncate": "wrote a file",
    "os.utime": "changed the time of a file",
    "shutil.chown": "changed the owner of a file",
    "shutil.copyfile": "wrote a file",
    "shutil.copytree": "wrote files",
    "shutil.make_archive": "wrote a file",
    "shutil.move": "renamed a file",
    "shutil.rmtree": "removed files",
    "shutil.unpack_archive": "wrote files",
    "tempfile.mkdtemp": "made a folder",
    "tempfile.mkstemp": "wrote a file",
    "evenkeel.mknod": "made a file",
}
# Events that may have changed what other pages show.
RUNS = {
    "_posixsubprocess.fork_exec": "ran a program",
    "os.exec": "ran a program",
    "os.fork": "started a process",
    "os.forkpty": "started a process",
    "os.kill": "sent a signal",
    "os.killpg": "sent a signal",
    "os.posix_spawn": "ran a program",
    "os.spawn": "ran a program",
    "os.system": "ran a program",
    "pty.spawn": "ran a program",
    "subprocess.Popen": "ran a program",
    "_thread.start_joinable_thread": "started a thread",
    "_thread.start_new_thread": "started a thread",
    "evenkeel.kill": "sent a signal",
    "evenkeel.connect": "used a database beside SQLAlchemy",
}
# Events that reach another process or host.
SENDS = {
    "http.client.send": "sent an HTTP request",
    "socket.bind": "opened a port",
    "socket.connect": "opened a connection",
    "socket.sendmsg": "sent a message",
    "socket.sendto": "sent a message",
    "evenkeel.send": "sent a message",
}
# Libraries in C that leave files and connections to Python, or whose use is reported. The actions of
# another library are not known.
QUIET_LIBRARIES = _words(
    """Crypto Cryptodome Levenshtein MySQLdb PIL _argon2_cffi_bindings _brotli _cffi_backend
    _ruamel_yaml _yaml aiohttp argon2 babel backports bcrypt brotli brotlicffi cchardet
    charset_normalizer cmarkgfm coverage cryptography cytoolz editdistance fastavro frozenlist
    google greenlet hiredis httptools immutables isal jellyfish kiwisolver lazy_object_proxy
    levenshtein lz4 markupsafe matplotlib mmh3 msgpack msgspec multidict murmurhash nacl numexpr
    numpy orjson pandas peewee propcache psutil psycopg psycopg2 psycopg_binary psycopg_c pvectorc
    pybase64 pycares pydantic_core pyproj pyroaring pyrsistent rapidfuzz rapidjson regex rpds ruamel
    scipy setproctitle shapely simplejson sklearn snappy sqlalchemy srsly statsmodels tiktoken
    tinycss tokenizers tornado uharfbuzz ujson unicodedata2 uuid_utils wrapt xxhash yaml yarl zope
    zopfli zstandard"""
)
# The notes about a connection in its pool.
RAW, SOCKET = "evenkeel.raw", "evenkeel.socket"
# Character devices that remember nothing: /dev/null, zero, full, random, urandom, and the own terminal.
QUIET_DEVICES = frozenset({(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0)})
# Events after which nothing reports what is done with their result.
LASTING = frozenset({"ctypes.dlsym", "mmap.__new__"})

log = logging.getLogger("evenkeel.cache")
_here = threading.local()
_mapped = False
_calls_c = False
_serving: weakref.WeakSet[threading.Thread] = weakref.WeakSet()
# By descriptor, the socket of a connection in a pool of SQLAlchemy's, and what the pool notes of it.
_pooled: dict[int, tuple[int, Mapping[str, Any]]] = {}


class Record:
    """The actions of one request while the record is entered, possibly several times, from one thread.

    @ivar wrote: the first certain write
    @ivar acted: the first action that may have been an effect
    @ivar changes: whether it may have made other pages outdated
    """

    def __init__(self) -> None:
        self.wrote = ""
        self.acted = ""
        self.changes = False
        self.drew = False
        self.is_connecting = False
        self.raw_connections = 0
        self.files: list[tuple[str, Any]] = []
        self.began = time.time_ns()
        self.draws: Any = None

    def __enter__(self) -> Record:
        _teach_late()
        if not getattr(_here, "is_serving", False):
            _serving.add(threading.current_thread())
            _here.is_serving = True
        self.outer = getattr(_here, "record", None)
        _here.record = self
        return self

    def __exit__(self, *_error: Any) -> None:
        _here.record = self.outer
        self.is_connecting = False
        if self.raw_connections > 0:
            self.run("used a database beside SQLAlchemy")
            self.raw_connections = 0
        for path, before in self.files:
            if _state_of(path) != before:
                self.write("wrote to a database file")

    def watch_draws(self) -> None:
        """Notice from now on whether Python's random numbers are used."""
        self.draws = random.getstate()

    def has_drawn(self) -> bool:
        return self.drew or (self.draws is not None and self.draws != random.getstate())

    def write(self, what: str) -> None:
        self.wrote = self.wrote or f"the request {what}"
        self.changes = True

    def run(self, what: str) -> None:
        self.acted = self.acted or f"the request {what}"
        self.changes = True

    def send(self, what: str) -> None:
        self.acted = self.acted or f"the request {what}"

    def hear(self, event: str, args: tuple[Any, ...]) -> None:
        """Judge an event of Python's audit hooks."""
        if event == "open":
            self._open(*args[:3])
        elif event in WRITES:
            self.write(WRITES[event])
        elif event in ("os.remove", "os.rmdir"):
            if args[1] != -1 or os.path.lexists(args[0]):
                self.write("removed a file")
        elif event == "os.mkdir":
            if args[2] != -1 or not os.path.isdir(args[0]):
                self.write("made a folder")
        elif event == "sqlite3.connect":
            self._open_database(args[0])
        elif event == "mmap.__new__":
            if args[0] != -1 and _may_write(args):
                self.write("wrote to a mapped file")
        elif event in SENDS or event == "socket.listen":
            if not self.is_connecting:
                self.send(SENDS.get(event, "opened a port"))
        elif event in RUNS:
            if event != "evenkeel.connect" or not self.is_connecting:
                self.run(RUNS[event])
        else:
            self.send(f"did {event}")

    def _open(self, path: Any, mode: Any, flags: int) -> None:
        writes = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
        if not writes and not (isinstance(mode, str) and set(mode) & set("wax+")):
            return
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            # A file without a name.
            return
        where = os.fsdecode(path) if isinstance(path, (str, bytes, os.PathLike)) else str(path)
        if where != os.devnull and where not in _own_files() and "__pycache__" not in where:
            self.write("wrote a file")

    def _open_database(self, database: Any) -> None:
        path = os.fsdecode(database)
        if path.startswith("file:"):
            name, _question, query = path[5:].partition("?")
            path = ":memory:" if "mode=memory" in query else unquote(name.partition("#")[0])
            # file://host/path
            path = "/" + path[2:].partition("/")[2] if path.startswith("//") else path
        if path not in ("", ":memory:"):
            self.files.append((path, _state_of(path)))

    def state(self, text: str) -> None:
        """Judge a statement."""
        found = evenkeel_sql.classify(text)
        if found.kind == evenkeel_sql.WRITES:
            self.write(f"wrote to the database ({found.word[:20]})")
        elif found.kind == evenkeel_sql.CALLS:
            name = "".join(letter for letter in found.word if letter.isalnum() or letter in "_.")
            self.run(f"called {name[:40]}() in the database")
        elif found.kind == evenkeel_sql.DRAWS:
            self.drew = True


def _state_of(path: str) -> list[tuple[int, int]]:
    """The last change of a database's files, without those that are empty: readers make such."""
    found = []
    for end in ("", "-wal", "-journal"):
        with contextlib.suppress(OSError, ValueError):
            status = os.stat(path + end)
            if status.st_size:
                found.append((status.st_mtime_ns, status.st_size))
    return found


def _may_write(mapping: tuple[Any, ...]) -> bool:
    """Whether others may see what is written to a mapping: not by mmap.ACCESS_READ and ACCESS_COPY."""
    return mapping[2] not in (1, 3)


def _hear(
    event: str, args: tuple[Any, ...], here: Any = _here, lasting: Collection[str] = LASTING
) -> None:
    """Python's audit hook. Nothing may leave it, also while Python ends and clears this module."""
    if event in lasting:
        _keep(event, args)
    record = getattr(here, "record", None)
    if record is not None and event not in HARMLESS:
        try:
            record.hear(event, args)
        except Exception:
            record.send(f"did {event}")


def _keep(event: str, args: tuple[Any, ...]) -> None:
    global _calls_c, _mapped
    if event == "ctypes.dlsym":
        _calls_c = True
    elif _may_write(args):
        _mapped = True


_own_names: tuple[Any, frozenset[str]] = (None, frozenset())


def _own_files() -> frozenset[str]:
    """The logs that this collection writes for the app."""
    global _own_names
    module = sys.modules.get("evenkeel_logging")
    installed = getattr(module, "_installed", None)
    if installed is not _own_names[0]:
        _own_names = (installed, frozenset({installed.app.path, installed.access.path}))
    return _own_names[1]


# State before the app


_before_files: dict[int, tuple[int, int]] = {}
_before_threads: weakref.WeakSet[threading.Thread] = weakref.WeakSet()
_before_bare_threads: set[int] = set()
_before_libraries: set[str] = set()


def _descriptors() -> Iterator[tuple[int, os.stat_result]]:
    for name in os.listdir("/proc/self/fd"):
        # The one that the listing itself was read with is gone.
        with contextlib.suppress(OSError):
            yield int(name), os.fstat(int(name))


def begin() -> None:
    """Remember what there is now, which is not the app's. Called before the app is imported."""
    global _calls_c
    _calls_c = False
    _before_files.clear()
    _before_files.update({fd: (found.st_dev, found.st_ino) for fd, found in _descriptors()})
    known = {thread.ident for thread in threading.enumerate()}
    for thread in threading.enumerate():
        _before_threads.add(thread)
    _before_bare_threads.clear()
    _before_bare_threads.update(ident for ident in sys._current_frames() if ident not in known)
    _before_libraries.update(_libraries())


# Places of hidden effects


def doubt(record: Record, own: Collection[int]) -> tuple[str, bool]:
    """Why an effect may have gone unnoticed, and whether that is so of each request.

    @param own: descriptors of this collection's own connections
    """
    for look in (_unwatched, _foreign_thread, _mapped_file, _buffered_log):
        why = look()
        if why:
            return why, True
    return _open_files(record, own)


_known_modules = 0
_unwatched_library = ""


def _unwatched() -> str:
    """A way to do things that nothing reports."""
    global _known_modules, _unwatched_library
    if _calls_c:
        return "what the app calls by ctypes is not reported"
    if len(sys.modules) != _known_modules:
        _known_modules = len(sys.modules)
        if "gevent.monkey" in sys.modules or "eventlet.patcher" in sys.modules:
            _unwatched_library = "what green threads do is not reported"
        else:
            unknown = sorted(_libraries() - QUIET_LIBRARIES - _before_libraries | _unreported)
            _unwatched_library = f"what {unknown[0]} does is not reported" if unknown else ""
    return _unwatched_library


# Files that these libraries of Python open are not reported.
_LOUD_STANDARD = ("_dbm", "_gdbm")
_STANDARD = tuple({sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")})


def _libraries() -> set[str]:
    """Return the top packages of all libraries in C, except Python's own."""
    found = set()
    for name, module in [*sys.modules.items()]:
        origin = getattr(getattr(module, "__spec__", None), "origin", None)
        if isinstance(origin, str) and origin.endswith(".so"):
            inside = origin.startswith(_STANDARD) and "-packages" not in origin
            # mypyc names what its modules share by a digest.
            if name in _LOUD_STANDARD or not (inside or name.endswith("__mypyc")):
                found.add(name.partition(".")[0])
    return found


def _foreign_thread() -> str:
    """A thread of the app's, to which a request may have handed something."""
    threads = {thread.ident: thread for thread in threading.enumerate()}
    # Of gunicorn's threads some have not served yet.
    pools = {_pool_of(thread) for thread in [*_serving]}
    for ident in sys._current_frames():
        thread = threads.get(ident)
        if thread is None:
            if ident not in _before_bare_threads:
                return "the app has a thread of its own"
        elif (
            thread is not threading.main_thread()
            and thread not in _serving
            and thread not in _before_threads
            and _pool_of(thread) not in pools
        ):
            return f"the app has a thread of its own ({_plain(thread.name)})"
    return ""


def _pool_of(thread: threading.Thread) -> Any:
    """The ThreadPoolExecutor that a thread works for; for any other thread, the thread."""
    module = sys.modules.get("concurrent.futures.thread")
    target = getattr(thread, "_target", None)
    if module is not None and target is not None and target is getattr(module, "_worker", None):
        with contextlib.suppress(Exception):
            return thread._args[0]() or thread  # type: ignore[attr-defined]
    return thread


def _plain(text: str) -> str:
    """For a quoted string in a header."""
    return "".join(c for c in text if c.isascii() and c.isprintable() and c not in '"\\')[:60]


def _mapped_file() -> str:
    # An index of SQLite's has its data in a file.
    if _mapped and any(not name.endswith("-shm") for name in _shared_memory()):
        return "memory is shared with a file or a process"
    return ""


def _shared_memory() -> Iterator[str]:
    """Yield the names of what is mapped to be written and shared."""
    with open("/proc/self/maps", encoding="utf-8", errors="replace") as stream:
        for line in stream:
            fields = line.split(maxsplit=5)
            if fields[1].startswith("rw") and fields[1].endswith("s") and fields[4] != "0":
                yield fields[-1].strip()


def _buffered_log() -> str:
    """A log that is written later, such as that of logging's MemoryHandler."""
    for reference in [*logging._handlerList]:
        if getattr(reference(), "buffer", None):
            return "a log is kept in memory"
    return ""


def _open_files(record: Record, own: Collection[int]) -> tuple[str, bool]:
    sockets, pipes = [], {}
    for fd, found in _descriptors():
        kind = stat.S_IFMT(found.st_mode)
        is_known = fd <= 2 or fd in own or _before_files.get(fd) == (found.st_dev, found.st_ino)
        if kind == stat.S_IFSOCK:
            # A port that it listens on names the connections of clients.
            sockets.append((fd, is_known or _is_pooled(fd, found.st_ino)))
        elif is_known:
            continue
        elif kind == stat.S_IFIFO:
            if _access(fd) != os.O_RDONLY and _has_name(fd):
                return "a pipe is open for writing", True
            pipes.setdefault(found.st_ino, set()).add(_access(fd))
        elif kind == stat.S_IFREG and _access(fd) != os.O_RDONLY and found.st_nlink:
            why = _regular_file(record, fd, found)
            if why[0]:
                return why
        elif kind in (stat.S_IFCHR, stat.S_IFBLK) and _access(fd) != os.O_RDONLY:
            device = os.major(found.st_rdev), os.minor(found.st_rdev)
            if device not in QUIET_DEVICES and not 136 <= device[0] <= 143:
                return "a device is open for writing", True
    for ends in pipes.values():
        if ends == {os.O_WRONLY}:
            return "a pipe is open for writing", True
    return _sockets(record, sockets)


def _has_name(fd: int) -> bool:
    """Whether a pipe has a name, by which other programs open it."""
    try:
        return not os.readlink(f"/proc/self/fd/{fd}").startswith("pipe:")
    except OSError:
        return False


def _access(fd: int) -> int:
    try:
        return fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE
    except OSError:
        return os.O_RDWR


def _regular_file(record: Record, fd: int, found: os.stat_result) -> tuple[str, bool]:
    """A file that is open for writing: written to, or not known to be written at once."""
    try:
        path = os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        return "", False
    if path in _own_files():
        return "", False
    name = _plain(os.path.basename(path))
    if path.endswith("-shm"):
        return "", False
    if found.st_mtime_ns >= record.began:
        record.write(f"wrote to {name}")
        return record.wrote, False
    if not _is_database(fd, path) and fd not in _log_files():
        # The written data may still be in a buffer.
        return f"{name} is open for writing", True
    if found.st_mtime_ns >= record.began - TICK_NANOSECONDS:
        return f"{name} was written to just before", False
    return "", False


def _is_database(fd: int, path: str) -> bool:
    if path.endswith(("-wal", "-journal")):
        return True
    try:
        return os.pread(fd, 16, 0) == b"SQLite format 3\0"
    except OSError:
        return False


def _log_files() -> set[int]:
    """Descriptors of the logs that Python's logging writes, each line at once."""
    found = set()
    for reference in [*logging._handlerList]:
        handler = reference()
        stream = getattr(handler, "stream", None)
        if isinstance(handler, logging.FileHandler) and stream is not None:
            with contextlib.suppress(Exception):
                found.add(stream.fileno())
    return found


def _sockets(record: Record, descriptors: list[tuple[int, bool]]) -> tuple[str, bool]:
    """A connection that a request may have used, of which SQLAlchemy does not know."""
    names, others = set(), []
    for fd, is_known in descriptors:
        try:
            flags = fcntl.fcntl(fd, fcntl.F_GETFL)
            found = socket.socket(fileno=fd)
        except OSError:
            return "a connection is open", True
        try:
            # With a default timeout, Python makes each wrapped socket non-blocking.
            fcntl.fcntl(fd, fcntl.F_SETFL, flags)
            if found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                names.add((found.family, _port_of(found)))
            elif not is_known:
                others.append((found.family, _port_of(found), _is_idle(record, found)))
        except OSError:
            if not is_known:
                return "a connection is open", True
        finally:
            found.detach()
    for family, port, is_idle in others:
        # Its own clients connect to the port on which it listens.
        if (family, port) not in names and not is_idle:
            return "a connection is open that may have been used", True
    return "", False


def _port_of(found: socket.socket) -> Any:
    name = found.getsockname()
    return name[1] if found.family in (socket.AF_INET, socket.AF_INET6) else name or found.fileno()


def _is_idle(record: Record, found: socket.socket) -> bool:
    """Return whether nothing was sent by it since the request began. Only TCP reports this."""
    is_internet = found.family in (socket.AF_INET, socket.AF_INET6)
    if not is_internet or found.type != socket.SOCK_STREAM:
        return False
    info = found.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    (idle,) = struct.unpack_from("=I", info, LAST_SENT_OFFSET)
    elapsed = (time.time_ns() - record.began) / 1e6
    return bool(idle > elapsed + TICK_MILLISECONDS)


# Reports of libraries


_taught: set[str] = set()
_unreported: set[str] = set()
_seen_modules = 0


def _teach_late() -> None:
    """Make libraries report that were imported since the last call."""
    global _seen_modules
    if len(sys.modules) == _seen_modules:
        return
    _seen_modules = len(sys.modules)
    for name, teach in _TEACH.items():
        if name in sys.modules and name not in _taught:
            _taught.add(name)
            try:
                teach()
            except Exception:
                log.warning("What %s does is not reported", name, exc_info=True)
                _unreported.add(name.partition(".")[0])


def _current() -> Record | None:
    return getattr(_here, "record", None)


def _teach_sqlalchemy() -> None:
    from sqlalchemy import event
    from sqlalchemy.engine import Connection, Engine
    from sqlalchemy.pool import Pool

    def execute(**fields: Any) -> None:
        record = _current()
        if record is not None:
            record.state(fields["statement"])

    def connect(**_fields: Any) -> None:
        record = _current()
        if record is not None:
            record.is_connecting = True

    def connected(**fields: Any) -> None:
        record = _current()
        if record is not None:
            record.is_connecting = False
        _remember(fields["dbapi_connection"], fields["connection_record"])

    def checkout(**fields: Any) -> None:
        _remember(fields["dbapi_connection"], fields["connection_record"])
        fields["connection_record"].info[RAW] = True
        record = _current()
        if record is not None:
            record.raw_connections += 1

    def engine_connect(**fields: Any) -> None:
        fields["conn"].info[RAW] = False
        record = _current()
        if record is not None:
            record.raw_connections -= 1

    def checkin(**fields: Any) -> None:
        fields["connection_record"].info[RAW] = False

    event.listen(Engine, "before_cursor_execute", execute, named=True)
    event.listen(Engine, "do_connect", connect, named=True)
    event.listen(Engine, "engine_connect", engine_connect, named=True)
    event.listen(Pool, "connect", connected, named=True)
    event.listen(Pool, "checkout", checkout, named=True)
    event.listen(Pool, "checkin", checkin, named=True)
    given: Any = Connection.connection

    def connection(self: Any) -> Any:
        found = given.__get__(self, type(self))
        asker = sys._getframe(1).f_globals.get("__name__", "")
        if not asker.startswith("sqlalchemy."):
            found.info[RAW] = True
            record = _current()
            if record is not None:
                record.run("used a database beside SQLAlchemy")
        return found

    Connection.connection = property(connection)  # type: ignore[assignment, method-assign]


def _remember(connection: Any, record: Any) -> None:
    """The descriptor of a pooled connection: its statements are reported."""
    if record is None or SOCKET in record.info:
        return
    record.info[SOCKET] = True
    fd = _descriptor_of(connection)
    if fd is not None:
        with contextlib.suppress(OSError):
            _pooled[fd] = os.fstat(fd).st_ino, record.info


def _is_pooled(fd: int, inode: int) -> bool:
    """Whether SQLAlchemy reports all that is sent by it: not while the app has what is below SQLAlchemy."""
    known, notes = _pooled.get(fd, (-1, {}))
    return known == inode and not notes.get(RAW)


def _descriptor_of(connection: Any) -> int | None:
    for path in (("fileno",), ("_sock", "fileno"), ("_usock", "fileno"), ("pgconn", "socket")):
        found = connection
        for name in path:
            found = getattr(found, name, None)
        try:
            found = found() if callable(found) else found
        except Exception:
            continue
        if isinstance(found, int) and found >= 0:
            return found
    return None


def _reporting(owner: Any, name: str, event: str = "evenkeel.connect") -> None:
    """Make a function report each call: one of a C driver that connects, or one without an audit event."""
    made = vars(owner)[name]
    inner: Callable[..., Any] = made.__func__ if isinstance(made, classmethod) else made

    def call(*args: Any, **options: Any) -> Any:
        if _current() is not None:
            sys.audit(event)
        return inner(*args, **options)

    setattr(owner, name, classmethod(call) if isinstance(made, classmethod) else call)


def _teach_psycopg() -> None:
    from psycopg import _connection_base

    _reporting(_connection_base.BaseConnection, "_connect_gen")


def _teach_psycopg2() -> None:
    import psycopg2

    _reporting(psycopg2, "_connect")


def _teach_mysqldb() -> None:
    from MySQLdb import connections

    _reporting(connections.Connection, "__init__")


def _teach_multiprocessing() -> None:
    from multiprocessing import connection

    # The other end of a pipe is open here too, and in another process.
    _reporting(connection.Connection, "_send", "evenkeel.send")


_TEACH = {
    "multiprocessing.connection": _teach_multiprocessing,
    "sqlalchemy.engine": _teach_sqlalchemy,
    "psycopg": _teach_psycopg,
    "psycopg2": _teach_psycopg2,
    "MySQLdb.connections": _teach_mysqldb,
}


def _report_threads() -> None:
    """Newer versions of Python report a thread that is started themselves."""
    start, start_bare = threading.Thread.start, _thread.start_new_thread

    def start_thread(self: Any) -> None:
        if _current() is not None:
            sys.audit("_thread.start_new_thread")
        start(self)

    def start_bare_thread(*args: Any) -> int:
        if _current() is not None:
            sys.audit("_thread.start_new_thread")
        return start_bare(*args)

    threading.Thread.start = start_thread  # type: ignore[method-assign]
    _thread.start_new_thread = start_bare_thread  # type: ignore[assignment]


_hooked = False


def install() -> None:
    """Begin to listen, once in a process; what there is by now is not the app's."""
    global _hooked
    if not _hooked:
        _hooked = True
        sys.addaudithook(_hear)
        for owner, name, event in (
            (os, "mkfifo", "evenkeel.mknod"),
            (os, "mknod", "evenkeel.mknod"),
            (signal, "pidfd_send_signal", "evenkeel.kill"),
        ):
            _reporting(owner, name, event)
        if sys.version_info < (3, 12):
            _report_threads()
    begin()
