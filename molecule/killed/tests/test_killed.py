# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whenever the controller dies, every host serves a good release, and the next run finishes the job."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest
from ansible_collections.evenkeel.flask.molecule.shared.testbed import wait_until

CALLBACKS = Path(__file__).resolve().parents[1] / "callbacks"


class Runs:
    """Rollouts of one release after another, each of which can be killed at a task's beginning."""

    def __init__(self, fleet):
        self.fleet = fleet
        self.tasks = fleet.folder / "tasks"
        self.number = 0

    def lay_out_another(self):
        self.number += 1
        self.fleet.lay_out("v1")
        (self.fleet.folder / "storefront" / "NOTES").write_text(f"{self.number}\n")

    def roll_out(self, kill_at=0):
        self.tasks.unlink(missing_ok=True)
        watched = {
            "ANSIBLE_CALLBACK_PLUGINS": str(CALLBACKS),
            "ANSIBLE_CALLBACKS_ENABLED": "boundaries",
            "BOUNDARIES": str(self.tasks),
            "KILL_AT": str(kill_at),
        }
        process = self.fleet.start("rollout", environment=watched)
        said, _none = process.communicate()
        return process.returncode, said

    def begun(self):
        return self.tasks.read_text().splitlines()


@pytest.fixture(scope="module")
def runs(fleet):
    return Runs(fleet)


@pytest.fixture(scope="module")
def boundaries(runs):
    """The tasks of a whole rollout, in order."""
    runs.lay_out_another()
    status, said = runs.roll_out()
    assert status == 0, said
    return runs.begun()


def wrong_after_the_kill(fleet, before):
    """What is not as it should be: each host serves the old release or the new one, and the status says so."""
    for host in fleet.urls:
        wait_until(lambda host=host: fleet.serves(host), f"{host} serves")
    if len(fleet.releases() - before) > 1:
        return f"{fleet.releases()} answer"
    said = fleet.play("status").said
    for host in fleet.hosts:
        row = rf"{host} +{re.escape(fleet.ask(host).release)} +(blue|green) .* yes"
        if not re.search(row, said):
            return f"the status of {host} is not that it serves {fleet.ask(host).release}"
    return None


def wrong_after_the_next_run(fleet, before):
    after = fleet.releases()
    if len(after) != 1 or after & before:
        return f"{after} answer"
    lonely = [name for name, host in fleet.hosts.items() if host.runs_the_live_slot_alone]
    return None if lonely == list(fleet.hosts) else f"only {lonely} run the live slot alone"


def test_whenever_the_controller_is_killed_all_is_well_and_the_next_run_finishes(
    fleet, runs, boundaries
):
    wanted = int(os.environ.get("KILL_POINTS", "0")) or len(boundaries)
    points = sorted(
        {1 + turn * (len(boundaries) - 1) // max(wanted - 1, 1) for turn in range(wanted)}
    )
    lines = []
    for point in points:
        runs.lay_out_another()
        before = fleet.releases()
        with fleet.users() as users:
            status, _said = runs.roll_out(kill_at=point)
            problem = "it was not killed" if status != -signal.SIGKILL else None
            problem = problem or wrong_after_the_kill(fleet, before)
            status, said = runs.roll_out()
            problem = problem or (status and f"the next run ended with {status}: {said[-2000:]}")
            problem = problem or wrong_after_the_next_run(fleet, before)
        lost = users.summary.failed
        problem = problem or (lost and f"{lost} of {users.summary.sent} requests failed")
        lines.append(f"{point:3} {boundaries[point - 1]}: {problem or 'well'}")
        print(lines[-1], flush=True)
    assert [line for line in lines if not line.endswith(": well")] == []
