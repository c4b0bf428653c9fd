# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What only its users can tell of a release: the bake reads it from the logs, and takes the release back."""

from __future__ import annotations

import re

import pytest


@pytest.fixture(scope="module")
def baked(fleet):
    """A release whose fault no check asks for, while users look at products."""
    before = fleet.releases()
    fleet.lay_out("broken-product", on="v2")
    with fleet.users("/products/7") as users:
        play = fleet.play("rollout")
    return play, users.summary, before


def test_a_release_that_fails_its_users_is_taken_back_by_the_bake(fleet, baked):
    play, _users, before = baked
    assert play.status != 0
    said = r"refused on app1: The bake went badly: /products/\*: \d+ of \d+ requests failed"
    assert re.search(said, play.said)
    assert fleet.releases() == before
    for host in fleet.hosts.values():
        assert host.runs_the_live_slot_alone


def test_only_users_of_the_canary_met_it_and_only_for_a_moment(fleet, baked):
    _play, users, _before = baked
    # Fifteen requests a second go to each address, and the logs are read each second.
    assert 0 < users.failed < 60
