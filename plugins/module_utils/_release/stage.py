# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Create a release on a host from an archive and its configuration, atomically."""

from __future__ import annotations

import contextlib
import grp
import hashlib
import itertools
import json
import os
import shlex
import shutil
import subprocess
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .. import _errors
from .._artifact import archive as artifact_archive
from .._artifact import venv as artifact_venv
from .._errors import ArchiveError
from .._http import json_shape
from .._system import app_directories, envfile, process, untrusted
from . import drift, sandbox, static
from . import layout as release_layout
from . import unit as release_unit

# systemd's wait for killed processes, in seconds; if it is notified of the end, there is no wait.
STOP_SECONDS = 1
# Seconds beyond a command's own time in which systemd must have ended it.
END_SECONDS = 60.0
# Properties that allow a sealed command writes or a network; their names in systemd.exec(5), and before 231.
OPENING = (
    "ReadWritePaths=", "ReadWriteDirectories=", "BindPaths=", "RuntimeDirectory=", "StateDirectory=", "CacheDirectory=",
    "LogsDirectory=", "ConfigurationDirectory=", "RestrictAddressFamilies=", "NetworkNamespacePath=",
)  # fmt: skip
# The one family without a network; systemd 252 accepts no empty list from systemd-run.
SEAL = ("ProtectSystem=strict", "PrivateNetwork=yes", "RestrictAddressFamilies=AF_NETLINK")
# systemd's default for a unit without a PATH, without the folders that only root needs.
SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin"
# Version and path of an interpreter. A path with a line break is quoted, so it is not parsed as a lock.
DESCRIBE = "import sys; path = sys.executable; print(sys.version, path if path.isprintable() else ascii(path))"
# The prefix of the last line of evenkeel_preload.py; its report on the app follows as JSON.
MARK = "evenkeel: "
OPTIMIZATIONS = "optimizations.json"
# Maximum characters of the app's own output in a message.
MAX_REASON = 2000


@dataclass(frozen=True)
class ReleaseSpec:
    """The specification of a release."""

    layout: release_layout.Layout
    release_id: str
    version: str
    archive: str
    wheels: str
    digest: str
    python: str
    user: str
    entry: str
    files: Mapping[str, str]
    environment: Mapping[str, str]
    shared: tuple[str, ...]
    start_timeout: float
    # SHA-256 of both archives from the build; without one there is no comparison.
    archive_sha256: str = ""
    wheels_sha256: str = ""


def store_archive(layout: release_layout.Layout, archive: str, uploads: str | None) -> str:
    """Store a new archive in the host's folder of archives, and return its path.

    @param archive: its path on the controller
    @param uploads: the folder with new archives
    @raises ArchiveError: on a host without the app's directories
    """
    if not os.path.isdir(layout.path("releases")):
        raise ArchiveError(
            f"This host was never set up for {layout.name}: run the playbook evenkeel.flask.site first."
        )
    name = os.path.basename(archive)
    stored = layout.path("archives", name)
    upload = os.path.join(uploads or "", name)
    if uploads and os.path.exists(upload):
        partial = f"{stored}.new"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(partial)
        try:
            # 0600 from its creation.
            os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            shutil.copyfile(upload, partial)
        except BaseException:
            # An incomplete file would keep a full disk full.
            os.unlink(partial)
            raise
        os.replace(partial, stored)
    return stored


class ReplacedError(ArchiveError):
    """A stored archive differed from the build's and was removed; the next run copies it again."""


def verify(archive: str, sha256: str) -> None:
    """Compare a stored archive with the build's, before any of it is used.

    @raises ReplacedError: if it differs
    """
    found = artifact_archive.file_digest(archive) if sha256 and os.path.exists(archive) else sha256
    if found == sha256:
        return
    os.unlink(archive)
    raise ReplacedError(
        f"{archive} was not the archive that was built: its SHA-256 is {found[:16]}... instead of "
        f"{sha256[:16]}...; it was removed. Run it again to have it copied."
    )


