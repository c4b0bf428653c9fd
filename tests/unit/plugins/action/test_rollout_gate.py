# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action as a task sees it: what the module says of the host, and then the team's own tests."""

from __future__ import annotations

from dataclasses import asdict
from types import SimpleNamespace

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible_collections.evenkeel.flask.plugins.action import rollout_gate
from ansible_collections.evenkeel.flask.plugins.module_utils._gate import verdict
from ansible_collections.evenkeel.flask.plugins.module_utils._gate.verdict import Result

LEFT_OPEN = Result("suite", "Team's Own Tests", "inconclusive", "nobody did", 0.1)
GOOD = [
    Result("health", "Health Check Endpoint", "passed", "healthy"),
    Result("api", "API Health", "skipped", "no endpoints"),
]
GREEN = '<testsuite><testcase name="a"/><testcase name="b"/></testsuite>'
RED = '<testsuite><testcase name="a"/><testcase name="b"><failure message="no s3cret"/></testcase></testsuite>'


def module_says(results):
    """As the module exits, after a verdict."""
    told = verdict.as_dict(results)
    return {
        **told,
        "changed": False,
        "elapsed": 2.0,
        **({"failed": True} if told["verdict"] != "passed" else {}),
    }


@pytest.fixture
def gate(tmp_path):
    """Runs the action; C(said) is what the module says, C(results) what it is made of."""

    def run(suite, results=(*GOOD, LEFT_OPEN), said=None, **more):
        action = rollout_gate.ActionModule(
            task=SimpleNamespace(
                action="evenkeel.flask.rollout_gate", args={"checks": {"suite": suite}, **more}, async_val=0,
                check_mode=False, collections=[], diff=False, delegate_to=None, environment=None,
            ),
            connection=SimpleNamespace(
                transport="local", has_native_async=False, _shell=SimpleNamespace(tmpdir=None)
            ),
            play_context=SimpleNamespace(check_mode=False),
            loader=DataLoader(), templar=None, shared_loader_obj=None,
        )  # fmt: skip
        action._execute_module = lambda **_args: said or module_says(results)
        return action.run(task_vars={"inventory_dir": str(tmp_path), "inventory_hostname": "app1"})

    (tmp_path / "green.xml").write_text(GREEN)
    (tmp_path / "red.xml").write_text(RED)
    return run


def test_tests_that_pass_are_a_check_that_passed(gate):
    said = gate({"junit": "green.xml"})
    assert not said.get("failed")
    assert (said["verdict"], said["passed"], said["failed_checks"]) == ("passed", 2, 0)
    assert said["inconclusive_checks"] == 0
    assert said["results"][:2] == [asdict(one) for one in GOOD]
    own = said["results"][2]
    assert own.pop("elapsed_ms") >= 0
    assert own == {
        "name": "suite",
        "title": "Team's Own Tests",
        "outcome": "passed",
        "reason": "2 tests passed",
        "warnings": [],
        "measured": {"tests": {"passed": 2, "failed": 0, "skipped": 0}},
    }
    assert said["summary"][-5:] == [
        "Passed: 2",
        "Failed: 0",
        "Skipped: 1",
        "Pass rate: 100%",
        "READY FOR PRODUCTION",
    ]


def test_tests_that_fail_fail_the_task(gate):
    said = gate({"junit": "red.xml"})
    assert said["failed"] is True
    assert (said["verdict"], said["passed"], said["failed_checks"]) == ("failed", 1, 1)
    assert said["pass_rate"] == 50.0
    assert (
        "FAIL Team's Own Tests: 1 of 2 tests failed: b; the first says: no s3cret"
        in said["summary"]
    )
    assert said["msg"].startswith("The candidate is not ready: Team's Own Tests failed (1 of 2")
    assert said["summary"][-1] == "NOT READY FOR PRODUCTION"


def test_tests_that_are_not_there_let_no_candidate_through(gate):
    said = gate({"junit": "nosuch.xml"})
    assert (said["failed"], said["verdict"]) == (True, "inconclusive")


