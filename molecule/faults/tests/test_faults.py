# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The expected step refuses each bad release, and every host continues to serve the good one.

With LONG it is the whole catalogue, and its table is written into docs/faults.md. Otherwise it is a
selection for C(make test). FAULTS names the faults to try during development.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, replace

import pytest
from ansible_collections.evenkeel.flask.molecule.shared.testbed import Play, load
from ansible_collections.evenkeel.flask.tests.apps import materialize
from ansible_collections.evenkeel.flask.tests.bench import page
from ansible_collections.evenkeel.flask.tests.faults import catalogue

CHOSEN = os.environ.get("FAULTS", "")
IS_WHOLE = bool(os.environ.get("LONG")) and not CHOSEN
PAGE = page.PAGE.with_name("faults.md")


def chosen():
    if CHOSEN:
        return [one for one in catalogue.FAULTS if one.name in CHOSEN.split(",")]
    return [one for one in catalogue.FAULTS if one.in_short or IS_WHOLE]


@dataclass(frozen=True)
class Outcome:
    """The result of the rollout of a bad release."""

    fault: catalogue.Fault
    play: Play
    good: set[str | None]
    # The release that served at the end.
    left: set[str | None]
    # The content of the slots of the host that gets no bad release.
    had: set[str | None]

    @property
    def is_caught(self):
        if self.fault.is_released:
            return self.play.status == 0
        return self.play.status != 0 and bool(re.search(self.fault.says, self.play.said))

    @property
    def reached(self):
        """How many requests of users the bad release answered."""
        answered = self.play.users.releases
        good = {*self.good, load.NO_RELEASE}
        return sum(count for release, count in answered.items() if release not in good)


@pytest.fixture(scope="module")
def good(fleet):
    """The release that serves when it begins."""
    return fleet.releases()


@pytest.fixture(scope="module")
def table():
    """The outcomes, which are printed at the end; those of the whole catalogue are written into the page."""
    measured, outcomes = page.machine(), []
    yield outcomes
    rows = page.table(
        ["fault", "what is wrong", "caught by", "requests by it", "failed", "good release is back"],
        [
            [
                f"`{one.fault.name}`",
                catalogue.about(one.fault),
                one.fault.catcher if one.is_caught else "**nothing**",
                str(one.reached),
                f"{one.play.users.failed} of {one.play.users.sent}",
                "yes" if one.left == one.good else "**no**",
            ]
            for one in outcomes
        ],
    )
    # The fault that was interrupted is not in the table.
    if len(outcomes) == len(catalogue.FAULTS):
        page.write("faults", rows, measured, PAGE)
    else:
        print("\n".join(rows))


@pytest.fixture(scope="module", params=chosen(), ids=lambda one: one.name)
def outcome(fleet, good, table, request):
    fault = request.param
    had = set(fleet.hosts["app2"].slots.values())
    play = release(fleet, fault)
    found = Outcome(fault, play, good, fleet.releases(), had)
    table.append(found)
    if found.left != good:
        # The next one must also be compared with the good release.
        fleet.lay_out("v1")
        fleet.play("rollout")
    return found


def release(fleet, fault):
    """Roll a bad release out under load; if it is accepted, roll the good one out over it."""
    fleet.lay_out(fault.name if fault.name in materialize.versions() else "v1")
    with fleet.users(*fault.paths, rate=fault.rate) as users:
        if fault.host:
            fleet.hosts["app2"].see.check_output(fault.host[0])
        try:
            play = fleet.play("rollout", "-e", json.dumps(fault.settings))
        finally:
            if fault.host:
                fleet.hosts["app2"].see.check_output(fault.host[1])
        if fault.is_released:
            fleet.lay_out("v1")
            fleet.play("rollout")
    return replace(play, users=users.summary)


def test_it_is_refused_by_what_must_refuse_it(outcome):
    assert outcome.is_caught, f"{outcome.fault.catcher} was to say: {outcome.fault.says}"


def test_it_reaches_no_user_unless_only_users_can_tell(outcome):
    assert outcome.play.users.sent > 0
    assert (outcome.reached > 0) == outcome.fault.needs_traffic


def test_no_request_fails_unless_only_users_can_tell(outcome):
    users = outcome.play.users
    if outcome.fault.catcher == "bake":
        # The failures of the bad release are those that the bake found.
        assert outcome.fault.hangs or users.failed <= outcome.reached
        assert users.targets["app2"]["failed"] == 0
        assert not any(
            target["failed_by"].get(one, 0)
            for target in users.targets.values()
            for one in outcome.good
        )
    else:
        assert users.failed == 0


def test_every_host_is_back_on_the_good_release_and_runs_nothing_else(fleet, good, outcome):
    assert outcome.left == good
    for host in fleet.hosts.values():
        assert host.runs_the_live_slot_alone


def test_no_later_batch_meets_it(fleet, good, outcome):
    if not outcome.fault.is_released:
        assert set(fleet.hosts["app2"].slots.values()) <= good | outcome.had
        assert set(outcome.play.users.targets["app2"]["releases"]) <= {*good, load.NO_RELEASE}