def stage(spec: ReleaseSpec) -> None:
    """Unpack, create the venv, write the configuration, load the app; then rename into place."""
    layout = spec.layout
    folder = layout.path("releases", f".{spec.release_id}")
    if os.path.isdir(folder):
        shutil.rmtree(folder)
    os.makedirs(folder, mode=0o750)
    try:
        verify(spec.archive, spec.archive_sha256)
        manifest = artifact_archive.Manifest.read(spec.archive)
        if manifest.digest != spec.digest:
            raise ArchiveError(f"{spec.archive} is not the archive that was built. Copy it again.")
        artifact_archive.unpack(spec.archive, folder)
        venv = layout.path("venvs", venv_name(spec.python, folder))
        if not artifact_venv.is_complete(venv):
            verify(spec.wheels, spec.wheels_sha256)
            artifact_archive.unpack(spec.wheels, folder)
            artifact_venv.create(spec.python, venv, folder)
            shutil.rmtree(os.path.join(folder, "wheels"))
        os.symlink(os.path.relpath(venv, folder), os.path.join(folder, "venv"))
        _write_configuration(spec, folder)
        places = [os.path.join(folder, place) for place in drift.CODE]
        process.run([spec.python, "-I", "-m", "compileall", "-q", *places])
        # From here on a path in the release can lead to files that the app controls.
        _link_shared_paths(spec, folder)
        _set_owner(folder, spec.user)
        _load_app(spec, folder)
    except BaseException:
        shutil.rmtree(folder)
        raise
    os.replace(folder, layout.release(spec.release_id))


def venv_name(python: str, folder: str) -> str:
    """Return the name of a venv, from all that determines its content: the lock and the interpreter."""
    try:
        described = process.run([python, "-I", "-c", DESCRIBE])
    except OSError as exc:
        raise ArchiveError(f"flask_app_python: {python} does not run: {exc.strerror}") from exc
    if described.returncode != 0:
        raise ArchiveError(
            f"flask_app_python: {python} does not run: {process.last_line(described.stdout)}"
        )
    with open(os.path.join(folder, artifact_archive.LOCK), encoding="utf-8") as stream:
        content = described.stdout + stream.read()
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _write_configuration(spec: ReleaseSpec, folder: str) -> None:
    record = {
        "archive": os.path.basename(spec.archive),
        "wheels": os.path.basename(spec.wheels),
        "digest": spec.digest,
        "entry": spec.entry,
        "release_id": spec.release_id,
        "version": spec.version,
    }
    files = {
        **{os.path.join("config", name): text for name, text in spec.files.items()},
        "release.json": json.dumps(record, indent=2, sort_keys=True) + "\n",
        "env": envfile.environment_file(spec.environment),
    }
    os.mkdir(os.path.join(folder, "config"))
    for name, text in files.items():
        path = os.path.join(folder, name)
        # 0640 from its creation: the environment has secrets.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
    os.makedirs(os.path.join(folder, "app"), exist_ok=True)


def _link_shared_paths(spec: ReleaseSpec, folder: str) -> None:
    """Link the app's own writable paths into the shared folder, so that they survive every release.

    Flask looks for C(instance) next to the package, which is in C(lib) if the source has a src/ layout
    or is a wheel. A path below another shared one is reached through that one's link.

    @raises ArchiveError: for a path that leaves the source, or is behind a link of it
    """
    places = [place for place in ("app", "lib") if os.path.isdir(os.path.join(folder, place))]
    try:
        shared = app_directories.outermost(map(app_directories.relative, spec.shared))
    except _errors.PathProblem as problem:
        raise ArchiveError(f"flask_app_shared_paths: {problem}.") from problem
    for place, path in itertools.product(places, shared):
        above = os.path.join(folder, place)
        for part in path.split("/")[:-1]:
            above = os.path.join(above, part)
            if os.path.islink(above):
                raise ArchiveError(
                    f"flask_app_shared_paths: {path} lies behind {os.path.relpath(above, folder)}, which is a "
                    "symbolic link of the source; name where it leads."
                )
            if os.path.lexists(above) and not os.path.isdir(above):
                raise ArchiveError(
                    f"flask_app_shared_paths: {path} lies behind {os.path.relpath(above, folder)}, which is a file "
                    "of the source; name another path, or name the file in flask_app_exclude."
                )
            if not os.path.isdir(above):
                os.mkdir(above, 0o755)
        link = os.path.join(folder, place, path)
        if os.path.isdir(link) and not os.path.islink(link):
            shutil.rmtree(link)
        elif os.path.lexists(link):
            os.unlink(link)
        os.symlink(spec.layout.path("shared", path), link)


