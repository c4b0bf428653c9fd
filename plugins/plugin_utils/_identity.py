# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Identify the run of Ansible, and detect whether another run still exists.

On the controller only.
"""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Mapping
from typing import Any

# Job variables in which AWX, and formerly Ansible Tower, pass the user that launched the job.
AWX_USERS = ("awx_user_name", "tower_user_name")
UNKNOWN = "unknown"


def identity(variables: Mapping[str, Any], pid: int | None = None) -> dict[str, str]:
    """Return the run, the user that started it, and its controller.

    @param pid: the process of C(ansible-playbook), whose children execute the tasks
    """
    pid = os.getppid() if pid is None else pid
    who = next((str(variables[name]) for name in AWX_USERS if variables.get(name)), None)
    return {
        "run": f"{_place()}/{pid}/{_started(pid)}",
        "who": who or _user(),
        "controller": socket.gethostname(),
    }


def is_gone(run: str) -> bool:
    """Return whether C(run) was a run of this controller and its process no longer exists."""
    place, _slash, rest = run.partition("/")
    pid, _slash, started = rest.partition("/")
    known = place == _place() and pid.isdigit() and started != UNKNOWN
    return known and _started(int(pid)) != started


def _place() -> str:
    """Return the scope in which a process id is unique.

    The same number in another container, or after a reboot, is another process.
    """
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as stream:
            boot = stream.read().partition("-")[0]
        return f"{boot}-{os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:
        return socket.gethostname()


def _started(pid: int) -> str:
    """Return the start time of a process in clock ticks (proc_pid_stat(5), field 22)."""
    if not os.path.exists("/proc/self/stat"):
        return UNKNOWN
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stream:
            return stream.read().rpartition(")")[2].split()[19]
    except OSError:
        return "never"


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # The user of a container can be without a name.
        return f"uid {os.getuid()}"
