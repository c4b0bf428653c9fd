# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Create directories that an app writes to: root creates the first one, the app's user those below.

Invariant: root changes nothing in a directory whose entries the app can replace. From there on a child
process works with the rights of the app's user, and follows no link. So no file of the app can cause a
change that the app could not make itself.
"""

from __future__ import annotations

import errno
import grp
import json
import os
import posixpath
import pwd
import select
import signal
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from .._errors import PathProblem
from . import untrusted
from .untrusted import UntrustedError

MODE = 0o750
# Creating directories takes milliseconds; a file system in user space can block forever.
CHILD_SECONDS = 30.0
MAX_ANSWER_BYTES = 1 << 20


@dataclass(frozen=True)
class Owner:
    """The app's user, with all its groups."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]

    @classmethod
    def find(cls, name: str) -> Owner | None:
        try:
            uid, gid = pwd.getpwnam(name).pw_uid, grp.getgrnam(name).gr_gid
        except KeyError:
            return None
        return cls(name, uid, gid, tuple(os.getgrouplist(name, gid)))

    def controls(self, folder: os.stat_result) -> bool:
        """Return whether this user can replace other users' files in a directory."""
        is_member = folder.st_gid in (self.gid, *self.groups)
        writes = folder.st_mode & stat.S_IWOTH or (is_member and folder.st_mode & stat.S_IWGRP)
        return folder.st_uid == self.uid or bool(writes and not folder.st_mode & stat.S_ISVTX)


@dataclass
class Outcome:
    """The changes, or those predicted in check mode, one line per directory."""

    changes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def relative(path: str) -> str:
    """Normalize a path below the source: without C(.) parts and a slash at its end.

    @raises PathProblem: for one that is absolute, empty or leads out
    """
    if path.startswith("/") or ".." in path.split("/") or not path.isprintable():
        raise PathProblem(f"{path!r} leaves the source; name a path below it, such as instance")
    found = "/".join(untrusted.parts(path))
    if not found:
        raise PathProblem(
            f"{path!r} is the source itself; name a directory below it, such as instance"
        )
    return found


def is_file(path: str) -> bool:
    """Return whether a shared path names a file: its last part has an extension, and no slash follows."""
    return not path.endswith("/") and bool(posixpath.splitext(path)[1])


def outermost(paths: Iterable[str]) -> list[str]:
    """Return the paths that are not below another one, in their order; their links lead to all below."""
    found = list(dict.fromkeys(paths))
    return [path for path in found if not any(path.startswith(f"{other}/") for other in found)]


def make(path: str, below: Sequence[str], owner: Owner, check_mode: bool = False) -> Outcome:
    """Create a directory that the app owns, and those below it.

    @param path: absolute; root creates it, unless the app controls its parent
    @param below: paths in it, files and directories, as C(is_file) distinguishes them
    @raises UntrustedError: for a link, a file or a foreign directory in the way
    @raises PathProblem: for a path that leaves C(path)
    """
    items = [(relative(item), is_file(item)) for item in below]
    outcome = Outcome()
    folder, where, rest = _roots_part(path, owner, check_mode, outcome)
    try:
        leaf = "/".join(rest)
        inner = [(leaf, False)] if leaf else []
        inner += [(f"{leaf}/{item}" if leaf else item, file) for item, file in items]
        if inner and folder is not None:
            found = _as_user(owner, lambda: _make_below(folder, where, inner, owner, check_mode))
            outcome.changes += found.changes
            outcome.warnings += found.warnings
        elif inner:
            # In check mode the directory itself does not exist yet.
            outcome.changes += [f"create {path}/{item}" for item, file in items if not file]
    finally:
        if folder is not None:
            os.close(folder)
    return outcome


