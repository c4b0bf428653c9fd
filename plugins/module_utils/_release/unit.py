# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run commands in a release with the properties of the slot's unit, so that they never differ.

The installed unit is the only description of the slot: user, environment, limits and sandbox, with
the drop-ins of the host's team. Staging, migrations and C(release_exec) read it.
Parsing is pure; C(read) calls systemctl.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator, Mapping

from .._errors import UnitError
from .._system import process
from . import layout as release_layout

# The slot of a command. The app finds it in EVENKEEL_SLOT.
NO_SLOT = "none"
_LIFE = "it is about the life of a service; a command is run once"
_STREAMS = "the output of a command goes to Ansible"
_KILL = "what a command leaves behind is killed at once"
# Directives of the slot that a command does not get, each with the reason. All others are passed on,
# including unexpected ones: systemd.exec(5) and systemd.resource-control(5) in full.
NOT_PASSED: Mapping[str, str] = {
    **dict.fromkeys(
        [
            *("Type", "ExitType", "RemainAfterExit", "GuessMainPID", "PIDFile", "BusName"),
            *("ExecStart", "ExecStartPre", "ExecStartPost", "ExecCondition", "ExecReload"),
            *("ExecStop", "ExecStopPost", "RestartSec", "RestartSteps", "RestartMaxDelaySec"),
            *("RestartMode", "RestartKillSignal", "TimeoutStartSec", "TimeoutStopSec"),
            *("TimeoutAbortSec", "TimeoutSec", "TimeoutStartFailureMode"),
            *("TimeoutStopFailureMode", "RuntimeMaxSec", "RuntimeRandomizedExtraSec"),
            *("WatchdogSec", "Restart", "SuccessExitStatus", "RestartPreventExitStatus"),
            *("RestartForceExitStatus", "NonBlocking", "NotifyAccess", "Sockets"),
            *("FileDescriptorStoreMax", "FileDescriptorStorePreserve", "USBFunctionDescriptors"),
            *(
                "USBFunctionStrings",
                "OOMPolicy",
                "OpenFile",
                "ReloadSignal",
                "ReloadLimitIntervalSec",
            ),
            *("RootDirectoryStartOnly", "WatchdogSignal"),
        ],
        _LIFE,
    ),
    **dict.fromkeys(
        [
            *("StandardInput", "StandardOutput", "StandardError", "StandardInputText"),
            *("StandardInputData", "TTYPath", "TTYReset", "TTYVHangup", "TTYVTDisallocate"),
        ],
        _STREAMS,
    ),
    **dict.fromkeys(
        [
            *("KillMode", "KillSignal", "SendSIGHUP", "SendSIGKILL", "FinalKillSignal"),
        ],
        _KILL,
    ),
}
# The specifiers of systemd.unit(5) that do not depend on the unit, for a system unit.
_SPECIFIERS = {
    **{"t": "/run", "S": "/var/lib", "C": "/var/cache", "L": "/var/log", "E": "/etc"},
    **{"T": "/tmp", "V": "/var/tmp", "u": "root", "U": "0", "g": "root", "G": "0", "h": "/root"},
    "%": "%",
}


def read(layout: release_layout.Layout) -> str:
    """Return the slot's unit with its drop-ins, as systemd reads it.

    @raises UnitError: on a host without it
    """
    unit = layout.unit(NO_SLOT)
    shown = process.run(
        ["systemctl", "--no-ask-password", "--no-pager", "cat", unit],
        {"PATH": os.defpath, "LC_ALL": "C.UTF-8"},
    )
    if shown.returncode != 0:
        raise UnitError(
            f"{layout.name}@.service: systemctl cannot show this unit ({process.last_line(shown.stdout)}); "
            "run the playbook evenkeel.flask.site first."
        )
    return shown.stdout


def properties(text: str, layout: release_layout.Layout, folder: str) -> list[str]:
    """Return the C([Service]) section as properties of a command that runs in a release.

    @param text: a unit and its drop-ins
    @param folder: the release's; it replaces the link of the slot
    @raises UnitError: for a specifier that only systemd can resolve
    """
    specifiers = {
        **_SPECIFIERS,
        **{"i": NO_SLOT, "I": NO_SLOT, "p": layout.name, "P": layout.name, "j": layout.name},
        **{"n": layout.unit(NO_SLOT), "N": f"{layout.name}@{NO_SLOT}", "H": socket.gethostname()},
    }

    def resolve(match: re.Match[str]) -> str:
        if match[1] not in specifiers:
            raise UnitError(
                f"{layout.name}@.service: the specifier {match[0]} in '{name}={value}' is not "
                "supported in a slot's unit; write its value."
            )
        return specifiers[match[1]]

    found = []
    for name, value in assignments(text):
        if name not in NOT_PASSED:
            in_release = value.replace(layout.slot("%i"), folder)
            found.append(f"{name}={re.sub('%(.)', resolve, in_release)}")
    return found


def assignments(text: str, section: str = "Service") -> Iterator[tuple[str, str]]:
    """Yield names and values of a section, in order (systemd.syntax(7)): later ones add or replace."""
    here = False
    for line in _lines(text):
        if line.startswith("["):
            here = line == f"[{section}]"
        elif here and "=" in line:
            name, _sep, value = line.partition("=")
            yield name.strip(), value.strip()


def _lines(text: str) -> Iterator[str]:
    """Yield logical lines: comments are left out, and continued lines are joined by a space."""
    begun: list[str] = []
    for line in text.splitlines():
        line = line.strip()
        if line.startswith(("#", ";")):
            continue
        # Two backslashes are an escaped one.
        if (len(line) - len(line.rstrip("\\"))) % 2:
            begun.append(line[:-1])
        elif begun or line:
            yield " ".join([*begun, line])
            begun = []
    if begun:
        yield " ".join(begun)
