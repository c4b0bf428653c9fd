# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Create a venv only from an archive's wheels, without package index, pip and ensurepip.

Root creates it on the hosts, so no code of the wheels runs here.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable

from .. import _errors
from .._system import process
from . import archive, wheel

DONE = ".complete"


def is_complete(venv: str) -> bool:
    return os.path.exists(os.path.join(venv, DONE))


def create(python: str, venv: str, unpacked: str) -> None:
    """Create C(venv) from the wheels and the lock in C(unpacked).

    @raises ArchiveError: for a wheel that differs from the lock, and with the output of venv
    """
    wheels = wheel.locked(os.path.join(unpacked, "wheels"), os.path.join(unpacked, archive.LOCK))

    def fill() -> None:
        wheel.install(wheels, venv)
        # Not with the venv's own Python, which would read the .pth files of packages. A file for another version of
        # Python does not compile here, which is not a failure.
        process.run([python, "-I", "-m", "compileall", "-q", os.path.join(venv, "lib")])

    make(python, venv, fill)


def make(python: str, venv: str, fill: Callable[[], None]) -> None:
    """Create C(venv) without pip, and call C(fill).

    @raises ArchiveError: with the output of venv
    """
    if os.path.isdir(venv):
        shutil.rmtree(venv)
    try:
        _check(
            process.run([python, "-I", "-m", "venv", "--without-pip", venv]),
            f"{python} cannot make a venv",
        )
        fill()
        with open(os.path.join(venv, DONE), "w", encoding="utf-8"):
            pass
    except BaseException:
        # An incomplete venv would keep a full disk full.
        shutil.rmtree(venv, ignore_errors=True)
        raise


def _check(done: subprocess.CompletedProcess[str], what: str) -> None:
    if done.returncode != 0:
        raise _errors.ArchiveError(f"{what}: {process.last_line(done.stdout)}")
