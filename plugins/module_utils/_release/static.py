# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Publish static files for nginx: C(/srv/<app>/static/<version><path of the URL>), with compressed copies.

The version is the digest of the content. So all releases with a file share it, and a file never
changes.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import os
import posixpath
import re
import shutil
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

from .._errors import ArchiveError
from .._system import untrusted
from .layout import Layout

LIST = "static.json"
# The fields of a listed file that determine where it is read and written.
FIELDS = ("url", "path", "version")
# The folders of a release with public files. Its environment, for example, is outside of them.
HOMES = ("app", "lib", "venv")
# The folder with an empty file for each published one. nginx does not know the version of a link without one, and
# does not count requests for it.
PUBLISHED = "published"
VERSION = re.compile(r"[0-9a-f]{16}")
# nginx serves compressed copies of these; pictures, fonts and films are compressed already.
COMPRESSIBLE = (".css", ".html", ".js", ".json", ".map", ".mjs", ".svg", ".txt", ".xml")
MIN_COMPRESSED_BYTES = 1024


def publish(layout: Layout, folder: str, listed: Iterable[Mapping[str, Any]]) -> None:
    """Copy the files to nginx's folder, and record them in the release.

    @param folder: the release's
    @param listed: the result of evenkeel_static.py
    @raises ArchiveError: for a file outside of the release, or with another digest than recorded
    """
    files = []
    # nginx runs as another user, so root's own umask must not apply.
    umask = os.umask(0o022)
    try:
        for found in listed:
            try:
                place = _place(layout, found["version"], found["url"])
                if not os.path.exists(place):
                    _write(place, _content(folder, found["path"], found["version"]))
                _mark(layout, found["url"])
            except ValueError as exc:
                # A NUL byte, or a lone surrogate.
                raise ArchiveError(f"{found['url']!r} is no place for a static file.") from exc
            files.append({name: value for name, value in found.items() if name != "path"})
    finally:
        os.umask(umask)
    with open(os.path.join(folder, LIST), "w", encoding="utf-8") as stream:
        json.dump({"files": files}, stream, indent=2, sort_keys=True)
        stream.write("\n")


def _place(layout: Layout, version: str, url: str) -> str:
    path = unquote(urlsplit(url).path)
    if not VERSION.fullmatch(version) or posixpath.normpath(path) != path or path[:1] != "/":
        raise ArchiveError(f"{url} is no place for a static file.")
    return layout.path("static", version, path.lstrip("/"))


def _path(url: str) -> str:
    return unquote(urlsplit(url).path).lstrip("/")


def _mark(layout: Layout, url: str) -> None:
    """Record that a path is published. It replaces a folder, or a file, of another release."""
    root = layout.path("static", PUBLISHED)
    place = os.path.join(root, _path(url))
    if os.path.isdir(place):
        shutil.rmtree(place)
    folder = os.path.dirname(place)
    while len(folder) > len(root):
        if os.path.isfile(folder):
            os.unlink(folder)
        folder = os.path.dirname(folder)
    os.makedirs(os.path.dirname(place), exist_ok=True)
    with open(place, "wb"):
        pass


def _unmark(layout: Layout, used: set[str]) -> None:
    root = layout.path("static", PUBLISHED)
    for folder, _folders, names in os.walk(root, topdown=False):
        for name in names:
            place = os.path.join(folder, name)
            if os.path.relpath(place, root) not in used:
                os.unlink(place)
        with contextlib.suppress(OSError):
            # Only if it is empty.
            os.rmdir(folder)


def _content(folder: str, path: str, version: str) -> bytes:
    """Read a file of the app as root. It must belong to the release, and have the recorded digest."""
    real = os.path.realpath(path)
    homes = [os.path.realpath(os.path.join(folder, home)) for home in HOMES]
    if not any(real.startswith(home + os.sep) for home in homes):
        raise ArchiveError(f"{path} is no file of the release, and is not given to everybody.")
    content = untrusted.read(real, untrusted.size(real))
    if not hashlib.sha256(content).hexdigest().startswith(version):
        raise ArchiveError(f"{path} is another file than a moment ago.")
    return content


def _write(place: str, content: bytes) -> None:
    """Write the compressed copy first and the file last, so that an existing file is complete."""
    folder = os.path.dirname(place)
    os.makedirs(folder, exist_ok=True)
    if place.endswith(COMPRESSIBLE) and len(content) >= MIN_COMPRESSED_BYTES:
        _put(f"{place}.gz", gzip.compress(content, mtime=0))
    _put(place, content)


def _put(place: str, content: bytes) -> None:
    partial = f"{place}.new"
    with open(partial, "wb") as stream:
        stream.write(content)
    os.replace(partial, place)


def prune(layout: Layout, releases: Iterable[str]) -> None:
    """Remove the files that no release uses any more.

    @param releases: folders of the remaining releases
    """
    used, paths = {PUBLISHED}, set()
    for folder in releases:
        try:
            with open(os.path.join(folder, LIST), encoding="utf-8") as stream:
                files = json.load(stream)["files"]
        except FileNotFoundError:
            # An older version of this collection created it, without static files.
            continue
        used |= {file["version"] for file in files}
        paths |= {_path(file["url"]) for file in files}
    _unmark(layout, paths)
    root = layout.path("static")
    for version in os.listdir(root) if os.path.isdir(root) else ():
        if version not in used:
            shutil.rmtree(os.path.join(root, version))
