# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a command, and return the last line of its output."""

from __future__ import annotations

import contextlib
import glob
import os
import signal
import subprocess
import tempfile
import uuid
from collections.abc import Mapping, Sequence

from . import untrusted


def run(
    command: Sequence[str],
    environment: Mapping[str, str] | None = None,
    folder: str | None = None,
    timeout: float | None = None,
    stderr: int = subprocess.STDOUT,
) -> subprocess.CompletedProcess[str]:
    """Run a command as C(untrusted.run) does."""
    return untrusted.run(command, environment, folder, timeout, stderr)


def run_and_clean_up(
    command: Sequence[str], environment: Mapping[str, str], folder: str, timeout: float
) -> subprocess.CompletedProcess[str]:
    """As C(run), for a command that can leave processes behind: its own end counts, and they are killed.

    Such a process holds a pipe open, so the output goes to a file. Most stay in the group of the
    command. On Linux, one outside of the group is found by an inherited variable.

    @raises TimeoutExpired: if the command took longer, and was killed
    """
    mark = uuid.uuid4().hex
    variables = {"EVENKEEL_RUN": mark, **environment}
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            command,
            env=variables,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            process.wait(timeout)
        finally:
            _kill_all(process.pid, mark)
            process.wait()
        output.seek(0)
        text = output.read().decode("utf-8", "replace")
    return subprocess.CompletedProcess(command, process.returncode, text)


def _kill_all(group: int, mark: str) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)
    for path in glob.glob("/proc/[0-9]*/environ"):
        # Processes of other users cannot be read, and some end meanwhile.
        with contextlib.suppress(OSError), open(path, "rb") as stream:
            if f"EVENKEEL_RUN={mark}".encode() in stream.read().split(b"\0"):
                os.kill(int(path.split("/")[2]), signal.SIGKILL)


def last_line(output: str) -> str:
    """Return the last line with text: for a Python traceback, the error itself."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"
