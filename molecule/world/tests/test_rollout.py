# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fault occurs during a rollout, on the host in progress or around it.

Users at the balancer see errors only if no host could serve. The run ends with a message about the fault, every
host serves a good release, and the next run completes.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess

import pytest
from ansible_collections.evenkeel.flask.molecule.shared.testbed import Host, wait_until

SETTINGS = {
    "rollout_min_free_mb": 20,
    # Times are not valid on a machine that is busy with the faults.
    "rollout_checks": {"response_times": {"enabled": False}},
}
HANGS = 300
SMALL = """
set -e
mkdir -p /small
mount -t tmpfs -o size=$(($(du -sm /srv/storefront | cut -f 1) + 100))m small /small
cp -a /srv/storefront/. /small/
mount --move /small /srv/storefront
"""
AS_BEFORE = """
set -e
mkdir -p /small
mount --move /srv/storefront /small
rm -rf /srv/storefront
cp -a /small /srv/storefront
umount -l /small
"""


class Fault:
    """A fault on or around a host, with its repair.

    C(fails) are the targets that may lose requests. C(says) is the message of a run that notices it.
    """

    fails: tuple[str, ...] = ()
    says = r"app1.*(it was lost|UNREACHABLE)"
    # In the host, in the very moment; what comes from without comes as soon as it was seen.
    within = ""

    def prepare(self, fleet, host: Host) -> None:
        """The preconditions of the rollout."""

    def happen(self, fleet, host: Host) -> None:
        """The external event."""

    def repair(self, fleet, host: Host) -> None:
        """Until it is as it was."""


class CutOff(Fault):
    fails = ("app1",)
    rules = (["INPUT", "!", "-i", "lo"], ["OUTPUT", "!", "-o", "lo"])

    def happen(self, fleet, host):
        for rule in self.rules:
            host.in_its("-n", "iptables", "-A", *rule, "-j", "DROP")

    def repair(self, fleet, host):
        for rule in self.rules:
            host.in_its("-n", "iptables", "-D", *rule, "-j", "DROP")


class DiskFull(Fault):
    says = r"app1.*(No space left on device|is full)"
    within = "cat /dev/zero > /srv/storefront/filling 2> /dev/null || true"

    def prepare(self, fleet, host):
        host.in_its("-m", "sh", "-c", SMALL)

    def repair(self, fleet, host):
        host.see.check_output("rm -f /srv/storefront/filling")


class Reboot(Fault):
    fails = ("app1",)

    def happen(self, fleet, host):
        host.restart()


class NoSsh(Fault):
    within = "systemctl stop ssh; pkill -KILL -x sshd"

    def repair(self, fleet, host):
        host.see.check_output("systemctl start ssh")


class Restart(Fault):
    """A restart of a service around the hosts; a run that does not notice it has no message."""

    says = r"refused on app|FAILED"

    def __init__(self, unit, fails=()):
        self.unit = unit
        self.fails = fails

    def happen(self, fleet, host):
        fleet.props["data"].see.check_output(f"systemctl restart {self.unit}")


# A database that restarts serves no host.
FAULTS = {
    "the host is cut off": CutOff(),
    "the host's disk fills": DiskFull(),
    "the host reboots": Reboot(),
    "the host's sshd dies": NoSsh(),
    "Redis restarts": Restart("redis-server"),
    "PostgreSQL restarts": Restart("'postgresql@*'", ("app1", "app2", "lb1")),
}
# When it is at the first host: what the shell there sees of it.
MOMENTS = {
    "staging": '[ -n "$(ls /home/deploy/.ansible/tmp/*/*.tar 2> /dev/null)" ]',
    "proving": "[ -L /srv/storefront/candidate.sock ]",
    "switching": '[ "$(readlink /srv/storefront/live.sock)" != {live} ]',
    "baking": "[ $(wc -l < /srv/storefront/history.jsonl) -gt {switches} ]",
}
# In make test; make test-long has all.
REPRESENTATIVE = {
    ("the host's disk fills", "staging"),
    ("the host is cut off", "switching"),
    ("PostgreSQL restarts", "proving"),
}
CHOSEN = [
    (fault, moment)
    for fault in FAULTS
    for moment in MOMENTS
    if os.environ.get("LONG") or (fault, moment) in REPRESENTATIVE
]


def now(host):
    """The state of the host by which moments are recognized; files of killed runs can remain."""
    output = host.see.check_output(
        "rm -rf /home/deploy/.ansible/tmp/*; cd /srv/storefront; readlink live.sock; wc -l < history.jsonl"
    )
    return dict(zip(("live", "switches"), output.split()))


def end_of(process):
    try:
        return process.communicate(timeout=HANGS)[0]
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return f"It hangs: {process.communicate()[0]}"


@pytest.fixture
def small_disk(host):
    """Takes back what a full disk needs: a disk that can be filled."""
    yield
    with contextlib.suppress(Exception):
        host.see.check_output("mountpoint -q /srv/storefront")
        host.in_its("-m", "sh", "-c", AS_BEFORE)


def roll_out(fleet):
    return fleet.start("rollout", "-e", json.dumps(SETTINGS))


@pytest.mark.parametrize(("name", "moment"), CHOSEN)
def test_all_is_well_after_a_fault_and_the_next_run_finishes(
    fleet, host, note, small_disk, name, moment
):
    fault = FAULTS[name]
    fleet.lay_out_another()
    before = fleet.releases()
    fault.prepare(fleet, host)
    with fleet.users(rate=5) as users:
        process = roll_out(fleet)
        came = host.wait_in(process, MOMENTS[moment].format(**now(host)), fault.within)
        try:
            if came:
                fault.happen(fleet, host)
            output = end_of(process)
        finally:
            fault.repair(fleet, host)
        print(output)
        wait_until(lambda: fleet.serves("app1"), "app1 serves")
    problem = fleet.wrong(before)
    run = "went well" if process.returncode == 0 else "failed"
    note(name, moment, run, users.summary, before)
    assert came
    assert process.returncode == 0 or re.search(fault.says, output)
    assert "Traceback" not in output
    # A release that is being made has a dot in front.
    assert host.see.check_output("ls -A /srv/storefront/releases | grep -c '^[.]' || true") == "0"
    assert not re.search(
        rf"refused on app1: .* Live on this host: (?!{fleet.ask('app1').release}|unknown)", output
    )
    assert problem is None
    failed = {target for target, counts in users.summary.targets.items() if counts["failed"]}
    assert failed <= {*fault.fails}
    process = roll_out(fleet)
    output = end_of(process)
    assert process.returncode == 0, output
    assert fleet.unfinished(before) is None
