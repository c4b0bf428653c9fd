# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The gate can check the live release at any time; it writes reports for people, CI and programs."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET

import pytest


@pytest.fixture(scope="module")
def folder(fleet):
    return fleet.folder / "reports"


@pytest.fixture(scope="module")
def trial(fleet, folder):
    return fleet.play("gate", "-e", f"rollout_report_path={folder}")


def test_what_is_live_passes_the_gate_and_nothing_is_changed(fleet, trial):
    assert trial.status == 0
    assert "READY FOR PRODUCTION" in trial.said
    assert trial.changed == 0


def test_a_report_is_written_for_people_for_ci_and_for_programs(fleet, trial, folder):
    release = fleet.ask("app1").release
    report = json.loads((folder / "report.json").read_text())
    assert (report["release"], report["verdict"]) == (release, "passed")
    suite = ET.parse(folder / "junit.xml").getroot().find("testsuite")
    assert suite.get("name") == "app1"
    assert (suite.get("failures"), suite.get("errors")) == ("0", "0")
    page = (folder / "report.html").read_text()
    assert release in page
    assert "<svg" in page
    assert "Session Management" in page


def test_a_bad_verdict_fails_the_play_and_is_in_the_report(fleet, trial, folder):
    checks = {"rollout_checks": {"main_page": {"contains": "Nothing of the kind"}}}
    play = fleet.play(
        "gate", "-e", f"rollout_report_path={folder}", "--extra-vars", json.dumps(checks)
    )
    assert play.status != 0
    assert "body does not contain 'Nothing of the kind'" in play.said
    assert json.loads((folder / "report.json").read_text())["verdict"] == "failed"
