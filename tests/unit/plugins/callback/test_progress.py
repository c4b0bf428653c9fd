# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The output of a rollout: one line per task, and every message that a person must read."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from ansible_collections.evenkeel.flask.plugins.callback import progress

FLEET = [f"app{number}" for number in range(1, 6)]


class Screen:
    """The displayed lines with their colours."""

    verbosity = 0

    def __init__(self) -> None:
        self.shown: list[tuple[str, str | None]] = []

    def display(self, text: str, color: str | None = None) -> None:
        self.shown.append((text, color))


class Run:
    """A run of Ansible, as a person sees it."""

    def __init__(self) -> None:
        self.screen = Screen()
        self.callback = progress.CallbackModule()
        self.callback._display = self.screen
        self.action = ""
        self.args: dict[str, Any] = {}

    def play(self, name: str) -> None:
        self.callback.v2_playbook_on_play_start(SimpleNamespace(get_name=lambda: name))

    def task(self, name: str, action: str = "evenkeel.flask.release", handler: bool = False) -> Run:
        self.action = action
        task = SimpleNamespace(name=name, action=action)
        if handler:
            self.callback.v2_playbook_on_handler_task_start(task)
        else:
            self.callback.v2_playbook_on_task_start(task, False)
        return self

    def _result(self, host: str, result: dict[str, Any]) -> Any:
        return SimpleNamespace(
            _host=SimpleNamespace(get_name=lambda: host),
            _task=SimpleNamespace(action=self.action, args=self.args),
            _result=result,
        )

    def ok(self, host: str, **result: Any) -> None:
        self.callback.v2_runner_on_ok(self._result(host, result))

    def failed(self, host: str, **result: Any) -> None:
        self.callback.v2_runner_on_failed(self._result(host, {"failed": True, **result}))

    def unreachable(self, host: str, **result: Any) -> None:
        self.callback.v2_runner_on_unreachable(self._result(host, result))

    def diff(self, host: str, **result: Any) -> None:
        self.callback.v2_on_file_diff(self._result(host, result))

    def end(self, **counts: dict[str, int]) -> None:
        none: dict[str, int] = {}
        stats = {"processed": none, "dark": none, "failures": none, "changed": none, **counts}
        self.callback.v2_playbook_on_stats(SimpleNamespace(**stats))

    @property
    def lines(self) -> list[str]:
        """All that was shown, with no time and with single blanks."""
        self.callback.flush()
        return [
            " ".join(word for word in text.split() if word != "00:00")
            for text, _color in self.screen.shown
        ]


@pytest.fixture(name="run")
def _run():
    return Run()


def test_a_play_is_a_heading(run):
    run.play("Stage everywhere")
    assert run.screen.shown == [("\nStage everywhere", "bright blue")]


def test_a_task_is_one_line_when_all_hosts_are_done(run):
    run.task("stage | Make the release")
    run.ok("app1", changed=True)
    run.ok("app2", changed=False)
    assert run.screen.shown == []
    run.task("the next")
    assert run.lines == ["stage | Make the release app1 changed, app2 ok"]


def test_a_task_that_did_nothing_is_not_shown(run):
    run.task("skipped everywhere")
    run.task("the next")
    assert run.lines == []


def test_a_handler_is_shown_as_a_task(run):
    run.task("Reload nginx", handler=True)
    run.ok("app1", changed=True)
    assert run.lines == ["Reload nginx app1 changed"]


def test_a_task_without_a_name_is_called_by_its_action(run):
    run.task("", action="ansible.builtin.copy")
    run.ok("app1")
    assert run.lines == ["ansible.builtin.copy app1 ok"]


@pytest.mark.parametrize(
    ("hosts", "message"),
    [
        (FLEET[:1], "app1 changed"),
        (FLEET[:4], "app1 changed, app2 ok, app3 ok, app4 ok"),
        (FLEET, "1 changed, 4 ok"),
    ],
)
def test_few_hosts_are_named_and_many_counted(run, hosts, message):
    run.task("Switch")
    for host in hosts:
        run.ok(host, changed=host == "app1")
    assert run.lines == [f"Switch {message}"]


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0, "00:00"), (59.9, "00:59"), (60, "01:00"), (6000.5, "100:00")]
)
def test_time_is_minutes_and_seconds(seconds, shown):
    assert progress.clock(seconds) == shown


