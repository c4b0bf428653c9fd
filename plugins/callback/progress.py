# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Show a rollout as one line per task, with failures in full, and in a terminal as a live table."""

from __future__ import annotations

DOCUMENTATION = r"""
name: progress
type: stdout
short_description: Show a rollout as one line per task, and as a live table
version_added: "0.1.0"
author: The evenkeel.flask authors (@evenkeel)
description:
  - Shows one line for each task that did something, with its time, name and hosts. Verdicts of the gate, tables and
    failures are shown in full. All other output is left out.
  - The time is the time since the start of the run, in minutes and seconds.
  - In a terminal, a table below the lines is redrawn each second. It has a row for each host with its step, the time in
    this step, and the state of the release there. A large fleet is summarized; hosts in progress and failed hosts come
    first. Only the lines are shown in files, in CI and in terminals that cannot redraw (C(TERM=dumb)). The same is true
    before ansible-core 2.19, whose workers can write to the terminal.
  - For all other output, and for C(-v), use Ansible's own callback P(ansible.builtin.default#callback).
requirements:
  - Set as stdout in configuration.
"""

EXAMPLES = r"""
- name: In ansible.cfg
  ansible.builtin.debug:
    msg: stdout_callback = evenkeel.flask.progress
"""

import os
import sys
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

from ansible import constants
from ansible.plugins.callback import CallbackBase
from ansible.release import __version__
from ansible.utils.color import stringc

from ..module_utils._printable import pad, printable, printable_all, printable_line
from ..plugin_utils import _terminal
from ..plugin_utils._terminal import clock

NAMED_HOSTS = 4
# The worst first: a line has the colour of its worst host.
COLORS = {"unreachable": "bright red", "failed": "red", "changed": "yellow", "ok": "green"}


def summarize(outcomes: Mapping[str, str]) -> str:
    """Summarize the outcomes of hosts: a few by name, many by number."""
    if len(outcomes) > NAMED_HOSTS:
        return ", ".join(f"{number} {word}" for word, number in Counter(outcomes.values()).items())
    return ", ".join(f"{host} {word}" for host, word in outcomes.items())


def color(outcomes: Mapping[str, str]) -> str:
    return next(color for word, color in COLORS.items() if word in outcomes.values())


def reason(result: Mapping[str, Any]) -> str:
    """Return why a task failed, with stderr: the message on a command has only the fact of failure."""
    message = str(result.get("msg") or result.get("censored") or "no message")
    error = str(result.get("stderr") or result.get("module_stderr") or "").strip()
    return message if error in message else f"{message}\n{error}"


def can_live() -> bool:
    """Return whether the terminal can redraw lines and only Ansible's display writes to it."""
    version = tuple(map(int, __version__.split(".")[:2]))
    return (
        version >= (2, 19)
        and not constants.ENABLE_TASK_DEBUGGER
        and _terminal.is_terminal(sys.stdout, os.environ)
    )


