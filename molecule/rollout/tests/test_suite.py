# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The team's own tests decide about a release, through the SSH connection that Ansible has."""

from __future__ import annotations

import json

import pytest

FAILING = "def test_the_team_is_not_content(base_url):\n    assert not base_url\n"


@pytest.fixture(scope="module")
def tests(fleet):
    """The folder of the team's tests, which come with the app."""
    fleet.lay_out("v2")
    return fleet.folder / "storefront" / "tests"


def release_with_suite(fleet):
    checks = {"suite": {"path": "storefront/tests"}}
    settings = {"rollout_checks": checks, "rollout_report_path": "report"}
    return fleet.play("rollout", "--extra-vars", json.dumps(settings))


@pytest.fixture(scope="module")
def refused(fleet, tests):
    before = fleet.releases()
    (tests / "test_team.py").write_text(FAILING)
    play = release_with_suite(fleet)
    (tests / "test_team.py").unlink()
    return play, before


def test_a_failing_test_of_the_team_refuses_the_release(fleet, refused):
    play, before = refused
    assert play.status != 0
    assert "1 of 47 tests failed: test_the_team_is_not_content" in play.said
    assert fleet.releases() == before


def test_a_release_that_passes_the_team_s_tests_goes_live(fleet, refused, tests):
    (tests / "NOTES").write_text("Another release, with tests that pass.\n")
    play = release_with_suite(fleet)
    assert play.status == 0
    assert "46 tests passed" in play.said
    assert fleet.releases().isdisjoint(refused[1])
    report = json.loads((fleet.folder / "report" / "report.json").read_text())
    assert {trial["host"] for trial in report["trials"]} == set(fleet.hosts)
    assert {row["host"] for row in report["timeline"]} == set(fleet.hosts)
