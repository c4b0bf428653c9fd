# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo reads verdicts and figures from the output of a playbook."""

from __future__ import annotations

import pytest
from ansible_collections.evenkeel.flask.plugins.module_utils._gate import verdict as gate
from demo import Stage


def verdict(outcome, reason):
    """The lines of the gate, as the progress of a rollout shows them."""
    results = [
        gate.Result("health", "Health Endpoint", "passed", "200", warnings=["slow"]),
        gate.Result("main_page", "Main Page Loading", outcome, reason),
        gate.Result("upload", "File Upload", "skipped", "switched off"),
    ]
    return [f"       {line}" for line in gate.summary(results)]


READY = verdict("passed", "200")
REFUSED = verdict("failed", "500, wanted 200")
OTHER = [
    "",
    "Prove and switch, batch by batch",
    "00:12  prove | Gate the candidate                                app1 changed",
    "PASS at the start of a line is no verdict",
]


@pytest.fixture(name="stage")
def _stage(tmp_path):
    def stage(*lines):
        log = tmp_path / "rollout.log"
        log.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        return Stage("rollout", 0.0, 1.0, 0, log)

    return stage


REFUSED_IN_SHORT = [
    "PASS Health Endpoint: 200",
    "FAIL Main Page Loading: 500, wanted 200",
    "SKIP File Upload: switched off",
    "WARN Health Endpoint: slow",
    "NOT READY FOR PRODUCTION",
]


def test_a_verdict_is_found_among_all_that_is_said(stage):
    assert stage(*OTHER, *REFUSED, *OTHER).gate == REFUSED_IN_SHORT


def test_of_many_verdicts_the_last_is_told(stage):
    assert stage(*OTHER, *READY, *OTHER, *REFUSED).gate == REFUSED_IN_SHORT
    assert stage(*REFUSED, *OTHER, *READY).gate[-1] == "READY FOR PRODUCTION"


def test_a_check_that_came_to_no_end_is_told(stage):
    lines = stage(*verdict("inconclusive", "no time was left")).gate
    assert lines[1] == "???? Main Page Loading: no time was left"
    assert lines[-1] == "NOT READY FOR PRODUCTION"


def test_a_run_without_a_verdict_has_none(stage):
    assert stage(*OTHER).gate == []
