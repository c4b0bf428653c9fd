# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The count that a run ends with, and what it runs."""

from __future__ import annotations

import os

import pytest
from ansible_collections.evenkeel.flask.tests import run
from ansible_collections.evenkeel.flask.tests.run import Runner, Stage, Tally


def junit(**counts):
    words = {"tests": 0, "failures": 0, "errors": 0, "skipped": 0, **counts}
    attributes = " ".join(f'{word}="{count}"' for word, count in words.items())
    return f"<testsuites><testsuite {attributes}/></testsuites>"


@pytest.mark.parametrize(
    ("status", "known", "counted"),
    [
        pytest.param(0, None, Tally(1, 0), id="a linter passes"),
        pytest.param(1, None, Tally(0, 1), id="a linter fails"),
        pytest.param(0, junit(tests=9, skipped=2), Tally(7, 0, 2), id="tests pass"),
        pytest.param(1, junit(tests=9, failures=2, errors=1), Tally(6, 3), id="tests fail"),
        pytest.param(1, junit(tests=9), Tally(9, 1), id="it fails, and not by a test"),
        pytest.param(4, junit(), Tally(0, 1), id="no test could be collected"),
        pytest.param(0, junit(tests=9, failures=2), Tally(7, 2), id="a failed test is hidden"),
    ],
)
def test_each_stage_is_counted(status, known, counted):
    assert run.tally(status, known) == counted


def test_the_suites_of_a_report_are_summed():
    text = '<testsuites><testsuite tests="2"/><testsuite tests="3" failures="1"/></testsuites>'
    assert run.in_junit(text) == Tally(4, 1)


def test_every_scenario_is_run_and_those_that_take_long_first(tmp_path):
    for name in ("bake", "default", "rollout", *run.LONG):
        (tmp_path / "molecule" / name).mkdir(parents=True)
        (tmp_path / "molecule" / name / "molecule.yml").touch()
    (tmp_path / "molecule" / "shared").mkdir()
    found = [stage.name for stage in run.scenarios(tmp_path)]
    assert found == [f"molecule {name}" for name in ("rollout", *run.LONG, "bake", "default")]


def test_the_long_run_has_what_has_a_long_form_and_all_of_it(tmp_path):
    for name in ("default", *run.LONG):
        (tmp_path / "molecule" / name).mkdir(parents=True)
        (tmp_path / "molecule" / name / "molecule.yml").touch()
    stages = run.scenarios(tmp_path, are_long=True)
    assert [stage.name for stage in stages] == [f"molecule {name}" for name in run.LONG]
    assert all(stage.command.startswith("LONG=1 ") for stage in stages)


def test_the_users_shell_does_not_change_the_results():
    inner = run.environment(
        {"PATH": "/bin", "HOME": "/home/me", "ANSIBLE_FORKS": "1", "PYTHONPATH": "/old"}
    )
    assert not {"ANSIBLE_FORKS", "PYTHONPATH"} & set(inner)
    assert inner["HOME"] == "/home/me"
    assert inner["PATH"].endswith(":/bin")


@pytest.fixture(autouse=True)
def output(monkeypatch, tmp_path):
    monkeypatch.setattr(run, "OUTPUT", tmp_path)


@pytest.mark.parametrize("suite", ["check", "test"])
def test_a_failed_stage_stops_no_other_and_the_count_comes_last(monkeypatch, capfd, suite):
    bad = [Stage("bad", "echo no; false"), Stage("good", "echo yes")]
    monkeypatch.setattr(run, "CHECK", [bad])
    monkeypatch.setattr(run, "TEST", [bad, [Stage("worse", "exit 3")]])
    monkeypatch.setattr(run, "scenarios", lambda root: [Stage("molecule fine", "echo fine")])
    assert run.main(suite) == 1
    output = capfd.readouterr().out.splitlines()
    assert {"no", "yes"} <= set(output)
    assert ("fine" in output) == (suite == "test")
    assert output[-1] == ("2 passed, 2 failed" if suite == "test" else "1 passed, 1 failed")


def test_two_stages_run_at_once_and_what_they_say_does_not_mix(tmp_path, capfd):
    os.mkfifo(tmp_path / "meeting")
    # Each end of a named pipe waits until the other is opened.
    ends = {"reads": "<", "writes": ">"}
    script = "cd {}; echo {name} 1; : {end}meeting; echo {name} 2"
    chains = [
        [Stage(name, script.format(tmp_path, name=name, end=end), timeout=60)]
        for name, end in ends.items()
    ]
    Runner().run(chains)
    lines = capfd.readouterr().out.splitlines()
    first_words = [line.split()[0] for line in lines if line.startswith((*ends,))]
    assert first_words in (
        ["reads", "reads", "writes", "writes"],
        ["writes", "writes", "reads", "reads"],
    )


def test_the_stages_of_a_chain_keep_their_order(tmp_path):
    first = Stage("build", f"sleep 0.1; touch {tmp_path}/built")
    runner = Runner()
    runner.run([[first, Stage("import", f"test -e {tmp_path}/built")]])
    assert runner.total == Tally(passed=2)


def test_a_scenario_that_asks_for_it_has_the_machine_for_itself(monkeypatch, tmp_path):
    names = ("gate", "other")
    # Each would find the folder of the other.
    command = f"mkdir {tmp_path}/here && sleep 0.2 && rmdir {tmp_path}/here"
    stages = [Stage(f"molecule {name}", command) for name in names]
    monkeypatch.setattr(run, "ALONE", names[:1])
    monkeypatch.setattr(run, "TEST", [])
    monkeypatch.setattr(run, "scenarios", lambda root: stages)
    assert run.main("test") == 0


def test_what_still_runs_is_told_meanwhile(monkeypatch, capfd):
    monkeypatch.setattr(run, "MINUTE", 0.05)
    Runner().run([[Stage("long", "sleep 0.3")]])
    assert "== running: long 0 s\n" in capfd.readouterr().out


def test_a_stage_that_hangs_is_ended_with_all_it_started(tmp_path, capfd):
    os.mkfifo(tmp_path / "held")
    held = os.open(tmp_path / "held", os.O_RDONLY | os.O_NONBLOCK)
    runner = Runner()
    script = f"exec >{tmp_path}/held; sleep 600 & sleep 600"
    runner.run([[Stage("hangs", script, timeout=0.5)]])
    assert runner.total == Tally(failed=1)
    assert "It was not done in 0.5 s." in capfd.readouterr().out
    # Both hold the pipe: it is read to its end only when both are gone.
    os.set_blocking(held, True)
    assert os.read(held, 1) == b""
    os.close(held)


def test_a_run_that_is_ended_starts_nothing_more(monkeypatch, tmp_path):
    runner = Runner()

    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "MINUTE", 0.05)
    monkeypatch.setattr(runner, "_tell_what_runs", interrupted)
    chain = [Stage("long", "sleep 600"), Stage("next", f"touch {tmp_path}/next")]
    with pytest.raises(KeyboardInterrupt):
        runner.run([chain])
    assert not (tmp_path / "next").exists()
