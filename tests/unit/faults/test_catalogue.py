# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The catalogue lists each bad release once. Its scenario proves on hosts that each is bad."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from ansible_collections.evenkeel.flask.plugins.module_utils._gate import verdict
from ansible_collections.evenkeel.flask.tests.apps import materialize
from ansible_collections.evenkeel.flask.tests.faults import catalogue

FAULTS = catalogue.FAULTS
STEPS = {"preflight", "build", "stage", "migrate", "start", "bake", "drain"}
# molecule/rollout tests the findings of the team's own tests.
CHECKS = set(verdict.CHECKS) - {"suite"}


def test_each_patch_is_in_the_catalogue_and_each_other_fault_says_what_it_is():
    patches = {path.stem for path in materialize.FAULTS.glob("*.patch")}
    assert patches == {one.name for one in FAULTS if not one.about}
    assert max(Counter(one.name for one in FAULTS).values()) == 1


def test_each_check_and_each_step_has_something_to_catch():
    assert {one.catcher for one in FAULTS} == STEPS | CHECKS
    assert len(FAULTS) >= 40


def test_make_test_takes_a_part_that_most_steps_and_checks_catch():
    short = [one for one in FAULTS if one.in_short]
    assert len(short) >= 12
    assert {one.catcher for one in short} >= CHECKS


@pytest.mark.parametrize("fault", FAULTS, ids=lambda one: one.name)
def test_what_the_run_must_say_is_no_empty_pattern(fault):
    assert fault.catcher == "drain" or not re.search(fault.says, "")
    assert catalogue.about(fault)
