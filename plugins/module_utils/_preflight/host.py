# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check whether a host can take a release. The checks are pure; a few functions read the host.

A rollout that fails in the middle is costly. So preflight checks all that can be known before,
and reports all errors together.
"""

from __future__ import annotations

import json
import os
import pwd
import re
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .._errors import PreflightError
from .._front import config

# Debian reserves lower ids for system users (Debian policy 9.2.2). Other distributions do the same.
SYSTEM_UIDS = 100
TARGET = ("python_version", "python_tag", "machine", "libc")
DESCRIBE_PYTHON = """
import glob, importlib, json, platform, re, subprocess, sys
def lacks(name):
    try:
        importlib.import_module(name)
    except ImportError:
        return True
# pip needs distutils before Python 3.10, and Debian keeps it apart.
wanted = ["venv"] + (["distutils.cmd"] if sys.version_info < (3, 10) else [])
libc = "-".join(filter(None, platform.libc_ver()))
for loader in [] if libc else glob.glob("/lib/ld-musl-*.so.1"):
    said = subprocess.run([loader], stderr=subprocess.PIPE).stderr.decode()
    libc = "musl-" + "".join(re.findall(r"Version (\\S+)", said))
tag = {"cpython": "cp", "pypy": "pp"}.get(sys.implementation.name, sys.implementation.name)
print(json.dumps({
    "python_version": platform.python_version(),
    "python_tag": "%s%d%d" % ((tag,) + tuple(sys.version_info[:2])),
    "machine": platform.machine(),
    "libc": libc,
    "lacks": [name for name in wanted if lacks(name)],
}))
"""


def check_python(found: Mapping[str, Any], minimum: str, path: str) -> None:
    def number(version: str) -> list[int]:
        return [int(part) for part in re.findall(r"\d+", version)[:2]]

    if number(found["python_version"]) < number(minimum):
        raise PreflightError(
            f"{path} is {found['python_version']}, and {minimum} or newer is wanted; name a newer "
            "interpreter of the host."
        )
    if found["lacks"]:
        raise PreflightError(
            f"{path} lacks {' and '.join(found['lacks'])} of the standard library; install the whole Python "
            "(on Debian the package python3, not only python3-minimal, and python3-distutils with 3.9)."
        )


def check_user(name: str, uid: int | None) -> None:
    """Refuse a user of the system, for example C(bin) or C(backup), as the app's user."""
    if uid is not None and uid < SYSTEM_UIDS:
        raise PreflightError(
            f"{name} is a user of the system itself (uid {uid}) on this host; give the app another name, or "
            "name another user in flask_app_user."
        )


def user_id(name: str) -> int | None:
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        return None


def check_disk(path: str, free_mb: int, wanted_mb: int) -> None:
    if free_mb < wanted_mb:
        raise PreflightError(
            f"{path} has {free_mb} MB free, {wanted_mb} are wanted; free some, or lower it."
        )


def check_clock(skew: float, allowed: float) -> None:
    if abs(skew) > allowed:
        direction = "ahead of" if skew > 0 else "behind"
        raise PreflightError(
            f"this host's is {abs(skew):.0f} s {direction} the controller's, {allowed:g} s are allowed: "
            "sessions, certificates and histories would be wrong; set it right, e.g. timedatectl set-ntp "
            "true."
        )


def check_port(port: int, holders: Iterable[str], owners: Iterable[str]) -> None:
    """Refuse a port that another program uses.

    @param holders: the listening programs, as C(program (pid N))
    @param owners: the programs that may use it
    """
    names = {holder: holder.partition(" ")[0] for holder in holders}
    if names and not set(names.values()) & set(owners):
        raise PreflightError(
            f"{port} is taken by {', '.join(names)}; stop it, or choose another port."
        )


def check_listens(
    requested: Sequence[config.Listen],
    servers: Sequence[config.Server],
    running: Sequence[config.Listen],
    own: str,
    default_site: str,
) -> None:
    """Refuse addresses that another nginx file configures, or that a reload cannot bind.

    @param running: the addresses on which nginx listens now
    @param own: the app's own file
    """
    verdict = config.evaluate(servers, requested, own, default_site)
    if verdict.problem:
        raise PreflightError(verdict.problem)
    clash = config.clash(running, requested)
    if clash:
        theirs, ours = clash
        raise PreflightError(
            f"nginx listens on {theirs.text} and cannot also bind {ours.text} at a reload; choose another port, or "
            "stop nginx on this host before the run (systemctl stop nginx), which interrupts its users."
        )


def port_number(value: Any) -> int:
    if not re.fullmatch(r"\d{1,5}", str(value)) or not 0 < int(value) < 65536:
        raise PreflightError(f"{value!r} is no port; wanted 1 to 65535.")
    return int(value)


def describe_python(path: str) -> dict[str, Any]:
    """Return which wheels an interpreter accepts. It can be another one than this process's."""
    try:
        done = subprocess.run(
            [path, "-c", DESCRIBE_PYTHON], capture_output=True, text=True, check=True, timeout=30
        )
        found: dict[str, Any] = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise PreflightError(
            f"{path} does not run ({error}); install Python 3.9 or newer on the host, or name where it is."
        ) from error
    return found


def free_mb(path: str) -> int:
    """Return the free megabytes of the file system of C(path), which need not exist."""
    path = os.path.abspath(path)
    while not os.path.exists(path):
        path = os.path.dirname(path)
    room = os.statvfs(path)
    return room.f_bavail * room.f_frsize // 10**6