def test_the_policy_of_the_task_is_used(gate):
    said = gate({"junit": "red.xml", "allowed_failures": ["b"]})
    assert said["verdict"] == "passed"
    assert (
        "WARN Team's Own Tests: 1 test failed, as allowed_failures lets them (b)" in said["summary"]
    )
    assert gate({"junit": "red.xml", "min_pass_rate": "50"})["verdict"] == "passed"


def test_a_command_runs_in_the_inventorys_directory_and_finds_the_candidate(gate, tmp_path):
    script = "pwd >seen; echo $BASE_URL $EVENKEEL_HOST >>seen"
    said = gate({"command": ["sh", "-c", script]}, base_url="http://127.0.0.1:8001")
    assert said["verdict"] == "passed"
    assert (tmp_path / "seen").read_text() == f"{tmp_path}\nhttp://127.0.0.1:8001 app1\n"


def test_pytest_runs_what_lies_beside_the_inventory(gate, tmp_path, monkeypatch):
    (tmp_path / "tests").mkdir()
    seen = []

    def fake(path, folder, environment, settings, work):
        seen.append((path, folder, settings["requirements"]))
        return rollout_gate.evaluate.SuiteRun(0, "", GREEN.encode())

    monkeypatch.setattr(rollout_gate.suite_run, "pytest", fake)
    assert gate({"path": "tests"})["verdict"] == "passed"
    assert seen == [(str(tmp_path / "tests"), str(tmp_path), ["pytest"])]


@pytest.mark.parametrize("outcome", ["failed", "inconclusive"])
def test_no_test_is_run_for_a_candidate_that_is_refused_anyhow(gate, tmp_path, outcome):
    bad = Result("health", "Health Check Endpoint", outcome, "503")
    said = gate({"command": "touch ran"}, results=[bad, LEFT_OPEN])
    assert (said["failed"], said["verdict"]) == (True, outcome)
    assert said["results"][-1]["outcome"] == "skipped"
    assert "SKIP Team's Own Tests: the checks before it did not pass" in said["summary"]
    assert not (tmp_path / "ran").exists()


def test_tests_alone_are_enough(gate):
    off = [Result("health", "Health Check Endpoint", "skipped", "switched off")]
    assert gate({"junit": "green.xml"}, results=[*off, LEFT_OPEN])["verdict"] == "passed"


@pytest.mark.parametrize(
    "said",
    [
        {"failed": True, "msg": "checks.suite: name one of path, command and junit."},
        {"failed": True, "msg": "sudo: a password is required"},
        {"unreachable": True, "msg": "Connection timed out"},
        {"started": 1, "finished": 0, "ansible_job_id": "j1"},
        module_says([*GOOD, Result("suite", "Team's Own Tests", "skipped", "no suite is named")]),
        module_says([*GOOD, Result("suite", "Team's Own Tests", "skipped", "check mode")]),
    ],
)
def test_what_is_no_open_verdict_stays_as_it_is(gate, tmp_path, said):
    got = gate({"command": "touch ran"}, said=said)
    assert {name: got[name] for name in said} == said
    assert not (tmp_path / "ran").exists()


def test_secrets_of_the_task_are_masked_in_what_the_tests_say(gate):
    login = {"login": {"path": "/login", "form": {"password": "s3cret"}}, "check": {"path": "/"}}
    checks = {"session": login, "suite": {"junit": "red.xml"}}
    for said in (
        gate({}, checks=checks),
        gate({"junit": "red.xml"}, headers={"Authorization": "s3cret"}),
    ):
        assert "the first says: no ********" in said["msg"]
        assert "s3cret" not in str(said)


def test_the_team_s_own_tests_count_in_the_time_that_the_gate_took(gate, monkeypatch):
    own = Result("suite", "Team's Own Tests", "passed", "all", 3500.0)
    monkeypatch.setattr(verdict, "result_of", lambda *_args: own)
    assert gate({"junit": "green.xml"})["elapsed"] == 5.5