def test_a_line_begins_with_when_its_task_began(run):
    run.callback.begun -= 125
    run.task("Switch")
    run.callback.begun -= 60
    run.ok("app1")
    run.callback.flush()
    assert run.screen.shown[0][0].startswith("02:05  Switch ")


@pytest.mark.parametrize(
    ("outcomes", "colour"),
    [
        (["ok"], "green"),
        (["ok", "changed"], "yellow"),
        (["changed", "failed", "ok"], "red"),
        (["failed", "unreachable"], "bright red"),
    ],
)
def test_a_line_has_the_colour_of_its_worst_host(outcomes, colour):
    assert progress.color(dict(zip(FLEET, outcomes))) == colour


@pytest.mark.parametrize("action", ["ansible.builtin.debug", "debug"])
@pytest.mark.parametrize("msg", [["PASS health", "READY"], "PASS health\nREADY"])
def test_a_verdict_is_shown_in_full_and_without_a_line_of_its_own(run, action, msg):
    run.task("prove | Gate the candidate")
    run.ok("app1", changed=True)
    run.task("prove | Tell the verdict", action=action)
    run.ok("app1", msg=msg)
    assert run.lines == ["prove | Gate the candidate app1 changed", "PASS health", "READY"]


def test_a_table_keeps_its_columns(run):
    run.task("status | Show the table", action="debug")
    run.ok("app1", msg=["host   live", "app1   2.0.0"])
    assert [text for text, _color in run.screen.shown] == [
        "       host   live",
        "       app1   2.0.0",
    ]


def test_a_failure_is_told_below_its_task(run):
    run.task("prove | Start the candidate")
    run.ok("app2")
    run.failed("app1", msg="It dies at start.\nMend the app.")
    assert run.lines == [
        "prove | Start the candidate app2 ok, app1 failed",
        "app1: It dies at start.",
        "app1: Mend the app.",
    ]
    assert [color for _text, color in run.screen.shown] == ["red"] * 3


def test_hosts_that_fail_alike_are_told_together(run):
    run.task("preflight | Look")
    run.failed("app1", msg="8000 is taken.")
    run.failed("app2", msg="8000 is taken.\nThe clock is off.")
    run.unreachable("app3", msg="No route to host")
    assert run.lines[1:] == [
        "app1, app2: 8000 is taken.",
        "app2: The clock is off.",
        "app3: No route to host",
    ]


def test_a_host_that_is_lost_is_named_as_such(run):
    run.task("Look at the host")
    run.unreachable("app1", unreachable=True, msg="Connection refused")
    assert run.lines == ["Look at the host app1 unreachable", "app1: Connection refused"]
    assert run.screen.shown[0][1] == "bright red"


def test_a_loop_that_fails_tells_what_its_items_said(run):
    run.task("Create the directories")
    run.failed(
        "app1",
        msg="One or more items failed",
        results=[
            {"msg": "made", "changed": True},
            {"msg": "no room", "failed": True},
            {"msg": "no right", "failed": True},
        ],
    )
    assert run.lines[1:] == ["app1: no room", "app1: no right"]


def test_a_host_that_is_lost_in_a_loop_is_told_with_the_cause(run):
    run.task("Create the directories")
    run.unreachable(
        "app1",
        msg="All items completed",
        results=[{"msg": "made"}, {"msg": "Connection refused", "unreachable": True}],
    )
    assert run.lines[1:] == ["app1: Connection refused"]


def test_a_loop_that_tells_something_tells_all_of_it(run):
    run.task("Say", action="debug")
    run.ok("app1", msg="All items completed", results=[{"msg": "one"}, {"msg": ["two", "three"]}])
    assert run.lines == ["one", "two", "three"]


