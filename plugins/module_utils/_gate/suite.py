# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Validate the settings of the team's own tests, which run on the controller.

The action plugin of C(rollout_gate) runs them and replaces the result of this check.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

from .._errors import ArgumentError
from .check import CheckContext, Inconclusive, Passed, Settings, Skipped

NAME = "suite"
TITLE = "Team's Own Tests"
SPEC: dict[str, Any] = {
    "path": {"type": "path"},
    "command": {"type": "raw"},
    "junit": {"type": "path"},
    "requirements": {"type": "list", "elements": "str", "default": ["pytest"]},
    "cache": {"type": "path", "default": "~/.cache/evenkeel.flask"},
    # ansible-test takes this for a password because of its name.
    "min_pass_rate": {"type": "float", "default": 100, "no_log": False},
    "allowed_failures": {"type": "list", "elements": "str", "default": []},
    "timeout": {"type": "float", "default": 600},
}
SOURCES = ("path", "command", "junit")


def run(trial: CheckContext, settings: Settings) -> Passed:
    named = source(settings)
    if not named:
        raise Skipped("no suite is named (checks.suite.path, command or junit)")
    if named != "junit" and not trial.may_write:
        raise Skipped("it may write, and this is check mode")
    # If they do not run, for example in an async task, the check must not pass.
    raise Inconclusive("it is run on the controller, and nobody did")


def source(settings: Settings) -> str | None:
    """Return which of the three sources is set.

    @raises ArgumentError: for contradictory or invalid settings
    """
    named = [name for name in SOURCES if settings[name]]
    if len(named) > 1:
        raise ArgumentError(
            f"checks.suite: name one of path, command and junit, not {' and '.join(named)}."
        )
    rate = settings["min_pass_rate"]
    if not 0 < rate <= 100:
        raise ArgumentError(
            f"checks.suite.min_pass_rate must be above 0 and at most 100, not {rate:g}."
        )
    if not settings["timeout"] > 0:
        raise ArgumentError(
            f"checks.suite.timeout must be greater than 0, not {settings['timeout']:g}."
        )
    if settings["command"]:
        argv(settings["command"])
        if rate < 100 or settings["allowed_failures"]:
            raise ArgumentError(
                "checks.suite: of a command only the exit status is known; "
                "min_pass_rate and allowed_failures need path or junit."
            )
    return named[0] if named else None


def argv(command: Any) -> list[str]:
    """Return the words of a command, which is a list or text.

    @raises ArgumentError: if it is neither
    """
    if isinstance(command, str):
        try:
            words = shlex.split(command)
        except ValueError as error:
            raise ArgumentError(f"checks.suite.command: {error}.") from None
    elif isinstance(command, Sequence) and all(isinstance(word, (str, int)) for word in command):
        words = [str(word) for word in command]
    else:
        raise ArgumentError("checks.suite.command: wanted text or a list of words.")
    if not words or not words[0] or "\0" in "".join(words):
        raise ArgumentError("checks.suite.command: names no program.")
    return words
