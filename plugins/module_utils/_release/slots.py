# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Observe and change the slots, links and units of a host. No other file does."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Callable, NoReturn

from .. import _errors, _timing
from .._errors import ReleaseError
from .._http import client, json_shape
from .._system import process, procfs, untrusted
from . import drift, static
from . import guards as release_guards
from .history import Switch
from .layout import SLOTS, Layout
from .plan import HostState, Step

POLL_SECONDS = 0.05
# The maximum time in which a new worker loads the app and acquires its predecessor's guards.
RECYCLE_SECONDS = 30.0
# The states of a unit that died and will be restarted, or that changes its state.
CRASH_LOOPING = ("activating", "deactivating")
# A request is logged after its response.
LINE_SECONDS = 5.0
# Linux' states of a stream socket in /proc/net/unix: one that waits in a
# listener's backlog, and one that was accepted (include/uapi/linux/net.h).
OPEN_STATES = {"02", "03"}
# systemd responds in milliseconds; it reads the journal in some seconds on a slow disk.
SYSTEMD_SECONDS = 60.0
# For a unit without a stop timeout.
STOP_SECONDS = 600.0
# Only the end of a log is searched. The log of an app has no limit.
LOG_BYTES = 16 * 1024 * 1024
REASON_BYTES = 64 * 1024
# The units of a time span in systemd.time(7).
UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}


def observe(layout: Layout) -> HostState:
    """Read links, units and history. No earlier state is assumed."""
    states = {slot: _state(layout, slot) for slot in SLOTS}
    return HostState(
        releases=_releases(layout),
        slots={slot: _base(_readlink(layout.slot(slot))) for slot in SLOTS},
        running=frozenset(slot for slot in SLOTS if states[slot] in ("active", "reloading")),
        crash_looping=frozenset(slot for slot in SLOTS if states[slot] in CRASH_LOOPING),
        live=live_slot(layout),
        candidate=layout.slot_of_socket(_readlink(layout.candidate)),
        history=_history(layout),
    )


def live_slot(layout: Layout) -> str | None:
    """Return the slot of the users' link."""
    return layout.slot_of_socket(_readlink(layout.live))


def _readlink(path: str) -> str | None:
    try:
        return os.readlink(path)
    except OSError:
        return None


def _base(path: str | None) -> str | None:
    return os.path.basename(path) if path else None


def _releases(layout: Layout) -> tuple[str, ...]:
    """Return the complete releases, from the newest to the oldest."""
    try:
        with os.scandir(layout.path("releases")) as entries:
            found = [entry for entry in entries if not entry.name.startswith(".")]
            found.sort(key=lambda entry: (entry.stat().st_mtime_ns, entry.name), reverse=True)
            return tuple(entry.name for entry in found)
    except FileNotFoundError:
        return ()


def _history(layout: Layout) -> tuple[Switch, ...]:
    try:
        with open(layout.history, encoding="utf-8") as stream:
            return tuple(filter(None, map(Switch.from_line, stream)))
    except FileNotFoundError:
        return ()


def digests(layout: Layout, releases: Sequence[str]) -> dict[str, str]:
    """Return the digest of the code of each release that exists and records it."""
    found = {}
    for release in releases:
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            path = os.path.join(layout.release(release), "release.json")
            with open(path, encoding="utf-8") as stream:
                found[release] = str(json.load(stream)["digest"])
    return found


def _systemctl(*args: str, timeout: float | None = None) -> subprocess.CompletedProcess[str]:
    """Run systemctl.

    @param timeout: in seconds, if the caller handles it
    @raises TimeoutExpired: if it took longer
    @raises ReleaseError: if systemd does not respond at all
    """
    try:
        return process.run(
            ["systemctl", "--no-ask-password", *args],
            {"PATH": os.defpath, "LC_ALL": "C.UTF-8"},
            timeout=SYSTEMD_SECONDS if timeout is None else timeout,
        )
    except subprocess.TimeoutExpired as error:
        if timeout is not None:
            raise
        raise ReleaseError(
            f"systemctl {' '.join(args)} did not end within {SYSTEMD_SECONDS:g} s; see what systemd waits "
            "for: systemctl list-jobs"
        ) from error


def seconds_of(span: str) -> float | None:
    """Parse a time span of systemd, such as C(1min 30s); V(None) for an infinite one."""
    found = re.findall(r"(\d+(?:\.\d+)?)([a-z]+)", span)
    if not found or any(unit not in UNITS for _number, unit in found):
        return None
    return sum(float(number) * UNITS[unit] for number, unit in found)


def _state(layout: Layout, slot: str) -> str:
    return _systemctl("is-active", layout.unit(slot)).stdout.strip()


