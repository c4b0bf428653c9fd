# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Install wheels into a venv (PEP 427), each verified against the lock first. No code of a wheel runs.

Only the standard library does it, so root executes no code from a package index.
"""

from __future__ import annotations

import base64
import configparser
import csv
import email
import errno
import glob
import io
import lzma
import os
import re
import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from typing import IO

from .._errors import ArchiveError
from .._system import untrusted
from . import archive as artifact_archive

SCHEMES = ("purelib", "platlib", "scripts", "headers", "data")
INSTALLER = "evenkeel.flask\n"
SCRIPT = """\
{shebang}
import sys

from {module} import {first}

if __name__ == "__main__":
    sys.exit({attribute}())
"""
ENTRY = re.compile(r"([\w.]+)\s*:\s*([\w.]+)\s*(?:\[[^\]]*\])?")
# The kernel reads no more of a script's first line (man 2 execve).
MAX_SHEBANG_BYTES = 127
# The exceptions of zipfile for an archive that is damaged, encrypted or compressed in an unknown way, and
# those for its contents. An unknown compression is a NotImplementedError, which is a RuntimeError.
INVALID = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, RuntimeError),
    *(KeyError, ValueError, configparser.Error),
)
# The system's errors for a name that no file can have, or that another member has as a directory.
BAD_NAMES = (errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG)


def locked(wheels: str, lock: str) -> list[str]:
    """Return the wheels of the lock, in the order in which pip installs them.

    The invariant: each returned file has, byte for byte, the SHA-256 of its line in the lock. Other files in the folder
    are never opened as wheels.

    @raises ArchiveError: for a wheel that is missing or was changed
    """
    paths = sorted(glob.glob(os.path.join(glob.escape(wheels), "*.whl")))
    found = {
        artifact_archive.lock_line(os.path.basename(path), artifact_archive.file_digest(path)): path
        for path in paths
    }
    with open(lock, encoding="utf-8") as stream:
        lines = stream.read().splitlines()
    missing = [line.split(" ")[0] for line in lines if line not in found]
    if missing:
        raise ArchiveError(
            f"The archive's wheels do not install: no wheel of {', '.join(missing)} has the locked SHA-256; the archive was "
            "changed or is incomplete. Remove both archives of this release on the host, and run again."
        )
    # If two wheels have the same file, the last one wins, as with pip.
    return [found[line] for line in sorted(lines, reverse=True)]


def install(wheels: Iterable[str], venv: str) -> None:
    """Install wheels into a new venv, without pip and without running any of their code.

    @raises ArchiveError: for a wheel that is invalid, or that would write outside of the venv or over a file of it
    """
    (site,) = glob.glob(os.path.join(glob.escape(venv), "lib", "python*", "site-packages"))
    header = os.path.join(venv, "include", "site", os.path.basename(os.path.dirname(site)))
    places = {
        "purelib": site,
        "platlib": site,
        "scripts": os.path.join(venv, "bin"),
        "headers": header,
        "data": venv,
    }
    own = {
        os.path.join(place, name)
        for place, folders, names in os.walk(venv)
        for name in folders + names
    }
    for wheel in wheels:
        _install(wheel, venv, places, own)


def install_flat(wheel: str, folder: str) -> None:
    """Install a wheel into a directory on Python's path, as pip does with C(--target); without programs.

    @raises ArchiveError: as C(install)
    """
    os.makedirs(folder)
    places = {"purelib": folder, "platlib": folder, "data": folder}
    _install(wheel, folder, places, set())


def _install(wheel: str, root: str, places: Mapping[str, str], own: set[str]) -> None:
    try:
        with zipfile.ZipFile(wheel) as archive:
            _Installation(archive, wheel, root, places, own).run()
    except (*INVALID, OSError) as exc:
        if isinstance(exc, OSError) and exc.errno not in BAD_NAMES:
            raise
        raise ArchiveError(f"{os.path.basename(wheel)} is not a valid wheel: {exc}.") from exc


class _Installation:
    """The installation of one wheel into a venv."""

    def __init__(
        self,
        archive: zipfile.ZipFile,
        wheel: str,
        root: str,
        places: Mapping[str, str],
        own: set[str],
    ) -> None:
        """
        @param root: the directory that it must not leave
        @param places: a directory for each scheme; a member of another scheme is left out
        @param own: the files that it must not replace
        """
        self.archive = archive
        self.root = root
        self.places = places
        self.site = places["purelib"]
        self.own = own
        self.rows: dict[str, tuple[str, str]] = {}
        self.distribution = os.path.basename(wheel).split("-")[0]

    def run(self) -> None:
        about = self._about()
        metadata = email.message_from_bytes(self.archive.read(f"{about}/WHEEL"))
        if str(metadata["Wheel-Version"]).partition(".")[0] != "1":
            raise ValueError(f"its format is {metadata['Wheel-Version']}, and only 1 is known")
        for info in self.archive.infolist():
            if not info.is_dir() and info.filename != f"{about}/RECORD":
                self._extract(info)
        entries = f"{about}/entry_points.txt"
        if entries in self.archive.namelist() and "scripts" in self.places:
            self._write_scripts(self.archive.read(entries).decode("utf-8-sig"))
        self._write(os.path.join(self.site, about, "INSTALLER"), io.BytesIO(INSTALLER.encode()))
        self._write_record(os.path.join(self.site, about, "RECORD"))

    def _about(self) -> str:
        found = {
            name.split("/")[0]
            for name in self.archive.namelist()
            if name.split("/")[0].endswith(".dist-info")
        }
        if len(found) != 1:
            raise ValueError(f"it has {len(found)} .dist-info directories, and not one")
        return found.pop()

    def _extract(self, info: zipfile.ZipInfo) -> None:
        scheme, path = self._scheme(info.filename)
        if scheme not in self.places:
            return
        place = os.path.join(self.places[scheme], path)
        mode = info.external_attr >> 16
        executable = stat.S_ISREG(mode) and mode & 0o111 != 0
        with self.archive.open(info) as stream:
            if scheme != "scripts":
                self._write(place, stream, executable)
                return
            first = stream.readline()
            if first.startswith(b"#!python"):
                first = self._shebang().encode() + b"\n"
            self._write(place, io.BytesIO(first + stream.read()), executable=True)

    def _scheme(self, name: str) -> tuple[str, str]:
        """Return the scheme of a member, and its path in the scheme's directory."""
        if not name.startswith("/"):
            # Some tools write "./shop.py", and pip accepts it.
            name = "/".join(untrusted.parts(name))
        why = artifact_archive.reject_reason(name, "file")
        if why or "\\" in name or "\0" in name:
            raise ValueError(why or f"{name!r} is no portable path")
        top, _slash, rest = name.partition("/")
        if not top.endswith(".data") or not rest:
            return "purelib", name
        scheme, _slash, path = rest.partition("/")
        if scheme not in SCHEMES or not path:
            raise ValueError(f"{name} is of no known scheme")
        return scheme, os.path.join(self.distribution, path) if scheme == "headers" else path

    def _write(
        self,
        place: str,
        stream: IO[bytes],
        executable: bool = False,
    ) -> None:
        place = os.path.normpath(place)
        folder = os.path.dirname(place)
        inside = os.path.realpath(folder) + os.sep
        if not inside.startswith(os.path.realpath(self.root) + os.sep) or place in self.own:
            raise ValueError(
                f"it would replace {os.path.relpath(place, self.root)}, which is not its own"
            )
        os.makedirs(folder, exist_ok=True)
        if os.path.lexists(place):
            os.unlink(place)
        with open(place, "xb") as target:
            shutil.copyfileobj(stream, target, 1 << 20)
        os.chmod(place, 0o755 if executable else 0o644)
        digest = base64.urlsafe_b64encode(bytes.fromhex(artifact_archive.file_digest(place)))
        self.rows[place] = (f"sha256={digest.decode().rstrip('=')}", str(os.path.getsize(place)))

    def _shebang(self) -> str:
        python = os.path.join(self.places["scripts"], "python")
        if " " not in python and len(python.encode()) + 2 <= MAX_SHEBANG_BYTES:
            return f"#!{python}"
        # A shell accepts any path, and Python reads its line as a string.
        return f"#!/bin/sh\n'''exec' \"{python}\" \"$0\" \"$@\"\n' '''"

    def _write_scripts(self, text: str) -> None:
        entries = configparser.RawConfigParser(delimiters=("=",), strict=False)
        entries.optionxform = str  # type: ignore[assignment,method-assign]
        entries.read_string(text)
        for section in ("console_scripts", "gui_scripts"):
            for name, value in entries.items(section) if entries.has_section(section) else ():
                match = ENTRY.fullmatch(value.strip())
                if not match or "/" in name or name in (".", ".."):
                    raise ValueError(f"its entry point {name} = {value} cannot be read")
                module, attribute = match.groups()
                script = SCRIPT.format(
                    shebang=self._shebang(),
                    module=module,
                    first=attribute.split(".")[0],
                    attribute=attribute,
                )
                place = os.path.join(self.places["scripts"], name)
                self._write(place, io.BytesIO(script.encode()), executable=True)

    def _write_record(self, record: str) -> None:
        rows = [(os.path.relpath(path, self.site), *row) for path, row in self.rows.items()]
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerows([*sorted(rows), (os.path.relpath(record, self.site), "", "")])
        with open(record, "x", encoding="utf-8", newline="") as stream:
            stream.write(text.getvalue())
        os.chmod(record, 0o644)
