# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Give nginx the file of an app, and accept it only if the running nginx has it.

C(nginx -t) binds nothing, and a reload is a signal: both succeed even if nginx then keeps its old
configuration. So the file returns its own digest on the candidate's port. It is accepted when the
running nginx responds with that digest. Otherwise the old file is restored, because a file that
nginx rejects blocks the reloads of every other app.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import re
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Callable

from .._errors import SiteError
from . import config, processes

# nginx itself tries for 2.5 s to bind; a large configuration takes seconds to load.
RELOAD_SECONDS = 30.0
POLL_SECONDS = 0.05
ASK_SECONDS = 2.0
MAX_LOG_BYTES = 65536
MAX_LINES = 3
# Nobody can own such a name (RFC 2606), so it hides no path and no name of the app.
MARKER_HOST = "front.evenkeel.invalid"
# A name that a person would not use for a copy, and not *.conf, which nginx would read.
OLD = ".evenkeel-old"
# The prefix of nginx's messages: "2026/11/28 05:30:30 [emerg] 12400#12400: ", or "nginx: [emerg] ".
EMERGENCY = re.compile(r"^.*?\[(?:emerg|alert|crit)\] (?:\d+#\d+: )?")


def marked(text: str, name: str, port: int) -> tuple[str, str]:
    """Add a server that responds with the digest of C(text).

    @param port: on 127.0.0.1, one of the app's own
    @returns: the whole file, and the digest
    """
    digest = hashlib.sha256(f"{name}\0{port}\0{text}".encode()).hexdigest()[:16]
    marker = (
        "\n# By this answer the role knows that the nginx that runs has this file.\n"
        "server {\n"
        f"    listen 127.0.0.1:{port};\n"
        f"    server_name {MARKER_HOST};\n"
        "    access_log off;\n"
        f'    return 200 "{digest}";\n'
        "}\n"
    )
    return text.rstrip("\n") + "\n" + marker, digest


@dataclass
class Program:
    """The nginx of the host.

    @param options: the options of each call
    """

    disk: config.Disk
    options: Sequence[str] = ()
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def test(self) -> str | None:
        """Return nginx's error on its configuration, or V(None)."""
        done = config.nginx(*self.options, "-t", "-q")
        return (_last(done.stdout) or "it does not say why") if done.returncode else None

    def master(self) -> int | None:
        """Return the master process, if nginx runs."""
        try:
            with open(self.disk.config().pid, encoding="ascii") as stream:
                pid = int(stream.read())
            with open(f"/proc/{pid}/comm", encoding="utf-8") as stream:
                return pid if stream.read().strip() == "nginx" else None
        except (OSError, ValueError):
            return None

    def runs(self) -> bool:
        return self.master() is not None

    def workers(self) -> dict[int, int]:
        """Return the workers that accept connections, each with its master."""
        own = self.master()
        found = processes.workers()
        return {worker: master for worker, master in found.items() if master == own}

    def reload(self) -> None:
        done = config.nginx(*self.options, "-s", "reload")
        if done.returncode:
            raise SiteError(_last(done.stdout) or "the reload fails, and nginx does not say why")

    def log_size(self) -> int:
        try:
            return os.stat(self.disk.config().error_log).st_size
        except OSError:
            return 0

    def refusals(self, since: int) -> list[str]:
        """Return the lines in the error log by which nginx rejects a configuration."""
        try:
            with open(self.disk.config().error_log, "rb") as stream:
                size = os.fstat(stream.fileno()).st_size
                # A log that was rotated meanwhile begins at 0.
                start = since if size >= since else 0
                stream.seek(max(start, size - MAX_LOG_BYTES))
                lines = stream.read().decode("utf-8", "replace").splitlines()
        except OSError:
            return []
        return [EMERGENCY.sub("", line) for line in lines if "[emerg] " in line]


def running_digest(port: int) -> str | None:
    """Return the digest that the running nginx reports, or V(None)."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ASK_SECONDS)
    try:
        connection.request("GET", "/", headers={"Host": MARKER_HOST, "Connection": "close"})
        answer = connection.getresponse()
        return answer.read(64).decode("ascii", "replace") if answer.status == 200 else None
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def accepts(listen: config.Listen) -> bool:
    """Return whether the address accepts connections; a wildcard is checked by loopback."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(listen.address, listen.address)
    try:
        with socket.create_connection((host, listen.first), ASK_SECONDS):
            return True
    except OSError:
        return False


