# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tools that are compared, and where the two come from that are not in this repository."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
CACHE = HERE.parents[2] / ".cache" / "bench"
PYINFRA = "pyinfra==3.10.0"
ANSISTRANO = "https://github.com/ansistrano/deploy.git"
ANSISTRANO_TAG = "4.4.0"
# A network that drops packets never sends a refusal.
REACH_SECONDS = 120


@dataclass(frozen=True)
class Tool:
    """One way to release; C(command) is typed in the inventory's folder."""

    name: str
    what: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    # Whose virtual host nginx has while it is measured.
    front: str = "shop"


def playbook(name: str, what: str, folder: str, pipelining: bool, **environment: str) -> Tool:
    environment["ANSIBLE_STDOUT_CALLBACK"] = "ansible.builtin.default"
    environment["ANSIBLE_PIPELINING"] = str(pipelining)
    return Tool(name, what, ("ansible-playbook", str(HERE / folder / "site.yml")), environment)


PLAIN = playbook(
    "plain", "`serial: 1`: unarchive, pip, template, restart, `uri`", "plain", pipelining=False
)
PIPELINED = playbook("pipelined", "the same with pipelining", "plain", pipelining=True)
DRAINED = playbook(
    "drained", "hand-tuned: pipelining, no facts, HAProxy drained", "drained", pipelining=True
)
OURS = Tool(
    "evenkeel",
    "`evenkeel.flask.rollout`, with its gate",
    ("ansible-playbook", "evenkeel.flask.rollout", "-e", "rollout_bake_seconds=0"),
    front="storefront",
)
BACK = Tool(
    "rollback",
    "`evenkeel.flask.rollback`",
    ("ansible-playbook", "evenkeel.flask.rollback", "-e", "rollout_bake_seconds=0"),
    front="storefront",
)


def reach(*command: str) -> bool:
    """Whether a command that fetches something did."""
    try:
        subprocess.run(
            command,
            env={**os.environ, "GIT_TERMINAL_PROMPT": "0"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
            timeout=REACH_SECONDS,
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return True


def pyinfra(inventory: Path) -> Tool | None:
    venv = CACHE / PYINFRA
    made = reach(sys.executable, "-m", "venv", str(venv)) and reach(
        str(venv / "bin" / "pip"), "install", PYINFRA
    )
    if not made:
        return None
    command = (str(venv / "bin" / "pyinfra"), "-y", "--sudo", "--serial", str(inventory))
    return Tool(
        "pyinfra",
        f"{PYINFRA.replace('==', ' ')}, `--serial`",
        (*command, str(HERE / "pyinfra" / "deploy.py")),
    )


def ansistrano() -> Tool | None:
    """With the role from GitHub, or from the clone that ANSISTRANO names."""
    role = CACHE / ANSISTRANO_TAG / "ansistrano.deploy"
    source = os.environ.get("ANSISTRANO", ANSISTRANO)
    clone = ("git", "clone", "-q", "--depth=1", f"--branch={ANSISTRANO_TAG}", source, str(role))
    if not role.exists() and not reach(*clone):
        return None
    what = f"Ansistrano {ANSISTRANO_TAG}, `serial: 1`"
    return playbook(
        "ansistrano", what, "ansistrano", pipelining=False, ANSIBLE_ROLES_PATH=str(role.parent)
    )
