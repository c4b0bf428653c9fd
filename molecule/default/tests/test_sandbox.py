# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A command in a release has the sandbox of a slot: systemd reports the same for both units."""

from __future__ import annotations

import json
import subprocess

import pytest
from ansible_collections.evenkeel.flask.molecule.shared.testbed import wait_until
from ansible_collections.evenkeel.flask.plugins.module_utils._release import unit as release_unit

# They name the release, which is in no slot.
OF_THE_RELEASE = {"Environment", "EnvironmentFile", "WorkingDirectory"}
GO = "/srv/storefront/shared/instance/go"


@pytest.fixture(name="execute")
def _execute(fleet, host):
    """A function that starts a command in the live release; its output is available after its end."""

    def execute(command):
        release = host.slots[host.live_slot]
        arguments = {"name": "storefront", "release": release, "command": command}
        call = ["ansible", "-i", str(fleet.folder / "hosts.yml"), "app1", "--become", "--one-line"]
        return subprocess.Popen(
            [*call, "-m", "evenkeel.flask.release_exec", "-a", json.dumps(arguments)],
            stdout=subprocess.PIPE,
            text=True,
        )

    return execute


def properties(host, unit):
    shown = host.see.check_output(f"systemctl show --all {unit}")
    return dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)


def test_a_command_in_a_release_has_the_sandbox_of_a_slot(host, execute):
    listing = "systemctl list-units --plain --no-legend --state=running 'evenkeel-*.service'"
    host.see.check_output(f"rm -f {GO}")
    process = execute(f"sh -c 'until [ -e {GO} ]; do sleep 0.1; done'")
    try:
        wait_until(lambda: "until" in host.see.check_output(listing), "the command runs")
        unit = host.see.check_output(listing).split()[0]
        command = properties(host, unit)
        slot = properties(host, f"storefront@{host.live_slot}.service")
    finally:
        host.see.check_output(f"touch {GO}")
        process.communicate()
        host.see.check_output(f"rm -f {GO}")
    written = host.see.check_output("systemctl cat storefront@.service")
    names = {name for name, _value in release_unit.assignments(written)} - OF_THE_RELEASE
    names -= set(release_unit.NOT_PASSED)
    assert {"ProtectSystem", "SystemCallFilter", "UMask", "User"} <= names <= set(slot)
    names |= {name for name in slot if name.startswith("Limit")}
    assert {name: command[name] for name in names} == {name: slot[name] for name in names}


def test_a_process_that_a_command_leaves_behind_is_killed_and_the_command_succeeds(host, execute):
    left = (
        "import subprocess; subprocess.Popen(['sh', '-c', 'trap : TERM; exec -a left sleep 999'])"
    )
    process = execute(f'python -c "{left}"')
    output, _none = process.communicate()
    assert process.returncode == 0, output
    assert "left" not in host.see.check_output("ps -eo args").split()
