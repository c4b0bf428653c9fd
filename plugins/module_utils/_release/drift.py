# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Detect drift: fingerprints of the state that a run sets, and their differences."""

from __future__ import annotations

import glob
import hashlib
import json
import os
from collections.abc import Iterator, Mapping

from .layout import Layout

LIVE = "live release"
CODE = ("app", "lib")


def fingerprint(layout: Layout, live: str | None) -> dict[str, str]:
    """Return the state that a run sets, by name: the live release, its files, the units and the front.

    The app's code is compared by names, sizes and times, all else by content.
    """
    found = {LIVE: live or "none"}
    if live:
        folder = layout.release(live)
        for path in (os.path.join(folder, "env"), *glob.glob(os.path.join(folder, "config", "*"))):
            found[os.path.relpath(path, folder)] = _content(path)
        for part in CODE:
            found[part] = _times(os.path.join(folder, part))
    for path in system_files(layout):
        found[path] = _content(path)
    return found


def system_files(layout: Layout) -> Iterator[str]:
    """Yield the files outside of the app's own folder that a release needs: units and front."""
    units = os.path.join(layout.etc, "systemd", "system")
    for unit in (f"{layout.name}@.service", f"{layout.name}@.socket", f"{layout.name}.service"):
        yield os.path.join(units, unit)
        yield from sorted(glob.glob(os.path.join(units, f"{unit}.d", "*.conf")))
    front = os.path.join(layout.etc, "nginx", "conf.d", f"{layout.name}.conf")
    if os.path.exists(front):
        yield front


def _content(path: str) -> str:
    try:
        with open(path, "rb") as stream:
            return hashlib.sha256(stream.read()).hexdigest()[:16]
    except OSError:
        return "none"


def _times(folder: str) -> str:
    digest = hashlib.sha256()
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        for name in sorted(files):
            path = os.path.join(place, name)
            stat = os.lstat(path)
            digest.update(f"{path}\0{stat.st_size}\0{stat.st_mtime_ns}\0".encode(errors="replace"))
    return digest.hexdigest()[:16]


def differences(left: Mapping[str, str] | None, found: Mapping[str, str]) -> list[str]:
    """Return the names of the differences, sorted; [] without an earlier run.

    Another live release has other files, so then only the release is returned.
    """
    if left is None:
        return []
    if left.get(LIVE) != found.get(LIVE):
        return [LIVE]
    return sorted(name for name in {*left, *found} if left.get(name) != found.get(name))


def read(layout: Layout) -> dict[str, str] | None:
    """Return the fingerprints of the last run, or V(None) if there was none."""
    try:
        with open(layout.left, encoding="utf-8") as stream:
            left = json.load(stream)
    except (OSError, ValueError):
        return None
    return left if isinstance(left, dict) else None


def write(layout: Layout, found: Mapping[str, str]) -> None:
    partial = f"{layout.left}.new"
    # Only for root: one of the fingerprints is of the environment, which has secrets.
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        json.dump(found, stream, indent=2, sort_keys=True)
        stream.write("\n")
    os.replace(partial, layout.left)
