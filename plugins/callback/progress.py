# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A rollout as a person follows it: a line a task, and in full what must be read."""

from __future__ import annotations

DOCUMENTATION = r"""
name: progress
type: stdout
short_description: Show a rollout as a line for each task
version_added: "0.1.0"
author: The evenkeel.flask authors (@evenkeel)
description:
  - When, what, and on which hosts, in one line for each task that did something. Verdicts of the gate, tables and failures
    are shown in full, and nothing else is.
  - The time is that since the run began, in minutes and seconds.
  - For all the rest, and for C(-v), there is Ansible's own callback P(ansible.builtin.default#callback).
requirements:
  - Set as stdout in configuration.
"""

EXAMPLES = r"""
- name: In ansible.cfg
  ansible.builtin.debug:
    msg: stdout_callback = evenkeel.flask.progress
"""

import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

from ansible.plugins.callback import CallbackBase

NAMED_HOSTS = 4
# The worst first: a line has the colour of its worst host.
COLORS = {"unreachable": "bright red", "failed": "red", "changed": "yellow", "ok": "green"}


def clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes:02}:{rest:02}"


def said(outcomes: Mapping[str, str]) -> str:
    """Say which hosts had which outcome: few by name, many by number."""
    if len(outcomes) > NAMED_HOSTS:
        return ", ".join(f"{number} {word}" for word, number in Counter(outcomes.values()).items())
    return ", ".join(f"{host} {word}" for host, word in outcomes.items())


def color(outcomes: Mapping[str, str]) -> str:
    return next(color for word, color in COLORS.items() if word in outcomes.values())


def reason(result: Mapping[str, Any]) -> str:
    """Why a task failed: of a command the message says only that it did."""
    message = str(result.get("msg") or result.get("censored") or "no message")
    error = str(result.get("stderr") or result.get("module_stderr") or "").strip()
    return message if error in message else f"{message}\n{error}"


class CallbackModule(CallbackBase):  # type: ignore[misc]
    """Gathers what the hosts say of a task, and shows it when the next one begins."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "evenkeel.flask.progress"

    def __init__(self) -> None:
        super().__init__()
        self.begun = time.monotonic()
        self.task = ""
        self.task_at = 0.0
        self.outcomes: dict[str, str] = {}
        # Hosts by what was said of them: hosts that fail alike are told together.
        self.refusals: dict[str, list[str]] = {}

    def flush(self) -> None:
        if self.outcomes:
            line = f"{clock(self.task_at)}  {self.task:<56}  {said(self.outcomes)}"
            self._display.display(line, color=color(self.outcomes))
        for message, hosts in self.refusals.items():
            self._display.display(f"       {', '.join(hosts)}: {message}", color="red")
        self.outcomes, self.refusals = {}, {}

    def show(self, text: Any) -> None:
        """Show below the task what its line cannot say."""
        self.flush()
        for line in text if isinstance(text, list) else str(text).splitlines():
            self._display.display(f"       {line}")

    def v2_playbook_on_play_start(self, play: Any) -> None:
        self.flush()
        self._display.display(f"\n{play.get_name()}", color="bright blue")

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        self.flush()
        self.task = task.name or task.action
        self.task_at = time.monotonic() - self.begun

    def v2_playbook_on_handler_task_start(self, task: Any) -> None:
        self.v2_playbook_on_task_start(task, False)

    def v2_runner_on_ok(self, result: Any) -> None:
        self._handle_warnings(result._result)
        if result._task.action.rpartition(".")[2] == "debug":
            for part in result._result.get("results", [result._result]):
                self.show(part.get("msg", ""))
        else:
            changed = result._result.get("changed")
            self.outcomes[result._host.get_name()] = "changed" if changed else "ok"

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        self._refused("failed", result)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        self._refused("unreachable", result)

    def _refused(self, word: str, result: Any) -> None:
        self._handle_warnings(result._result)
        host = result._host.get_name()
        self.outcomes[host] = word
        # A loop's own message says only that one of its items failed.
        parts = [
            part
            for part in result._result.get("results", ())
            if part.get("failed") or part.get("unreachable")
        ]
        for part in parts or [result._result]:
            for line in reason(part).splitlines():
                hosts = self.refusals.setdefault(line, [])
                if host not in hosts:
                    hosts.append(host)

    def v2_on_file_diff(self, result: Any) -> None:
        for part in result._result.get("results", [result._result]):
            if part.get("diff") and part.get("changed"):
                self.show(self._get_diff(part["diff"]))

    def v2_playbook_on_no_hosts_matched(self) -> None:
        self.show("no hosts matched")

    def v2_playbook_on_stats(self, stats: Any) -> None:
        self.flush()
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
            line = f"\n{clock(time.monotonic() - self.begun)}  {said(outcomes)}"
            self._display.display(line, color=color(outcomes))
