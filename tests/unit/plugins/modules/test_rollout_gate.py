# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The gate as a task sees it."""

from __future__ import annotations

import pytest
import yaml
from ansible_collections.evenkeel.flask.plugins.modules import rollout_gate
from ansible_collections.evenkeel.flask.tests.unit.plugins.loopback import serving
from ansible_collections.evenkeel.flask.tests.unit.plugins.run_module import run_module
from ansible_collections.evenkeel.flask.tests.unit.plugins.shop import Shop

COUNTS = {"passed", "failed_checks", "skipped_checks", "inconclusive_checks"}
RETURNED = {"verdict", "pass_rate", "results", "summary", "msg", "began", "elapsed"} | COUNTS
SESSION = {
    "login": {"path": "/login", "form": {"username": "demo", "password": "hunter2"}},
    "check": {"path": "/account"},
}


def run(shop, check_mode=False, **params):
    with serving(shop) as server:
        return run_module(rollout_gate, check_mode, base_url=server.url, **params)


def test_a_sound_candidate_passes_without_any_settings():
    said = run(Shop())
    assert not said.get("failed")
    assert not said.get("skipped")
    assert said["changed"] is False
    assert (said["verdict"], said["passed"], said["skipped_checks"]) == ("passed", 5, 4)
    assert said["summary"][-1] == "READY FOR PRODUCTION"


def test_a_bad_candidate_fails_the_task_with_all_results():
    said = run(Shop("500"))
    assert said["failed"] is True
    assert said.keys() >= RETURNED
    assert said["verdict"] == "failed"
    assert "Main Page Loading failed (500, wanted 200)" in said["msg"]
    assert said["summary"][-1] == "NOT READY FOR PRODUCTION"


def test_an_inconclusive_verdict_fails_the_task():
    names = list(rollout_gate.ARGUMENT_SPEC["checks"]["options"])
    said = run(Shop(), checks={name: {"enabled": False} for name in names})
    assert (said["failed"], said["verdict"]) == (True, "inconclusive")


def test_check_mode_leaves_out_what_writes():
    said = run(Shop(), True, checks={"session": SESSION, "upload": {"path": "/upload"}})
    reasons = {result["name"]: result["reason"] for result in said["results"]}
    assert reasons["upload"] == "it writes, and this is check mode"
    assert reasons["session"] == "it logs in, and this is check mode"


def test_a_password_is_never_shown():
    said = run(Shop(), checks={"session": SESSION})
    assert said["failed"] is True
    assert "hunter2" not in str(said)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"checks": {"helth": {}}}, "Unsupported parameters"),
        ({"checks": {"health": {"pth": "/"}}}, "Unsupported parameters"),
        ({"checks": {"health": {"path": "/a b"}}}, "blanks or control characters"),
        ({"checks": {"suite": {"pth": "/"}}}, "Unsupported parameters"),
        ({"checks": {"suite": {"path": "t", "junit": "j"}}}, "not path and junit"),
        ({"max_slowdown": 1}, "max_slowdown must be greater than 1"),
        ({"deadline": 0}, "deadline must be greater than 0"),
        ({"live_url": "127.0.0.1:8000"}, "must begin with http"),
        ({"headers": {"X": "a\nb"}}, "characters no header may have"),
    ],
)
def test_a_bad_argument_is_no_verdict(params, message):
    said = run(Shop(), **params)
    assert said["failed"] is True
    assert message in said["msg"]
    assert "verdict" not in said


def test_every_value_that_is_returned_is_documented():
    assert set(yaml.safe_load(rollout_gate.RETURN)) == RETURNED
    assert yaml.safe_load(rollout_gate.EXAMPLES)