def unit_state(layout: Layout, slot: str) -> dict[str, str]:
    shown = _systemctl(
        "show", "-p", "ActiveState,SubState,NRestarts,Result,MainPID", layout.unit(slot)
    )
    return dict(line.split("=", 1) for line in shown.stdout.splitlines() if "=" in line)


def guards(layout: Layout, slot: str) -> dict[release_guards.Guard, int]:
    """Return the guards that this slot holds."""
    main = int(unit_state(layout, slot).get("MainPID") or 0)
    return release_guards.held(main, layout.socket(slot))


def open_connections(table: str, path: str) -> int:
    """Count the connections to the listening socket C(path), accepted or in its backlog.

    @param table: the text of /proc/net/unix
    """
    return sum(1 for state, _inode in procfs.unix_sockets(table, path) if state in OPEN_STATES)


def query(path: str, url: str, timeout: float) -> tuple[int, str | None]:
    """Send a request to the gunicorn behind the UNIX socket C(path); return status and release.

    @param timeout: seconds for the whole request, also if the app responds slowly
    @raises OSError: if there is no response
    """
    try:
        target = client.Url.parse(f"http://localhost/{url.lstrip('/')}")
        answer = client.fetch(client.Request(target, unix_socket=path, timeout=timeout))
    except (_errors.HttpError, _errors.ArgumentError) as exc:
        raise OSError(f"no HTTP answer: {exc}") from exc
    release = answer.headers.get("X-Release")
    return answer.status, release and untrusted.printable(release)


def try_query(path: str, url: str, timeout: float) -> tuple[int | None, str | None]:
    """As C(query), but return V(None) twice if there is no response."""
    try:
        return query(path, url, timeout)
    except OSError:
        return None, None


def since(layout: Layout) -> str | None:
    """Return when the live link was last switched."""
    try:
        switched = os.lstat(layout.live).st_mtime
    except FileNotFoundError:
        return None
    return _timing.iso(switched)


def _given(value: str | None) -> str:
    """Return the subject that a step of this kind always has."""
    if value is None:
        raise TypeError("a step lacks what it is about")
    return value


