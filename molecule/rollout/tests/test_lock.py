# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One rollout at a time: a second one is refused with a message, and changes nothing."""

from __future__ import annotations

import json
import time

import pytest

LOCK = "/run/evenkeel-storefront.lock"


@pytest.fixture
def locked(fleet):
    """Another run's lock on the last host; C(for_) seconds from now it ends."""
    last = fleet.hosts["app2"]

    def lock(for_):
        now = time.time()
        holder = {"run": "elsewhere/1/1", "who": "alice", "controller": "ci-7"}
        text = json.dumps({**holder, "since": now, "until": now + for_})
        last.see.check_output(f"tee {LOCK} <<'E'\n{text}\nE")

    yield lock
    last.see.check_output(f"rm -f {LOCK}")
    fleet.lay_out("v1")


def is_refused(play):
    return play.status != 0 and "alice started it on ci-7" in play.said and play.changed == 0


def test_a_second_rollout_is_refused_and_changes_nothing(fleet, locked):
    fleet.lay_out("v2")
    locked(for_=600)
    assert is_refused(fleet.play("rollout"))
    # The first host was its own for a moment, and is free again.
    assert fleet.hosts["app1"].see.file(LOCK).size == 0


def test_a_rollback_is_refused_too(fleet, locked):
    locked(for_=600)
    assert is_refused(fleet.play("rollback"))


def test_a_lock_can_be_broken_and_is_given_back_in_the_end(fleet, locked):
    locked(for_=600)
    assert fleet.play("rollout", "-e", "rollout_break_lock=true").status == 0
    assert {host.see.file(LOCK).size for host in fleet.hosts.values()} == {0}


def test_a_lock_ends_by_itself(fleet, locked):
    locked(for_=-1)
    assert fleet.play("rollout").status == 0
