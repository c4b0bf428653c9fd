# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Static files where nginx finds them: C(/srv/<app>/static/<version><path of the URL>), compressed beside.

The version is the digest of the content, so a file is there once for all releases that have it, and
none is ever changed.
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
# Those of a listed file that decide where it is read and written.
FIELDS = ("url", "path", "version")
# Where a release has files for everybody; its environment, say, is beside them.
HOMES = ("app", "lib", "venv")
# Here lies an empty file for each that is published: nginx does not know which version a link without one means, and
# counts no request for it.
PUBLISHED = "published"
VERSION = re.compile(r"[0-9a-f]{16}")
# nginx has them compressed once and for all; pictures, fonts and films are already.
COMPRESSIBLE = (".css", ".html", ".js", ".json", ".map", ".mjs", ".svg", ".txt", ".xml")
WORTH_BYTES = 1024


def publish(layout: Layout, folder: str, listed: Iterable[Mapping[str, Any]]) -> None:
    """Put the files where nginx finds them, and note in the release which these are.

    @param folder: the release's
    @param listed: what evenkeel_static.py found
    @raises ArchiveError: for what lies outside the release, or is not what it is said to be
    """
    files = []
    # Whatever root's is: nginx runs as somebody else.
    umask = os.umask(0o022)
    try:
        for found in listed:
            try:
                place = _place(layout, found["version"], found["url"])
                if not os.path.exists(place):
                    _write(place, _content(folder, found["path"], found["version"]))
                _mark(layout, found["url"])
            except ValueError as exc:
                # A NUL byte, or half of a character.
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
    """Note that a path is a published file. Where another release has a folder, or a file, this one wins."""
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
            # Only where nothing is left in it.
            os.rmdir(folder)


def _content(folder: str, path: str, version: str) -> bytes:
    """What the app named is read as root, so it must be the release's own, and what it was said to be."""
    real = os.path.realpath(path)
    homes = [os.path.realpath(os.path.join(folder, home)) for home in HOMES]
    if not any(real.startswith(home + os.sep) for home in homes):
        raise ArchiveError(f"{path} is no file of the release, and is not given to everybody.")
    content = untrusted.read(real, untrusted.size(real))
    if not hashlib.sha256(content).hexdigest().startswith(version):
        raise ArchiveError(f"{path} is another file than a moment ago.")
    return content


def _write(place: str, content: bytes) -> None:
    """The file itself last: what is there is whole."""
    folder = os.path.dirname(place)
    os.makedirs(folder, exist_ok=True)
    if place.endswith(COMPRESSIBLE) and len(content) >= WORTH_BYTES:
        _put(f"{place}.gz", gzip.compress(content, mtime=0))
    _put(place, content)


def _put(place: str, content: bytes) -> None:
    partial = f"{place}.new"
    with open(partial, "wb") as stream:
        stream.write(content)
    os.replace(partial, place)


def prune(layout: Layout, releases: Iterable[str]) -> None:
    """Remove what no release refers to any more.

    @param releases: folders of those that stay
    """
    used, paths = {PUBLISHED}, set()
    for folder in releases:
        try:
            with open(os.path.join(folder, LIST), encoding="utf-8") as stream:
                files = json.load(stream)["files"]
        except FileNotFoundError:
            # It was made by a version of this collection that knew of none.
            continue
        used |= {file["version"] for file in files}
        paths |= {_path(file["url"]) for file in files}
    _unmark(layout, paths)
    root = layout.path("static")
    for version in os.listdir(root) if os.path.isdir(root) else ():
        if version not in used:
            shutil.rmtree(os.path.join(root, version))