@dataclass
class Site:
    """One app's file, the nginx that has to accept it, and the links that it replaces.

    @param listens: the addresses at which the app must accept connections afterwards
    @param links: links of other sites that are removed with the change
    """

    name: str
    path: str
    port: int
    listens: Sequence[config.Listen]
    program: Program
    links: Sequence[str] = ()
    _removed: dict[str, str] = field(default_factory=dict)

    @property
    def old(self) -> str:
        return f"{self.path}{OLD}"

    def recover(self) -> None:
        """Restore the file that a killed run had replaced: whether nginx accepts the new one is not known."""
        with contextlib.suppress(FileNotFoundError):
            self._restore()

    def serves(self, digest: str) -> bool:
        return running_digest(self.port) == digest and all(map(accepts, self.listens))

    def taken(self) -> list[str]:
        """Return the addresses that accept connections."""
        return [listen.text for listen in self.listens if accepts(listen)]

    def bring(self, text: str, digest: str) -> None:
        """Write the file, test it, and reload nginx with it.

        @raises SiteError: with nginx's own message; the former file is restored then
        """
        since = self.program.log_size()
        with self._undone_on_failure():
            self._write(text)
            refused = self.program.test()
            if refused:
                raise SiteError(refused)
            if self.program.runs():
                workers = self.program.workers()
                self.program.reload()
                self._await(digest, since, workers)
            elif self.taken():
                raise SiteError(
                    f"{', '.join(self.taken())} takes connections, but {self.program.disk.config().pid} names no "
                    "nginx that runs; stop what listens there"
                )
        os.unlink(self.old)

    def _write(self, text: str) -> None:
        """Write the file; the former one is stored next to it until nginx has accepted this one."""
        former = read(self.path)
        # An empty file means that there was none: the app's file is never empty.
        put(self.old, former or "")
        for link in self.links:
            self._removed[link] = os.readlink(link)
            os.unlink(link)
        put(self.path, text)

    @contextlib.contextmanager
    def _undone_on_failure(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            # Nothing was replaced if the former file could not be stored.
            self.recover()
            # It may have loaded a part of the other file: the running and the stored state must agree.
            if self.program.runs() and not self.program.test():
                with contextlib.suppress(SiteError):
                    self.program.reload()
            raise

    def _restore(self) -> None:
        former = os.stat(self.old)
        if former.st_size:
            os.replace(self.old, self.path)
        else:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path)
            os.unlink(self.old)
        for link, target in self._removed.items():
            os.symlink(target, link)
        self._removed.clear()

    def _await(self, digest: str, since: int, former: Mapping[int, int]) -> None:
        program = self.program
        deadline = program.clock() + RELOAD_SECONDS
        # For a moment the former workers accept connections next to the new ones.
        while not self.serves(digest) or not processes.is_reloaded(former, program.workers()):
            refusals = program.refusals(since)
            # nginx tries to bind again for a while, and logs the failure afterwards.
            final = [line for line in refusals if "bind() to" not in line]
            if final or program.clock() > deadline:
                raise SiteError(self._why(refusals))
            program.sleep(POLL_SECONDS)

    def _why(self, refusals: Sequence[str]) -> str:
        lines = list(dict.fromkeys(refusals))[:MAX_LINES]
        if lines:
            return "; ".join(lines)
        silent = [listen.text for listen in self.listens if not accepts(listen)]
        if silent:
            return f"{', '.join(silent)} takes no connection {RELOAD_SECONDS:g} s after the reload"
        return f"it still serves by another file {RELOAD_SECONDS:g} s after the reload"


def read(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8", newline="") as stream:
            return stream.read()
    except FileNotFoundError:
        return None


def put(path: str, text: str, mode: int = 0o644) -> None:
    """Replace a file by one rename."""
    partial = f"{path}.new"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(partial)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with open(descriptor, "w", encoding="utf-8", newline="") as stream:
        os.fchmod(stream.fileno(), mode)
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(partial, path)


def _last(output: str) -> str:
    """Return the error lines of nginx's output, without its standard lines."""
    found = [
        EMERGENCY.sub("", line)
        for line in output.splitlines()
        if "[emerg]" in line or "[crit]" in line or "[alert]" in line
    ]
    return "; ".join(found[:MAX_LINES]) or output.strip()[-300:]
