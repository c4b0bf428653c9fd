# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find the property of the slot's unit that causes an app's error. Pure."""

from __future__ import annotations

import re

from .._system import process

READ_ONLY = re.compile(r"Read-only file system(?:: '(?P<path>[^']*)')?")
IN_RELEASE = re.compile(r"/releases/[^/]+/(?:app|lib)/(?P<path>.+)")
# A pattern in the last line of an error, and the line of a drop-in that lifts the restriction, see
# systemd.exec(5). The first match wins, so the more specific ones come first.
RESTRICTIONS: tuple[tuple[re.Pattern[str], str], ...] = (
    (
        re.compile(
            r"write\+execute|executable (stack|memory)|failed to map segment|^MemoryError"
            r"|mmap.*(\n.*)?Operation not permitted"
        ),
        "MemoryDenyWriteExecute=no",
    ),
    (re.compile(r"'/proc/\d+"), "ProtectProc=default"),
    (re.compile(r"'/proc/(?!self\b)"), "ProcSubset=all"),
    (re.compile(r"'/(home|root|run/user)\b"), "ProtectHome=read-only"),
    (re.compile(r"'/dev/(?!shm\b)"), "PrivateDevices=no"),
    (
        re.compile(r"Address family not supported|\bErrno 97\b"),
        "RestrictAddressFamilies=AF_NETLINK (or the family that the app needs)",
    ),
    (re.compile(r"not allowed to raise maximum limit"), "SystemCallFilter=@resources"),
    (
        re.compile(r"Operation not permitted|\bErrno 1\b"),
        "SystemCallFilter=@privileged (or @resources, or one system call)",
    ),
)


def remedy(output: str, app: str) -> str | None:
    """Return the remedy for an error that the sandbox of a slot can have caused.

    @param output: the output of a command in a release before it failed
    @param app: the app's name
    """
    error = process.last_line(output)
    read_only = READ_ONLY.search(error)
    if read_only:
        path = read_only["path"] or ""
        own = IN_RELEASE.search(path)
        if own:
            return (
                "a release is read-only, so name a folder that the app writes to in "
                f"flask_app_shared_paths (here: {own['path']} or a folder above it)."
            )
        return _drop_in(app, f"ReadWritePaths={path or '<folder>'}")
    # The failed line of code precedes it.
    lines = [line for line in output.splitlines() if line.strip(" ^~")]
    context = "\n".join([*lines[-2:-1], error])
    line = next(
        (
            line
            for pattern, line in RESTRICTIONS
            if pattern.search(error) or pattern.search(context)
        ),
        None,
    )
    return _drop_in(app, line) if line else None


def _drop_in(app: str, line: str) -> str:
    return (
        "the sandbox of a slot can be the cause. If the app needs this, write "
        f"'[Service]' and '{line}' to /etc/systemd/system/{app}@.service.d/sandbox.conf on each host, "
        "run systemctl daemon-reload, and roll out again."
    )
