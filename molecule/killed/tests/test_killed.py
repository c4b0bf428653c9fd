# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A process of a rollout can be killed at any point: each host serves a good release, and the next run completes.

The points come from a rollout without a kill: the tasks that it began, and the renames of its
modules on the first host.
"""

from __future__ import annotations

import json
import os
import signal
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pytest
from ansible_collections.evenkeel.flask.molecule.shared.testbed import QUICK
from ansible_collections.evenkeel.flask.tests.bench import page

SCENARIO = Path(__file__).resolve().parents[1]
PAGE = SCENARIO.parents[1] / "docs" / "faults.md"
WATCHED = "/opt/watched"
PYTHON = f'#!/bin/sh\\nPYTHONPATH={WATCHED} exec /usr/bin/python3 "$@"\\n'

HEAD = ["who is killed", "when", "served then", "requests", "failed", "and"]


@dataclass(frozen=True)
class Point:
    """A point in a rollout, and the process that is killed at it.

    C(task) counts the tasks that begin. C(rename) counts the renames on the first host, with the side of it.
    """

    who: str
    when: str
    task: int = 0
    rename: str = ""


class Runs:
    """Rollouts of one release after another, in each of which a process can be killed."""

    def __init__(self, fleet):
        self.fleet = fleet
        self.canary = fleet.hosts["app1"]
        self.tasks = fleet.folder / "tasks"

    def watch_renames(self):
        self.on_canary(
            f"mkdir -p {WATCHED}; printf '{PYTHON}' > {WATCHED}/python; chmod +x {WATCHED}/python"
        )
        self.canary.put(SCENARIO / "files" / "sitecustomize.py", WATCHED)
        own = self.fleet.folder / "host_vars"
        own.mkdir(exist_ok=True)
        (own / "app1.yml").write_text(f"ansible_python_interpreter: {WATCHED}/python\n")

    def on_canary(self, script):
        return self.canary.see.check_output(script)

    def start(self, kill_at=0, stop_at="", **settings):
        self.tasks.unlink(missing_ok=True)
        self.on_canary(f"cd {WATCHED}; rm -f renames stopped stop_at")
        if stop_at:
            self.on_canary(f"echo {stop_at} > {WATCHED}/stop_at")
        watched = {
            "ANSIBLE_CALLBACK_PLUGINS": str(SCENARIO / "callbacks"),
            "ANSIBLE_CALLBACKS_ENABLED": "boundaries",
            "BOUNDARIES": str(self.tasks),
            "KILL_AT": str(kill_at),
        }
        return self.fleet.start(
            "rollout", "-e", json.dumps({**QUICK, **settings}), environment=watched
        )

    def roll_out(self, **settings):
        process = self.start(**settings)
        output, _none = process.communicate()
        return process.returncode, output

    def roll_out_and_kill(self, point):
        """Return what was not as it should be: the run ends, and not well."""
        process = self.start(point.task, point.rename)
        if point.rename:
            stopped = f"{WATCHED}/stopped"
            is_reached = self.canary.wait_in(process, f"[ -s {stopped} ]")
            if is_reached and "run" in point.who:
                os.killpg(process.pid, signal.SIGKILL)
            if is_reached:
                self.on_canary(f"kill -KILL $(cat {stopped})")
        output, _none = process.communicate()
        is_as_wanted = (process.returncode == -signal.SIGKILL) == ("run" in point.who)
        if process.returncode and is_as_wanted:
            return None
        return f"the run ended with {process.returncode}: {output[-2000:]}"

    def points(self):
        """All of them, in order."""
        begun = self.tasks.read_text().splitlines()
        renamed = [PurePosixPath(line) for line in self.on_canary(f"cat {WATCHED}/renames").split()]
        yield from (Point("the run", task, number) for number, task in enumerate(begun, 1))
        for number, path in enumerate(renamed, 1):
            # The content of a folder has another name in each rollout: an archive, a release, a slot.
            name = "/".join([*path.parts[3:-1], "…"]) if path.parts[3:-1] else path.name
            for side in ("before", "after"):
                when, rename = f"{side} the rename to {name}", f"{number} {side}"
                yield Point("the run and its module", when, rename=rename)
            yield Point("the module", when, rename=rename)


@pytest.fixture(scope="module")
def runs(fleet):
    runs = Runs(fleet)
    runs.watch_renames()
    return runs


@pytest.fixture(scope="module")
def points(fleet, runs):
    """Those that are tried: all, or KILL_POINTS of them, those around the switch and the others evenly spread."""
    fleet.lay_out_another()
    status, output = runs.roll_out()
    assert status == 0, output
    found = [*runs.points()]
    if os.environ.get("LONG"):
        return found
    chosen = [point for point in found if point.when.endswith(" live.sock")]
    others = [point for point in found if point not in chosen]
    left = int(os.environ.get("KILL_POINTS", "8")) - len(chosen)
    spread = [others[turn * (len(others) - 1) // (left - 1)] for turn in range(left)]
    return [point for point in found if point in chosen or point in spread]


def test_whoever_is_killed_all_is_well_and_the_next_run_finishes(fleet, runs, points):
    measured = page.machine()
    rows = []
    for point in points:
        fleet.lay_out_another()
        before = fleet.releases()
        with fleet.users(rate=5) as users:
            problem = runs.roll_out_and_kill(point)
            problem = fleet.wrong(before) or problem
            served = ["old" if fleet.ask(host).release in before else "new" for host in fleet.hosts]
            status, output = runs.roll_out(rollout_batches=["100%"])
            problem = problem or (status and f"the next run ended with {status}: {output[-2000:]}")
            problem = problem or fleet.unfinished(before)
        sent, failed = users.summary.sent, users.summary.failed
        problem = problem or (failed and "requests failed")
        outcome = " ".join(str(problem or "all was well").split())
        rows.append([point.who, point.when, ", ".join(served), str(sent), str(failed), outcome])
        print(" | ".join(rows[-1]), flush=True)
    if os.environ.get("LONG"):
        page.write("kill matrix", page.table(HEAD, rows), measured, PAGE)
    assert [row for row in rows if row[-1] != "all was well"] == []