def _roots_part(
    path: str, owner: Owner, check_mode: bool, outcome: Outcome
) -> tuple[int | None, str, list[str]]:
    """Walk the part of the path that only root controls, and create missing directories.

    @returns: the directory where the app's user continues (V(None) if it does not exist, in check mode), its path, and
        the remaining parts of C(path)
    """
    here, where, links = os.open("/", untrusted.FOLDER), "/", 0
    todo = untrusted.parts(path)[::-1]
    try:
        while todo and not owner.controls(os.fstat(here)):
            name = todo.pop()
            place = os.path.normpath(os.path.join(where, name))
            try:
                below = os.open(name, untrusted.FOLDER, dir_fd=here)
            except FileNotFoundError:
                outcome.changes.append(f"create {place}")
                if check_mode:
                    os.close(here)
                    return None, place, []
                os.mkdir(name, 0o755, dir_fd=here)
                below = os.open(name, untrusted.FOLDER, dir_fd=here)
                os.fchmod(below, 0o755)
            except OSError as error:
                if error.errno not in (errno.ELOOP, errno.ENOTDIR):
                    raise
                target = untrusted.roots_link(here, name, place)
                links += 1
                if links > untrusted.MAX_LINKS:
                    raise UntrustedError(f"{place} leads in a circle; remove the link.") from None
                todo += untrusted.parts(target)[::-1]
                if not target.startswith("/"):
                    continue
                below, place = os.open("/", untrusted.FOLDER), "/"
            is_controlled = owner.controls(os.fstat(here))
            os.close(here)
            here, where = below, place
            if not todo and not is_controlled:
                _give(here, where, owner, check_mode, outcome)
                return here, where, []
    except BaseException:
        os.close(here)
        raise
    return here, where, todo[::-1]


def _give(folder: int, place: str, owner: Owner, check_mode: bool, outcome: Outcome) -> None:
    """Give a directory in a place that only root controls to the app's user."""
    found = os.fstat(folder)
    if (found.st_uid, found.st_gid) != (owner.uid, owner.gid):
        outcome.changes.append(f"give {place} to {owner.name}")
        if not check_mode:
            os.fchown(folder, owner.uid, owner.gid)
    if stat.S_IMODE(found.st_mode) != MODE:
        outcome.changes.append(f"set the mode of {place} to {MODE:04o}")
        if not check_mode:
            os.fchmod(folder, MODE)


def _make_below(
    top: int, where: str, items: Sequence[tuple[str, bool]], owner: Owner, check_mode: bool
) -> Outcome:
    """Create directories as the app's user; the app creates files itself."""
    outcome = Outcome()
    for path, file in items:
        folders = path.split("/")
        if file:
            name = folders.pop()
        folder: int | None = os.dup(top)
        place = where
        try:
            for depth, part in enumerate(folders):
                place = os.path.join(place, part)
                if folder is None:
                    # Check mode: its parent would have been created.
                    if f"create {place}" not in outcome.changes:
                        outcome.changes.append(f"create {place}")
                    continue
                is_last = depth == len(folders) - 1 and not file
                below = _enter(folder, part, place, is_last, owner, check_mode, outcome)
                os.close(folder)
                folder = below
            if file and folder is not None:
                _look_at_file(folder, name, os.path.join(place, name), outcome)
        finally:
            if folder is not None:
                os.close(folder)
    return outcome


def _enter(
    folder: int,
    name: str,
    place: str,
    is_last: bool,
    owner: Owner,
    check_mode: bool,
    outcome: Outcome,
) -> int | None:
    """Open a directory, and create it if it is missing; V(None) if check mode does not create it."""
    is_new = False
    try:
        below = os.open(name, untrusted.FOLDER, dir_fd=folder)
    except FileNotFoundError:
        if f"create {place}" not in outcome.changes:
            outcome.changes.append(f"create {place}")
        if check_mode:
            return None
        os.mkdir(name, 0o700, dir_fd=folder)
        below = os.open(name, untrusted.FOLDER, dir_fd=folder)
        is_new = True
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.ENOTDIR):
            raise
        raise _in_the_way(folder, name, place) from None
    try:
        found = os.fstat(below)
        if found.st_uid != owner.uid:
            raise UntrustedError(
                f"{place} belongs to {untrusted.user(found.st_uid)} and not to {owner.name}, and root changes "
                f"nothing where the app can; see what is in it, then: chown -h {owner.name}: {place}"
            )
        has_mode = stat.S_IMODE(found.st_mode) == MODE and found.st_gid == owner.gid
        if (is_new or is_last) and not has_mode:
            if not is_new:
                outcome.changes.append(f"set the mode of {place} to {MODE:04o}")
            if not check_mode:
                os.fchown(below, -1, owner.gid)
                os.fchmod(below, MODE)
    except BaseException:
        os.close(below)
        raise
    return below