class CallbackModule(CallbackBase):  # type: ignore[misc]
    """Collects the hosts' results of a task, and shows them when the next task begins."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "evenkeel.flask.progress"

    def __init__(self) -> None:
        super().__init__()
        self.begun = time.monotonic()
        self.task = ""
        self.task_at = 0.0
        self.outcomes: dict[str, str] = {}
        # Hosts by message: hosts that fail alike are shown together.
        self.refusals: dict[str, list[str]] = {}
        self.hosts: dict[str, _terminal.Host] = {}
        self.screen: _terminal.Screen | None = None

    def table(self, width: int, height: int, final: bool = False) -> list[str]:
        lines = _terminal.table(self.hosts, time.monotonic(), width, height, final)
        return [stringc(line, color) if color else line for line, color in lines]

    def _ended(self, result: Any, outcome: str) -> None:
        host = self.hosts.get(result._host.get_name())
        if host:
            action = result._task.action.rpartition(".")[2]
            state = result._task.args.get("state")
            word = _terminal.verdict(action, state, outcome, result._result)
            host.end(time.monotonic(), word)
        if self.screen:
            self.screen.refresh_soon()

    def v2_playbook_on_start(self, playbook: Any) -> None:
        if can_live():
            self.screen = _terminal.Screen(self._display, self.table, sys.stdout)

    def v2_runner_on_start(self, host: Any, task: Any) -> None:
        now = time.monotonic()
        known = self.hosts.setdefault(host.get_name(), _terminal.Host(now))
        known.begin((task.name or task.action).rpartition(" | ")[2], now)
        if self.screen:
            self.screen.refresh_soon()

    def v2_runner_on_skipped(self, result: Any) -> None:
        self._ended(result, "passed over")

    def _say(self, line: str, color: str | None = None) -> None:
        """Show a line. Modules make their results printable; this ensures it for all modules."""
        self._display.display(printable_line(line), color=color)

    def flush(self) -> None:
        if self.outcomes:
            task = pad(printable_line(self.task), 56)
            self._say(
                f"{clock(self.task_at)}  {task}  {summarize(self.outcomes)}", color(self.outcomes)
            )
        for message, hosts in self.refusals.items():
            self._say(f"       {', '.join(hosts)}: {message}", "red")
        self.outcomes, self.refusals = {}, {}

    def show(self, text: Any) -> None:
        """Show output of a task below its line."""
        self.flush()
        for line in text if isinstance(text, list) else str(text).split("\n"):
            self._say(f"       {line}")

    def v2_playbook_on_play_start(self, play: Any) -> None:
        self.flush()
        self._display.display(f"\n{printable_line(play.get_name())}", color="bright blue")

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        self.flush()
        self.task = task.name or task.action
        self.task_at = time.monotonic() - self.begun

    def v2_playbook_on_handler_task_start(self, task: Any) -> None:
        self.v2_playbook_on_task_start(task, False)

    def v2_runner_on_ok(self, result: Any) -> None:
        self._ended(result, "ok")
        self._warn(result._result)
        if result._task.action.rpartition(".")[2] == "debug":
            for part in result._result.get("results", [result._result]):
                self.show(part.get("msg", ""))
        else:
            changed = result._result.get("changed")
            self.outcomes[result._host.get_name()] = "changed" if changed else "ok"

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        self._ended(result, "passed over" if ignore_errors else "failed")
        self._refused("failed", result)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        self._ended(result, "unreachable")
        self._refused("unreachable", result)

    def _refused(self, word: str, result: Any) -> None:
        self._warn(result._result)
        host = result._host.get_name()
        self.outcomes[host] = word
        # A loop's own message has only the fact that one of its items failed.
        parts = [
            part
            for part in result._result.get("results", ())
            if part.get("failed") or part.get("unreachable")
        ]
        for part in parts or [result._result]:
            for line in reason(part).split("\n"):
                hosts = self.refusals.setdefault(line, [])
                if host not in hosts:
                    hosts.append(host)

    def _warn(self, result: dict[str, Any]) -> None:
        """Show the warnings of a result. Ansible formats them, so its output is made printable."""
        display = self._display.display

        def show(message: Any, *args: Any, **kwargs: Any) -> None:
            display(printable(str(message)), *args, **kwargs)

        self._display.display = show
        try:
            self._handle_warnings(result)
        finally:
            self._display.display = display

    def v2_on_file_diff(self, result: Any) -> None:
        for part in result._result.get("results", [result._result]):
            if part.get("diff") and part.get("changed"):
                self.flush()
                # Ansible adds colours, so the content is made printable before.
                for line in self._get_diff(printable_all(part["diff"])).splitlines():
                    self._display.display(f"       {line}")

    def v2_playbook_on_no_hosts_matched(self) -> None:
        self.show("no hosts matched")

    def v2_playbook_on_stats(self, stats: Any) -> None:
        self.flush()
        if self.screen:
            self.screen.close()
            for line in self.table(self._display.columns, len(self.hosts) + 1, final=True):
                self._display.display(line)
        hosts = sorted(stats.processed)
        outcomes = {
            host: next(
                word
                for word, count in (
                    ("unreachable", stats.dark),
                    ("failed", stats.failures),
                    ("changed", stats.changed),
                    ("ok", stats.processed),
                )
                if count.get(host)
            )
            for host in hosts
        }
        if outcomes:
            line = f"{clock(time.monotonic() - self.begun)}  {summarize(outcomes)}"
            self._display.display(f"\n{printable_line(line)}", color=color(outcomes))