def _set_owner(folder: str, user: str) -> None:
    """Allow the app's user to read its release, and to change nothing in it."""
    try:
        group = grp.getgrnam(user).gr_gid
    except KeyError as exc:
        raise ArchiveError(
            f"This host has no user {user}. Run the playbook evenkeel.flask.site first."
        ) from exc
    for place, folders, files in os.walk(folder):
        for name in [*folders, *files]:
            os.lchown(os.path.join(place, name), 0, group)
    os.chown(folder, 0, group)


def _load_app(spec: ReleaseSpec, folder: str) -> None:
    """Load the app as gunicorn does, with its environment and user, and store its report."""
    python = os.path.join(folder, "venv", "bin", "python")
    load = os.path.join(folder, "config", "evenkeel_preload.py")
    # The report is the last step, so it is stronger evidence than the status of the unit.
    _status, output = run_in(folder, spec.user, spec.layout, [python, load], spec.start_timeout)
    found = report(output)
    if found is None:
        reason = process.last_line(output)[:MAX_REASON]
        remedy = sandbox.remedy(output, spec.layout.name) or (
            "mend the app or its environment (flask_app_env, flask_app_secrets)."
        )
        raise ArchiveError(
            f"flask_app_entry: {spec.entry} cannot be loaded: {reason}. Nothing was released; {remedy}"
        )
    if found["forkable"]:
        with open(os.path.join(folder, "preload"), "w", encoding="utf-8"):
            pass
    static.publish(spec.layout, folder, found["static"])
    with open(os.path.join(folder, OPTIMIZATIONS), "w", encoding="utf-8") as stream:
        json.dump(found["measures"], stream, indent=2)
        stream.write("\n")


def report(output: str) -> dict[str, Any] | None:
    """Return the report of evenkeel_preload.py, or V(None) without one.

    It is the last line with the mark and the shape of a report. An app can print lines before it, and
    a remaining process of the app can print others later.
    """
    for line in reversed(output.splitlines()):
        if line.startswith(MARK):
            with contextlib.suppress(ValueError, LookupError, TypeError, AttributeError):
                return _report(json_shape.parse(line[len(MARK) :]))
    return None


def _report(found: Any) -> dict[str, Any]:
    """Check the shape of a report, because the app's process can print anything.

    @raises ValueError: and the errors of a lookup, if it has another shape
    """
    measures, files = found.get("measures", []), found.get("static", [])
    if not (
        isinstance(found["forkable"], bool)
        and all(isinstance(word, str) for one in measures for word in one.values())
        and all(isinstance(one[name], str) for one in files for name in static.FIELDS)
    ):
        raise ValueError("not a report")
    return {**found, "measures": measures, "static": files}


def optimizations(folder: str) -> list[dict[str, str]]:
    """Return the state of each measure of the production form in a release; [] for older releases."""
    try:
        with open(os.path.join(folder, OPTIMIZATIONS), encoding="utf-8") as stream:
            measures: list[dict[str, str]] = json.load(stream)
    except (OSError, ValueError):
        return []
    return measures


def scheduler(folder: str) -> str | None:
    """Return what staging detected about a scheduler in a release, as text; V(None) without one."""
    rows = (row for row in optimizations(folder) if row.get("measure") == "scheduler")
    return next((row["detail"] for row in rows), None)


def environment(folder: str) -> dict[str, str]:
    """Return the environment of the app in a release, which has secrets."""
    try:
        with open(os.path.join(folder, "env"), encoding="utf-8") as stream:
            return envfile.read_environment(stream.read())
    except FileNotFoundError:
        return {}


def database_url(folder: str) -> str:
    """Return the URL of the app's database by the collection's names, or ""."""
    known = environment(folder)
    return known.get("DATABASE_URL") or known.get("SQLALCHEMY_DATABASE_URI") or ""


