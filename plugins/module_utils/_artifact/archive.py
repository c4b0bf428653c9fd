# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The archives of a release: written once on the controller, unpacked on every host.

    app/               the source, absent if there is none
    lib/               the app itself, installed from its wheel, if it is a Python project
    requirements.lock  name==version and hash of each wheel that the app needs
    archive.json       a manifest: name, version, python_tag, digest, wheels

The wheels have their own archive, for hosts without a venv of this lock:

    wheels/            every wheel that the app needs, each with its line in requirements.lock
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import posixpath
import re
import shutil
import tarfile
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Callable

from .._errors import ArchiveError
from .._system import untrusted

MANIFEST = "archive.json"
LOCK = "requirements.lock"


@dataclass(frozen=True)
class Manifest:
    """The content of an archive. C(digest) identifies source and locked wheels, C(wheels) is their archive's name."""

    name: str
    version: str
    python_tag: str
    digest: str
    wheels: str

    @classmethod
    def read(cls, archive: str) -> Manifest:
        try:
            with tarfile.open(archive, "r:") as tar:
                member = tar.extractfile(MANIFEST)
                if member is None:
                    raise KeyError(MANIFEST)
                return cls(**json.load(member))
        except (OSError, tarfile.TarError, KeyError, TypeError, ValueError) as exc:
            raise ArchiveError(
                f"{archive} is not an archive of this collection ({exc}). Build it again."
            ) from exc