def test_a_host_is_named_once_however_often_it_says_the_same(run):
    run.task("Create the directories")
    run.failed("app1", results=[{"msg": "no room", "failed": True}] * 3)
    assert run.lines[1:] == ["app1: no room"]


def test_a_command_that_fails_tells_what_it_said(run):
    run.task("Check nginx", action="ansible.builtin.command")
    run.failed("app1", msg="non-zero return code", rc=1, stderr="[emerg] no port\nfailed\n")
    assert run.lines[1:] == [
        "app1: non-zero return code",
        "app1: [emerg] no port",
        "app1: failed",
    ]


def test_what_a_message_has_in_it_already_is_not_told_again(run):
    run.task("Install")
    run.failed("app1", msg="apt failed: E: no such package", stderr="E: no such package\n")
    assert run.lines[1:] == ["app1: apt failed: E: no such package"]


@pytest.mark.parametrize(
    ("result", "message"),
    [
        ({}, "no message"),
        ({"msg": ""}, "no message"),
        ({"msg": None}, "no message"),
        ({"censored": "the output has been hidden"}, "the output has been hidden"),
    ],
)
def test_a_failure_is_told_even_if_it_has_no_message(run, result, message):
    run.task("Fail")
    run.failed("app1", **result)
    assert run.lines[1:] == [f"app1: {message}"]


def test_what_was_told_is_not_told_again_at_the_next_task(run):
    run.task("Switch")
    run.failed("app1", msg="no")
    run.task("Undo")
    run.ok("app1")
    assert run.lines == ["Switch app1 failed", "app1: no", "Undo app1 ok"]


def test_a_diff_is_shown_of_what_changed(run):
    run.task("Write the settings")
    run.diff("app1", changed=True, diff={"before": "workers: 3\n", "after": "workers: 5\n"})
    assert {"-workers: 3", "+workers: 5"} <= set(run.lines)


@pytest.mark.parametrize(
    "result",
    [
        {"changed": True},
        {"changed": False, "diff": {"before": "", "after": "x"}},
        {"results": [{"changed": False, "diff": {"before": "", "after": "x"}}]},
    ],
)
def test_no_diff_is_shown_where_nothing_changed(run, result):
    run.diff("app1", **result)
    assert run.lines == []


def test_a_loop_shows_the_diff_of_each_item(run):
    changed = [{"changed": True, "diff": {"before": "", "after": text}} for text in ("one", "two")]
    run.diff("app1", results=changed)
    assert {"+one", "+two"} <= set(run.lines)


def test_a_play_without_hosts_says_so(run):
    run.callback.v2_playbook_on_no_hosts_matched()
    assert run.lines == ["no hosts matched"]


def test_the_last_line_sums_up_each_host_by_its_worst(run):
    run.task("Switch")
    run.ok("app1")
    run.end(
        processed=dict.fromkeys(FLEET[:4], 1),
        changed={"app1": 2, "app2": 1, "app3": 1},
        failures={"app2": 1, "app3": 1},
        dark={"app3": 1},
    )
    assert run.lines == [
        "Switch app1 ok",
        "app1 changed, app2 failed, app3 unreachable, app4 ok",
    ]
    assert run.screen.shown[-1][1] == "bright red"


def test_a_large_fleet_is_summed_up_by_numbers(run):
    run.end(processed=dict.fromkeys(FLEET, 1), changed=dict.fromkeys(FLEET[1:], 1))
    assert run.lines == ["1 ok, 4 changed"]


def test_a_run_without_hosts_has_nothing_to_sum_up(run):
    run.end()
    assert run.lines == []


def test_the_documentation_names_the_plugin():
    docs = yaml.safe_load(progress.DOCUMENTATION)
    callback = progress.CallbackModule
    assert f"evenkeel.flask.{docs['name']}" == callback.CALLBACK_NAME
    assert docs["type"] == callback.CALLBACK_TYPE
    assert yaml.safe_load(progress.EXAMPLES)
