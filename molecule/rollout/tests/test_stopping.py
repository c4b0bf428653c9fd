# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The other hosts after one of them refuses the release.

v2 is live at the start, and the last host has a check that no release passes.
"""

from __future__ import annotations

import json

import pytest
from ansible_collections.evenkeel.flask.molecule.shared.testbed import wait_until

WANTS = 'rollout_checks: {main_page: {contains: "Nothing of the kind"}}\n'


@pytest.fixture
def release(fleet, request):
    """Roll another release out; return the earlier live release of each host, and the result."""
    own = fleet.folder / "host_vars"
    own.mkdir(exist_ok=True)
    (own / "app2.yml").write_text(WANTS)

    def roll_out(*args):
        before = {host: fleet.ask(host).release for host in fleet.hosts}
        fleet.lay_out("v2")
        (fleet.folder / "storefront" / "NOTES").write_text(f"{request.node.name}\n")
        return before, fleet.play("rollout", *args)

    yield roll_out
    (own / "app2.yml").unlink()
    own.rmdir()


def is_refused(play):
    return (
        play.status != 0
        and "refused on app2: The candidate is not ready: Main Page Loading failed" in play.said
    )


def test_hosts_of_earlier_batches_keep_the_release(fleet, release):
    before, play = release()
    assert is_refused(play)
    assert fleet.ask("app1").release != before["app1"]
    assert fleet.ask("app2").release == before["app2"]
    assert "The rollout stopped." in play.said


def test_the_release_is_taken_back_everywhere_where_that_is_wanted(fleet, release):
    before, play = release("-e", "rollout_on_failure=rollback_all")
    assert is_refused(play)
    assert {host: fleet.ask(host).release for host in fleet.hosts} == before
    assert [line["action"] for line in fleet.hosts["app1"].history][-2:] == ["release", "rollback"]


def test_a_batch_in_which_one_host_refuses_switches_none(fleet, release):
    before, play = release("--extra-vars", '{"rollout_batches": ["100%"]}')
    assert is_refused(play)
    assert {host: fleet.ask(host).release for host in fleet.hosts} == before
    for host in fleet.hosts.values():
        assert host.runs_the_live_slot_alone


def test_as_many_hosts_may_refuse_as_the_budget_has(fleet, release):
    before, play = release(
        "-e", "rollout_max_failures=50%", "--extra-vars", '{"rollout_batches": [2]}'
    )
    assert is_refused(play)
    assert fleet.ask("app1").release != before["app1"]
    assert fleet.ask("app2").release == before["app2"]
    assert "The rollout went on" in play.said
    for host in fleet.hosts.values():
        assert host.runs_the_live_slot_alone


@pytest.fixture(scope="module")
def lost(fleet):
    """A rollout in which the last host dies before its batch begins, and is started again afterwards."""
    before = {host: fleet.ask(host).release for host in fleet.hosts}
    container = fleet.hosts["app2"].container
    fleet.lay_out("v2")
    (fleet.folder / "storefront" / "NOTES").write_text("a host is lost\n")
    hooks = {"after_migrate": {"command": ["podman", "kill", container]}}
    play = fleet.play("rollout", "--extra-vars", json.dumps({"rollout_hooks": hooks}))
    first = fleet.ask("app1").release
    fleet.hosts["app2"].restart()
    wait_until(lambda: fleet.serves("app2"), "the lost host serves again")
    return play, before, first


def test_a_host_that_is_lost_is_told_and_the_others_are_released(fleet, lost):
    play, before, first = lost
    assert play.status != 0
    assert "refused on app2: it was lost" in play.said
    assert "app1]: FAILED" not in play.said
    assert first != before["app1"]
    assert fleet.hosts["app1"].see.file("/run/evenkeel-storefront.lock").size == 0


def test_a_host_that_was_lost_serves_what_it_did_and_is_picked_up_by_the_next_run(fleet, lost):
    _play, before, first = lost
    assert fleet.ask("app2").release == before["app2"]
    assert fleet.play("rollout").status == 0
    assert fleet.releases() == {first}