def file_digest(path: str) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        for block in iter(lambda: stream.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def tree_digest(root: str) -> str:
    """Digest only names, contents, links and executable bits below C(root).

    Times and owners are left out, so two checkouts of the same source are the same. Two trees with the same digest are
    the same: no path has a NUL byte, and the length of a target with a line break precedes it.
    """
    digest = hashlib.sha256()
    for path in sorted(_walk(root)):
        full = os.path.join(root, path)
        if os.path.islink(full):
            target = os.readlink(full)
            what = f"link\0{len(target)}\0{target}" if "\n" in target else f"link {target}"
        else:
            what = ("exec " if os.access(full, os.X_OK) else "file ") + file_digest(full)
        digest.update(f"{path}\0{what}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _walk(root: str) -> Iterable[str]:
    for folder, folders, files in os.walk(root):
        links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
        for name in files + links:
            yield os.path.relpath(os.path.join(folder, name), root)


def lock_line(wheel: str, digest: str) -> str:
    """Return the requirement that only this wheel satisfies.

    The first two fields of the file name are distribution and version, by the binary
    distribution format (PEP 427).
    """
    distribution, version = wheel.split("-")[:2]
    name = re.sub(r"[-_.]+", "-", distribution).lower()
    return f"{name}=={version} --hash=sha256:{digest}"


def write(archive: str, folder: str, manifest: Manifest | None = None) -> None:
    """Pack C(folder) atomically and reproducibly: the same content gives the same bytes."""
    partial = f"{archive}.{os.getpid()}"
    with tarfile.open(partial, "w", format=tarfile.PAX_FORMAT) as tar:
        if manifest:
            text = json.dumps(asdict(manifest), sort_keys=True).encode()
            info = tarfile.TarInfo(MANIFEST)
            info.size = len(text)
            tar.addfile(_anonymous(info), io.BytesIO(text))
        for name in sorted(os.listdir(folder)):
            tar.add(os.path.join(folder, name), name, filter=_anonymous)
    os.replace(partial, archive)


def _anonymous(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.mtime = 0
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    info.mode = 0o755 if info.isdir() or info.mode & 0o100 else 0o644
    return info


def reject_reason(name: str, kind: str, target: str = "") -> str | None:
    """Return why a member of an archive must not be unpacked, or V(None).

    Each member is checked by itself; C(judge) also compares them.

    @param kind: C(file), C(dir), C(link) for a symbolic link, or any other value
    @param target: the target of a symbolic link
    """
    if kind not in ("file", "dir", "link"):
        return f"{name} is neither file, directory nor symbolic link"
    if posixpath.isabs(name) or ".." in name.split("/"):
        return f"{name} leaves the release"
    if "\0" in name + target or posixpath.normpath(name) != name or name == ".":
        return f"{name!r} is not a normalized name"
    if kind == "link":
        place = posixpath.normpath(posixpath.join(posixpath.dirname(name), target))
        if posixpath.isabs(target) or place == ".." or place.startswith("../"):
            return f"{name} points out of the release, to {target}"
    return None


def check_members(members: Sequence[tuple[str, str, str]]) -> str | None:
    """Return why members must not be unpacked together, or V(None).

    A path is resolved as the kernel does: a part that is a link leads elsewhere than its text implies. The same is true
    of C(..) after a part that is not a directory yet.

    @param members: name, kind and target of each, as arguments of C(reject_reason)
    """
    kinds: dict[str, str] = {}
    for name, kind, target in members:
        why = reject_reason(name, kind, target)
        if why:
            return why
        if name in kinds:
            return f"{name} is in it twice"
        kinds[name] = kind
    folders = {name for name, kind in kinds.items() if kind == "dir"}
    for name in kinds:
        for parent in _parents(name):
            if kinds.get(parent, "dir") != "dir":
                what = "a symbolic link" if kinds[parent] == "link" else "a file"
                return f"{name} lies behind {what}, {parent}"
            folders.add(parent)
    for name, kind, target in members:
        why = _led_astray(name, target, kinds, folders) if kind == "link" else None
        if why:
            return why
    return None


def _parents(name: str) -> list[str]:
    return [name[:at] for at, char in enumerate(name) if char == "/"]


def _led_astray(
    name: str, target: str, kinds: Mapping[str, str], folders: Collection[str]
) -> str | None:
    """Return why the target of a link differs from its text."""
    place = name.split("/")[:-1]
    steps = [step for step in target.split("/") if step not in ("", ".")]
    for number, step in enumerate(steps):
        here = "/".join(place)
        if step == "..":
            if place and here not in folders:
                return f"{name} points to {target}, and {here} is not a directory of it"
            if not place:
                return f"{name} points out of the release, to {target}"
            place.pop()
            continue
        place.append(step)
        here = "/".join(place)
        if kinds.get(here) == "link" and number < len(steps) - 1:
            return f"{name} points to {target}, through the symbolic link {here}"
    return None


def unpack(archive: str, folder: str) -> None:
    """Unpack into C(folder), completely or not at all: every member is checked before the first is written.

    Nothing outside of it changes with any content of the archive. Each file is created below a descriptor of its
    directory, no link is followed, and links are created last.
    """
    try:
        # The format of C(write). A compressed archive can have any size when it is unpacked.
        with tarfile.open(archive, "r:") as tar:
            members = tar.getmembers()
            why = check_members(
                [(member.name, _kind(member), member.linkname) for member in members]
            )
            why = why or _filtered(members, folder)
            if why:
                raise ArchiveError(f"{archive} was refused: {why}.")
            os.makedirs(folder, exist_ok=True)
            root = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                for member in sorted(members, key=tarfile.TarInfo.issym):
                    _put(tar, _anonymous(member), root)
            finally:
                os.close(root)
    except (OSError, tarfile.TarError) as exc:
        raise ArchiveError(f"{archive} cannot be unpacked: {exc}") from exc


def _filtered(members: Iterable[tarfile.TarInfo], folder: str) -> str | None:
    """Return the objection of Python's own filter to a member (PEP 706), if this Python has the filter."""
    data_filter = getattr(tarfile, "data_filter", lambda member, _folder: member)
    try:
        for member in members:
            data_filter(member, folder)
    except tarfile.TarError as exc:
        return str(exc).rstrip(".")
    return None


def _put(tar: tarfile.TarFile, member: tarfile.TarInfo, root: int) -> None:
    """Create one member below an open directory."""
    *parents, name = member.name.split("/")
    folder = os.dup(root)
    try:
        for part in [*parents, name] if member.isdir() else parents:
            with contextlib.suppress(FileExistsError):
                os.mkdir(part, 0o755, dir_fd=folder)
            below = os.open(part, untrusted.FOLDER, dir_fd=folder)
            os.close(folder)
            folder = below
        if member.isdir():
            os.fchmod(folder, member.mode)
        elif member.issym():
            os.symlink(member.linkname, name, dir_fd=folder)
        else:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            source = tar.extractfile(member)
            with open(os.open(name, flags, 0o600, dir_fd=folder), "wb") as stream:
                if source is not None:
                    shutil.copyfileobj(source, stream, 1 << 20)
                stream.flush()
                os.fchmod(stream.fileno(), member.mode)
                os.utime(stream.fileno(), (member.mtime, member.mtime))
    finally:
        os.close(folder)


def _kind(member: tarfile.TarInfo) -> str:
    tests: list[tuple[str, Callable[[], bool]]] = [
        # The archive of a sparse file does not contain the bytes that it uses on a disk.
        ("file", lambda: member.isreg() and not member.issparse()),
        ("dir", member.isdir),
        ("link", member.issym),
    ]
    return next((kind for kind, test in tests if test()), "other")
