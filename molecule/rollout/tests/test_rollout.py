# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A release is rolled out, rolled back, and interrupted in the middle; no request of a user fails.

The tests run in order, and v1 is live at the start. Each test requests its preconditions as
fixtures, so that it can also run alone.
"""

from __future__ import annotations

import getpass
import re

import pytest
from ansible_collections.evenkeel.flask.molecule.shared.testbed import wait_until

V1, V2 = "1.0.0", "2.0.0"
AGAIN = ("-e", "rollout_again=true")


def versions(releases):
    """The versions that releases are of."""
    return {str(release).partition("-")[0] for release in releases}


@pytest.fixture(scope="module")
def to_v2(fleet):
    fleet.lay_out("v2")
    return fleet.play_under_load("rollout")


@pytest.fixture(scope="module")
def back_to_v1(fleet, to_v2):
    return fleet.play_under_load("rollback")


@pytest.fixture(scope="module")
def cut_off_before_the_switch(fleet, back_to_v1):
    """v1 is live everywhere, and v2 is the candidate on the first host."""
    canary = fleet.hosts["app1"]
    candidate = canary.see.file("/srv/storefront/candidate.sock")
    with fleet.users() as users:
        fleet.cut_off("rollout", lambda: candidate.is_symlink, "the candidate runs", *AGAIN)
    return users.summary


@pytest.fixture(scope="module")
def cut_off_after_the_switch(fleet, cut_off_before_the_switch):
    """v2 is live on the first host, and v1 on the other."""
    with fleet.users() as users:
        fleet.cut_off(
            "rollout",
            lambda: versions({fleet.ask("app1").release}) == {V2},
            "the canary serves",
            *AGAIN,
        )
    return users.summary


@pytest.fixture(scope="module")
def completed(fleet, cut_off_after_the_switch):
    return fleet.play_under_load("rollout", *AGAIN)


def test_a_rollout_loses_no_request(to_v2):
    assert to_v2.status == 0
    assert to_v2.users.failed == 0
    assert versions(to_v2.users.releases) == {V1, V2}


def test_every_address_serves_the_new_release(fleet, to_v2):
    assert versions(fleet.releases()) == {V2}


def test_the_old_slot_is_stopped(fleet, to_v2):
    for host in fleet.hosts.values():
        assert host.runs_the_live_slot_alone


def test_the_status_has_a_line_for_every_host(fleet, to_v2):
    play = fleet.play("status")
    assert play.status == 0
    for name, host in fleet.hosts.items():
        expected = rf"{name} +{fleet.ask(name).release} +{host.live_slot} +- +{V1}\S+ +\S+ +- +yes"
        assert re.search(expected, play.said)


def test_the_history_says_who_released_what(fleet, to_v2):
    for host in fleet.hosts.values():
        last = host.history[-1]
        assert last["verdict"] == "passed"
        assert last["who"] == getpass.getuser()
        assert last["took"]["gate"] > 0
    play = fleet.play("status", "-e", "rollout_history=1")
    assert play.said.count(f"release  {fleet.ask('app1').release}") == 2


def test_what_is_changed_by_hand_is_shown_as_drift(fleet, to_v2):
    host = fleet.hosts["app2"]
    config = f"{host.live_folder}/config/gunicorn.conf.py"
    host.see.check_output(f"sed -i '$ a # by hand' {config}")
    line = next(line for line in fleet.play("status").said.splitlines() if "app2  " in line)
    assert "config/gunicorn.conf.py" in line
    host.see.check_output(f"sed -i '$ d' {config}")
    assert "config/gunicorn.conf.py" not in fleet.play("status").said


def test_the_same_release_again_changes_nothing(fleet, to_v2):
    play = fleet.play("rollout")
    assert (play.status, play.changed) == (0, 0)


def test_a_rollback_goes_through_the_gate_and_loses_no_request(back_to_v1):
    assert back_to_v1.status == 0
    assert back_to_v1.said.count("READY FOR PRODUCTION") == 2
    assert back_to_v1.users.failed == 0


def test_every_address_serves_the_earlier_release_again(fleet, back_to_v1):
    assert versions(fleet.releases()) == {V1}


def test_a_second_rollback_does_not_bring_back_what_the_first_took_away(fleet, back_to_v1):
    play = fleet.play("rollback")
    assert play.status != 0
    assert "cannot go back to a previous release" in play.said
    assert versions(fleet.releases()) == {V1}


def test_a_release_that_a_person_rolled_back_from_is_released_again_only_on_request(
    fleet, back_to_v1
):
    play = fleet.play("rollout")
    assert play.status != 0
    assert "rollout_again" in play.said
    assert versions(fleet.releases()) == {V1}


def test_a_run_cut_off_before_the_switch_reaches_no_user(fleet, cut_off_before_the_switch):
    assert cut_off_before_the_switch.failed == 0
    assert versions(cut_off_before_the_switch.releases) == {V1}
    assert versions(fleet.releases()) == {V1}


def test_a_reboot_then_brings_back_the_live_slot_and_only_that(fleet, cut_off_before_the_switch):
    host = fleet.hosts["app1"]
    assert len(host.running) == 4
    host.restart()
    wait_until(lambda: fleet.serves("app1"), "app1 serves again")
    assert versions({fleet.ask("app1").release}) == {V1}
    assert host.runs_the_live_slot_alone


def test_a_run_cut_off_after_the_canary_leaves_every_host_serving(fleet, cut_off_after_the_switch):
    assert cut_off_after_the_switch.failed == 0
    assert versions({fleet.ask("app1").release}) == {V2}
    assert versions({fleet.ask("app2").release}) == {V1}


def test_the_next_run_completes_what_was_cut_off(fleet, completed):
    assert completed.status == 0
    assert completed.users.failed == 0
    assert versions(fleet.releases()) == {V2}
    for host in fleet.hosts.values():
        assert host.runs_the_live_slot_alone