def run_in(
    folder: str,
    user: str,
    layout: release_layout.Layout,
    command: Sequence[str],
    timeout: float | None = None,
    environment: Mapping[str, str] | None = None,
    *,
    sealed: bool = False,
) -> tuple[int, str]:
    """Run a command as the app's user in a release, with the properties of the slot's unit.

    systemd reads the environment file, as it does for the app itself, so no command line has the
    secrets. It also stops a command after its timeout, and kills the remaining processes of a
    command: only systemd knows all of them.

    @param timeout: in seconds
    @param environment: variables that a slot does not have
    @param sealed: without network, sockets and writes, so that it changes nothing. The output is then
        that of stdout alone, or of stderr if it fails
    @raises ArchiveError: on a host without the slot's unit or without systemd, and for a command that does not end
    """
    try:
        inherited = release_unit.properties(release_unit.read(layout), layout, folder)
    except _errors.UnitError as exc:
        raise ArchiveError(str(exc)) from exc
    except OSError as exc:
        raise ArchiveError(f"systemctl cannot be run: {exc.strerror or exc}.") from exc
    properties: list[str] = [
        # A unit of an earlier version has no PATH. The unit's own comes later and replaces it.
        f"Environment=PATH={folder}/venv/bin:{SYSTEM_PATH}",
        *inherited,
        f"User={user}",
        f"Group={user}",
        *(f"Environment={name}={value}" for name, value in (environment or {}).items()),
        # The main process decides. A remaining process holds the pipe, and can ignore TERM.
        "KillSignal=SIGKILL",
        f"TimeoutStopSec={STOP_SECONDS}",
        # The slots use such folders also, and they must not be removed with the command.
        "RuntimeDirectoryPreserve=yes",
    ]
    if sealed:
        properties = [item for item in properties if not item.startswith(OPENING)]
        properties += SEAL
    if timeout is not None:
        properties += [f"RuntimeMaxSec={timeout:g}"]
    begun = time.monotonic()
    options = [f"--property={item}" for item in properties]
    unit = f"evenkeel-{layout.name}-{uuid.uuid4().hex[:12]}.service"
    # systemd-run would search the program in its own PATH, env searches in the release's.
    line = ["systemd-run", "--wait", "--pipe", "--quiet", f"--unit={unit}", *options]
    line += ["--", "/usr/bin/env", *command]
    done = _run_unit(line, unit, timeout, subprocess.PIPE if sealed else subprocess.STDOUT)
    output = done.stderr if sealed and done.returncode != 0 else done.stdout
    status = _main_status(unit) if done.returncode != 0 else 0
    if done.returncode == 1 and output.startswith("Unknown assignment: "):
        raise ArchiveError(
            f"{layout.name}@.service: systemd-run does not support a line of this unit or of its drop-ins "
            f"({process.last_line(output)}); correct the line, or remove it."
        )
    if status is None:
        status = done.returncode
    if status != 0 and timeout is not None and time.monotonic() - begun >= timeout:
        return status, f"it was not done within {timeout:g} s"
    return status, output


def _run_unit(
    line: Sequence[str], unit: str, timeout: float | None, stderr: int
) -> subprocess.CompletedProcess[str]:
    """Run systemd-run, and end a unit that exceeds its time.

    @raises ArchiveError: if it cannot run, or does not end
    """
    limit = (untrusted.MAX_RUN_SECONDS if timeout is None else timeout) + END_SECONDS
    try:
        return process.run(line, timeout=limit, stderr=stderr)
    except subprocess.TimeoutExpired as exc:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.run(["systemctl", "kill", "--signal=SIGKILL", unit], timeout=END_SECONDS)
        raise ArchiveError(
            f"{unit}: systemd did not end this command within {limit:g} s, and it was killed; see what holds it: "
            f"systemctl status {unit}"
        ) from exc
    except OSError as exc:
        raise ArchiveError(f"{line[0]} cannot be run: {exc.strerror or exc}.") from exc


def _main_status(unit: str) -> int | None:
    """Return the exit status of a unit's main process, and reset the unit; V(None) if it did not exit.

    The unit itself also fails if systemd is not notified that the rest was killed, as with version 1
    of cgroups in a container.
    """
    shown = process.run(
        ["systemctl", "show", "--property=ExecMainCode,ExecMainStatus", unit]
    ).stdout
    process.run(["systemctl", "reset-failed", unit])
    found = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
    exited = found.get("ExecMainCode") == str(os.CLD_EXITED)
    return int(found["ExecMainStatus"]) if exited else None


def words(command: str) -> list[str]:
    """Split a command of the team as a shell does.

    @raises ArchiveError: for an unterminated quotation
    """
    try:
        return shlex.split(command)
    except ValueError as exc:
        raise ArchiveError(
            f"{command!r} cannot be split into words ({exc}); correct its quotation marks."
        ) from exc


def command_environment(folder: str) -> dict[str, str]:
    """Return the only difference between a slot and a command of the team.

    gunicorn's configuration has the folders of the app; other programs find them here.
    """
    return {"PYTHONPATH": f"{os.path.join(folder, 'app')}:{os.path.join(folder, 'lib')}"}