class Slots:
    """The executor of a plan's steps; each public method except C(apply) is one verb."""

    def __init__(
        self,
        layout: Layout,
        host: HostState,
        *,
        health_path: str = "/",
        start_timeout: float = 60.0,
        drain_timeout: float = 30.0,
        log_directory: str | None = None,
        details: Mapping[str, object] | None = None,
        guards: Collection[release_guards.Guard] = (),
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.layout = layout
        self.host = host
        self.health_path = health_path
        self.start_timeout = start_timeout
        self.drain_timeout = drain_timeout
        self.log_directory = log_directory
        self.details = details or {}
        self.guards = frozenset(guards)
        self.clock = clock
        self.sleep = sleep
        self.warnings: list[str] = []

    def apply(self, steps: Sequence[Step]) -> None:
        for step in steps:
            getattr(self, step.verb)(step)

    def assign(self, step: Step) -> None:
        release, slot = _given(step.detail), _given(step.subject)
        self._link(self.layout.release(release), self.layout.slot(slot))

    def start(self, step: Step) -> None:
        slot = _given(step.subject)
        deadline = self.clock() + self.start_timeout
        logged = self._log_size()
        _systemctl("reset-failed", self.layout.unit(slot))
        for kind in ("socket", "service"):
            unit = self.layout.unit(slot, kind)
            try:
                # gunicorn notifies systemd that it is ready after it has loaded the app.
                done = _systemctl("start", unit, timeout=self.start_timeout)
            except subprocess.TimeoutExpired:
                self._fail_start(slot, f"it is not ready within {self.start_timeout:g} s")
            if done.returncode != 0:
                self._fail_start(slot, f"{unit} does not start")
        self._await_answer(slot, deadline)
        self._await_line(slot, logged)

    def _await_answer(self, slot: str, deadline: float) -> None:
        release = _base(_readlink(self.layout.slot(slot)))
        why = "it does not answer"
        while True:
            left = deadline - self.clock()
            if left <= 0:
                self._fail_start(slot, f"{why} within {self.start_timeout:g} s")
            state = unit_state(self.layout, slot)
            if state.get("ActiveState") == "failed" or state.get("NRestarts", "0") != "0":
                self._fail_start(slot, f"it dies at start ({state.get('Result')})")
            try:
                _status, answered = query(
                    self.layout.socket(slot), self.health_path, min(left, 2.0)
                )
                if answered == release:
                    return
                why = f"release {answered} answers instead of {release}"
            except OSError as exc:
                why = f"it does not answer ({exc})"
            self.sleep(POLL_SECONDS)

    def _log_size(self) -> int:
        """Return the size of the access log in bytes. This check precedes any start.

        @raises UntrustedError: if the path is not a regular file
        """
        if not self.log_directory:
            return 0
        try:
            return untrusted.size(self._access_log())
        except FileNotFoundError:
            return 0

    def _access_log(self) -> str:
        return os.path.join(self.log_directory or "", "access.log")

    def _await_line(self, slot: str, logged: int) -> None:
        """Require a log line of the response: a release without a log could not be monitored."""
        if not self.log_directory:
            return
        release = _base(_readlink(self.layout.slot(slot)))
        deadline = self.clock() + LINE_SECONDS
        why = f"it answers, and {self._access_log()} has no line of it"
        while self.clock() < deadline:
            try:
                # A log that was rotated meanwhile begins at 0.
                start = logged if self._log_size() >= logged else 0
                if str(release).encode() in untrusted.read(self._access_log(), LOG_BYTES, start):
                    return
            except FileNotFoundError:
                pass
            except untrusted.UntrustedError as error:
                why = str(error)
                break
            self.sleep(POLL_SECONDS)
        self._fail_start(slot, why)

    def _fail_start(self, slot: str, why: str) -> NoReturn:
        release = _base(_readlink(self.layout.slot(slot)))
        reason = self._last_error(slot, release)
        self.stop(Step("stop", slot), drain=False)
        raise ReleaseError(
            f"Release {release} does not come up in slot {slot}: {why}. {reason}"
            f"The live release is still {self.host.live_release or 'none'}."
        )

    def _last_error(self, slot: str, release: str | None) -> str:
        """Return the last error of the app: from its own log, else from the journal."""
        problem = ""
        if self.log_directory:
            log = os.path.join(self.log_directory, "app.log")
            try:
                text = untrusted.read(log, REASON_BYTES).decode("utf-8", "replace")
                error = last_error(text.splitlines(), slot, release)
                if error:
                    return f"Its log says: {error}. "
            except untrusted.UntrustedError as refused:
                problem = f"{str(refused).rstrip('.')}. "
            except OSError:
                pass
        unit = self.layout.unit(slot)
        command = ["journalctl", "-u", unit, "-n", "20", "-o", "json", "--no-pager"]
        try:
            journal = process.run(command, timeout=SYSTEMD_SECONDS).stdout.splitlines()
        except (OSError, subprocess.TimeoutExpired):
            return f"{problem}Its journal cannot be read. "
        return f"{problem}Its journal says: {journal_error(journal)}. "

    def stop(self, step: Step, drain: bool = True) -> None:
        slot = _given(step.subject)
        if drain:
            self._drain(slot)
        # The socket also, and in one call: a socket that outlives its service restarts it.
        units = [self.layout.unit(slot, kind) for kind in ("socket", "service")]
        try:
            done = _systemctl("stop", *units, timeout=self._stop_seconds(slot))
        except subprocess.TimeoutExpired:
            # The app can extend its stop repeatedly (sd_notify(3), EXTEND_TIMEOUT_USEC).
            self.warnings.append(f"{units[-1]} did not stop within its time, and was killed.")
            _systemctl("kill", "--signal=SIGKILL", units[-1])
            done = _systemctl("stop", *units)
        if done.returncode != 0:
            raise ReleaseError(f"{' and '.join(units)} cannot be stopped: {done.stdout.strip()}")

    def _stop_seconds(self, slot: str) -> float:
        """Return the maximum seconds of a stop by systemd: once until it kills, and once until all are gone."""
        shown = _systemctl("show", "-p", "TimeoutStopUSec", self.layout.unit(slot)).stdout
        span = seconds_of(shown.partition("=")[2])
        return (STOP_SECONDS if span is None else 2 * span) + SYSTEMD_SECONDS

    def recycle(self, step: Step) -> None:
        """Let gunicorn replace one worker, whose import can acquire the guards of the stopped slot."""
        slot = _given(step.subject)
        deadline = self.clock() + min(self.start_timeout, RECYCLE_SECONDS)
        main = int(unit_state(self.layout, slot).get("MainPID") or 0)
        workers = procfs.children(main)
        if not self._lacking(slot) or not workers:
            return
        # A worker finishes its request first, and gunicorn starts another one.
        os.kill(workers[0], signal.SIGTERM)
        while self.clock() < deadline:
            if not self._lacking(slot):
                return
            self.sleep(POLL_SECONDS)
        names = ", ".join(map(str, self._lacking(slot)))
        self.warnings.append(
            f"The release does not hold {names}, which the one before it held, and a new worker did not "
            f"take it. If the app still uses it to run jobs in one process, they do not run: restart "
            f"{self.layout.unit(slot)}."
        )

    def _lacking(self, slot: str) -> list[release_guards.Guard]:
        return sorted(self.guards - guards(self.layout, slot).keys())

    def _drain(self, slot: str) -> None:
        """Wait until every connection to the slot has its response, including those in the backlog."""
        deadline = self.clock() + self.drain_timeout
        while self.clock() < deadline:
            with open("/proc/net/unix", encoding="utf-8", errors="replace") as stream:
                if not open_connections(stream.read(), self.layout.socket(slot)):
                    return
            self.sleep(POLL_SECONDS)

    def point_live(self, step: Step) -> None:
        if step.subject is None:
            os.unlink(self.layout.live)
            return
        self._link(self.layout.socket(step.subject), self.layout.live)
        expected = _base(_readlink(self.layout.slot(step.subject)))
        _status, answered = query(self.layout.live, self.health_path, self.start_timeout)
        if answered != expected:
            raise ReleaseError(
                f"{self.layout.live} was switched to {expected}, yet {answered or 'something else'} "
                "answers behind it. Look at the slots with status.yml."
            )

    def point_candidate(self, step: Step) -> None:
        if step.subject is None:
            os.unlink(self.layout.candidate)
        else:
            self._link(self.layout.socket(step.subject), self.layout.candidate)

    def record(self, step: Step) -> None:
        now = _timing.iso(time.time())
        before = self.host.replaced_by(step.subject)
        code = digests(self.layout, [step.subject] if step.subject else [])
        details = {**self.details, **({"digest": next(iter(code.values()))} if code else {})}
        line = Switch(now, step.detail or "", step.subject, before, details).to_line()
        with self._warned("This switch is not in the history"):
            append_line(self.layout.history, line)
        self.remember(step)

    def remember(self, _step: Step) -> None:
        """Store the state of the host, so that a later run detects manual changes."""
        live = live_slot(self.layout)
        release = _base(_readlink(self.layout.slot(live))) if live else None
        with self._warned("How this host was left is not known"):
            drift.write(self.layout, drift.fingerprint(self.layout, release))

    @contextlib.contextmanager
    def _warned(self, what: str) -> Iterator[None]:
        """Turn an error of a record into a warning: a full disk must not stop a switch or a withdrawal."""
        try:
            yield
        except OSError as exc:
            self.warnings.append(f"{what}: {exc}. Mend that, and run the rollout again.")

    def remove(self, step: Step) -> None:
        shutil.rmtree(self.layout.release(_given(step.subject)))
        self._remove_unused()

    def _remove_unused(self) -> None:
        """Remove files that no release uses any more: venvs, their archives, static files."""
        releases = [self.layout.release(name) for name in _releases(self.layout)]
        used = {_base(_readlink(os.path.join(release, "venv"))) for release in releases}
        for release in releases:
            with open(os.path.join(release, "release.json"), encoding="utf-8") as stream:
                record = json.load(stream)
            used |= {record["archive"], record.get("wheels")}
        for folder in ("venvs", "archives"):
            for name in os.listdir(self.layout.path(folder)):
                if name not in used:
                    path = self.layout.path(folder, name)
                    shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)
        static.prune(self.layout, releases)

    def _link(self, target: str, link: str) -> None:
        """Point C(link) to C(target) by one rename, so that the link always exists."""
        # All runs use one name: the next run replaces the file of a killed one.
        temporary = f"{link}.new"
        if os.path.lexists(temporary):
            os.unlink(temporary)
        os.symlink(target, temporary)
        os.replace(temporary, link)
        folder = os.open(os.path.dirname(link), os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def append_line(path: str, line: str) -> None:
    """Append a line durably, and never to an incomplete one."""
    with open(path, "ab+") as stream:
        if stream.tell():
            stream.seek(-1, os.SEEK_END)
            line = line if stream.read(1) == b"\n" else f"\n{line}"
        stream.write(line.encode())
        stream.flush()
        os.fsync(stream.fileno())


def journal_error(lines: Sequence[str]) -> str:
    """Return the last message of the unit's own processes; systemd's own has only the fact of failure.

    @param lines: records as journalctl prints them as JSON (systemd.journal-fields(7))
    """
    messages = []
    for line in lines:
        with contextlib.suppress(ValueError, AttributeError):
            record = json_shape.parse(line)
            messages.append((record.get("_PID") != "1", str(record.get("MESSAGE")).rstrip(".")))
    own = [message for is_own, message in messages if is_own]
    return (own or [message for _is_own, message in messages] or ["nothing"])[-1]


def last_error(lines: list[str], slot: str, release: str | None) -> str | None:
    """Return the last error that C(release) in C(slot) logged, as one line."""
    for line in reversed(lines):
        try:
            record = json_shape.parse(line)
        except ValueError:
            continue
        if not isinstance(record, dict) or (record.get("slot"), record.get("release")) != (
            slot,
            release,
        ):
            continue
        if record.get("exception"):
            return process.last_line(str(record["exception"]))
        if record.get("level") in ("ERROR", "CRITICAL"):
            return process.last_line(str(record.get("message")))
    return None
