# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make a venv from an archive's wheels alone: no package index, no pip and no ensurepip needed.

This file is private to the collection.
"""

from __future__ import annotations

import glob
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence

from ansible_collections.evenkeel.flask.plugins.module_utils import _archive

DONE = ".complete"


def run(
    command: Sequence[str],
    environment: Mapping[str, str] | None = None,
    folder: str | None = None,
    timeout: float | None = None,
    stderr: int = subprocess.STDOUT,
) -> subprocess.CompletedProcess[str]:
    """Run a command and keep all that it says, in one string.

    @param stderr: PIPE keeps what goes there apart
    @param environment: instead of our own
    @param folder: to run it in
    @param timeout: seconds that it may take
    @raises TimeoutExpired: when it took longer, and was killed
    """
    return subprocess.run(
        command,
        env=environment,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=stderr,
        encoding="utf-8",
        errors="replace",
        timeout=timeout,
        check=False,
    )


def is_complete(venv: str) -> bool:
    return os.path.exists(os.path.join(venv, DONE))


def create(python: str, venv: str, unpacked: str) -> None:
    """Make C(venv) from the wheels and the lock in C(unpacked).

    @raises ArchiveError: with what pip or venv said
    """
    wheels, lock = os.path.join(unpacked, "wheels"), os.path.join(unpacked, _archive.LOCK)
    options = ["--require-hashes", "--find-links", wheels, "--requirement", lock]
    make(python, venv, lambda: _pip(venv, unpacked, *options))


def make(python: str, venv: str, fill: Callable[[], None]) -> None:
    """Make C(venv) without pip, and have it filled.

    @raises ArchiveError: with what venv said
    """
    if os.path.isdir(venv):
        shutil.rmtree(venv)
    try:
        _check(run([python, "-m", "venv", "--without-pip", venv]), f"{python} cannot make a venv")
        fill()
        with open(os.path.join(venv, DONE), "w", encoding="utf-8"):
            pass
    except BaseException:
        # Half of one would keep a full disk full.
        shutil.rmtree(venv, ignore_errors=True)
        raise


def _pip(venv: str, unpacked: str, *args: str) -> None:
    pip = glob.glob(os.path.join(unpacked, "wheels", "pip-*.whl"))[0]
    command = [os.path.join(venv, "bin", "python"), os.path.join(pip, "pip"), "--isolated"]
    options = [
        "--disable-pip-version-check",
        "--no-cache-dir",
        "--no-index",
        "--no-deps",
        "--quiet",
    ]
    _check(run([*command, "install", *options, *args]), "The archive's wheels do not install")


def _check(done: subprocess.CompletedProcess[str], what: str) -> None:
    if done.returncode != 0:
        raise _archive.ArchiveError(f"{what}: {last_line(done.stdout)}")


def last_line(output: str) -> str:
    """The last line that says something: for a Python traceback, the error itself."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"
