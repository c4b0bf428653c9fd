# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which run of Ansible this is, and whether another one is still there.

On the controller only.
"""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Mapping
from typing import Any

# The names under which AWX, and what it was before, tell a job who launched it.
AWX_USERS = ("awx_user_name", "tower_user_name")
UNKNOWN = "unknown"


def identity(variables: Mapping[str, Any], pid: int | None = None) -> dict[str, str]:
    """The run, who started it, and where.

    @param pid: the process of C(ansible-playbook): tasks are carried out by its children
    """
    pid = os.getppid() if pid is None else pid
    who = next((str(variables[name]) for name in AWX_USERS if variables.get(name)), None)
    return {
        "run": f"{_place()}/{pid}/{_started(pid)}",
        "who": who or _user(),
        "controller": socket.gethostname(),
    }


def is_gone(run: str) -> bool:
    """Whether C(run) was one of this controller, and its process is there no more."""
    place, _slash, rest = run.partition("/")
    pid, _slash, started = rest.partition("/")
    known = place == _place() and pid.isdigit() and started != UNKNOWN
    return known and _started(int(pid)) != started


def _place() -> str:
    """Where a process's number means one process.

    The same number in another container, or after a reboot, is another process.
    """
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as stream:
            boot = stream.read().partition("-")[0]
        return f"{boot}-{os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:
        return socket.gethostname()


def _started(pid: int) -> str:
    """When the process was started, in ticks of the kernel (proc_pid_stat(5), field 22)."""
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
        # A container's user need not have a name.
        return f"uid {os.getuid()}"
