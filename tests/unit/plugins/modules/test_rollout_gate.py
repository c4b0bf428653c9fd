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
    result = run(Shop())
    assert not result.get("failed")
    assert not result.get("skipped")
    assert result["changed"] is False
    assert (result["verdict"], result["passed"], result["skipped_checks"]) == ("passed", 5, 4)
    assert result["summary"][-1] == "READY FOR PRODUCTION"


def test_a_bad_candidate_fails_the_task_with_all_results():
    result = run(Shop("500"))
    assert result["failed"] is True
    assert result.keys() >= RETURNED
    assert result["verdict"] == "failed"
    assert "Main Page Loading failed (500, wanted 200)" in result["msg"]
    assert result["summary"][-1] == "NOT READY FOR PRODUCTION"


def test_an_inconclusive_verdict_fails_the_task():
    names = list(rollout_gate.ARGUMENT_SPEC["checks"]["options"])
    result = run(Shop(), checks={name: {"enabled": False} for name in names})
    assert (result["failed"], result["verdict"]) == (True, "inconclusive")


def test_check_mode_leaves_out_what_writes():
    returned = run(Shop(), True, checks={"session": SESSION, "upload": {"path": "/upload"}})
    reasons = {result["name"]: result["reason"] for result in returned["results"]}
    assert reasons["upload"] == "it writes, and this is check mode"
    assert reasons["session"] == "it logs in, and this is check mode"


def test_a_password_is_never_shown():
    result = run(Shop(), checks={"session": SESSION})
    assert result["failed"] is True
    assert "hunter2" not in str(result)


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
    result = run(Shop(), **params)
    assert result["failed"] is True
    assert message in result["msg"]
    assert "verdict" not in result


def test_every_value_that_is_returned_is_documented():
    assert set(yaml.safe_load(rollout_gate.RETURN)) == RETURNED
    assert yaml.safe_load(rollout_gate.EXAMPLES)