def _in_the_way(folder: int, name: str, place: str) -> UntrustedError:
    found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    if stat.S_ISLNK(found.st_mode):
        target = untrusted.printable(os.readlink(name, dir_fd=folder))
        return UntrustedError(
            f"{place} is a symbolic link to {target}, made by {untrusted.user(found.st_uid)}, where a directory is "
            "expected, and root does not follow it; find out who made it, and remove it. To keep this on a data "
            "disk, mount the disk there, or have root make the app's whole directory a link."
        )
    return UntrustedError(
        f"{place} is {untrusted.kind(found.st_mode)} where a directory is expected; move it away, and run this "
        "again."
    )


def _look_at_file(folder: int, name: str, place: str, outcome: Outcome) -> None:
    """Check the place of a file. The app creates it; earlier versions created a directory instead."""
    try:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return
    if stat.S_ISREG(found.st_mode):
        return
    if not stat.S_ISDIR(found.st_mode):
        raise UntrustedError(
            f"{place} is {untrusted.kind(found.st_mode)} where a file is expected; find out who made it, and "
            "remove it."
        )
    below = os.open(name, untrusted.FOLDER, dir_fd=folder)
    try:
        is_empty = not os.listdir(below)
    finally:
        os.close(below)
    if is_empty:
        outcome.warnings.append(
            f"{place} is an empty directory, and the app may expect a file; if it does, remove the directory: "
            f"rmdir {place}. If it is meant, end its name in flask_app_shared_paths with a slash."
        )


def _as_user(owner: Owner, act: Any) -> Outcome:
    """Call a function in a child with the app's user's rights on files, and return its outcome.

    The child's real user stays root, so that the app cannot send it a signal.

    @raises UntrustedError: raised by the child, or if it did not end in time
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reader)
            answer = json.dumps(_answer(owner, act)).encode("utf-8", "surrogateescape")
            with os.fdopen(writer, "wb") as stream:
                stream.write(answer)
        finally:
            os._exit(0)
    os.close(writer)
    try:
        answer = _receive(reader)
    finally:
        os.close(reader)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    result = json.loads(answer or "{}")
    if "changes" not in result:
        raise UntrustedError(
            result.get("error")
            or f"The directories of {owner.name} were not made within {CHILD_SECONDS:g} s: their file system does "
            "not answer; see what is mounted there."
        )
    return Outcome(result["changes"], result["warnings"])


def _answer(owner: Owner, act: Any) -> dict[str, Any]:
    try:
        os.umask(0o077)
        if os.geteuid() != owner.uid:
            os.setgroups(owner.groups)
            os.setegid(owner.gid)
            os.seteuid(owner.uid)
        outcome = act()
    except OSError as error:
        why = str(error) if isinstance(error, UntrustedError) else _words(error, owner)
        return {"error": why}
    return {"changes": outcome.changes, "warnings": outcome.warnings}


def _words(error: OSError, owner: Owner) -> str:
    place = f": {error.filename}" if error.filename else ""
    return (
        f"{owner.name} cannot make its directories ({error.strerror}{place}); root does not make them where the "
        "app can replace them. Run this with become, and give the directory above to the app's user."
    )


def _receive(reader: int) -> bytes:
    """Return the child's response, or b"" after its timeout."""
    answer = b""
    while len(answer) < MAX_ANSWER_BYTES:
        ready, _writers, _errors = select.select([reader], [], [], CHILD_SECONDS)
        chunk = os.read(reader, 1 << 16) if ready else b""
        if not chunk:
            return answer if ready else b""
        answer += chunk
    return b""
