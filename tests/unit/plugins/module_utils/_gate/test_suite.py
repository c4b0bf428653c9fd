# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host has only the settings of the team's own tests."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from ansible_collections.evenkeel.flask.plugins.module_utils._errors import ArgumentError
from ansible_collections.evenkeel.flask.plugins.module_utils._gate import suite
from ansible_collections.evenkeel.flask.plugins.module_utils._gate.check import (
    Inconclusive,
    Skipped,
)


def settings(**given):
    return {**{name: option.get("default") for name, option in suite.SPEC.items()}, **given}


@pytest.mark.parametrize(
    ("given", "may_write", "outcome", "reason"),
    [
        ({}, True, Skipped, "no suite is named"),
        ({"path": "", "junit": None, "command": []}, True, Skipped, "no suite is named"),
        ({"path": "tests"}, True, Inconclusive, "nobody did"),
        ({"path": "tests"}, False, Skipped, "check mode"),
        ({"command": "true"}, False, Skipped, "check mode"),
        ({"junit": "j.xml"}, False, Inconclusive, "nobody did"),
    ],
)
def test_what_is_not_run_is_never_a_pass(given, may_write, outcome, reason):
    with pytest.raises(outcome, match=reason):
        suite.run(SimpleNamespace(may_write=may_write), settings(**given))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"path": "a", "command": "b"}, "name one of path, command and junit, not path and comm"),
        ({"path": "a", "command": "b", "junit": "c"}, "not path and command and junit"),
        ({"min_pass_rate": 0}, "min_pass_rate must be above 0 and at most 100, not 0"),
        ({"min_pass_rate": 100.5}, "not 100.5"),
        ({"min_pass_rate": float("nan")}, "not nan"),
        ({"timeout": 0}, "timeout must be greater than 0"),
        ({"command": "make 'gate"}, "command: No closing quotation"),
        ({"command": {"make": "gate"}}, "command: wanted text or a list"),
        ({"command": ["make", ["gate"]]}, "command: wanted text or a list"),
        ({"command": " "}, "command: names no program"),
        ({"command": ["", "x"]}, "command: names no program"),
        ({"command": ["make", "a\0b"]}, "command: names no program"),
        ({"command": "x", "min_pass_rate": 99}, "only the exit status is known"),
        ({"command": "x", "allowed_failures": ["a"]}, "only the exit status is known"),
    ],
)
def test_settings_that_make_no_sense_are_refused(given, message):
    with pytest.raises(ArgumentError, match=message):
        suite.source(settings(**given))


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("make gate", ["make", "gate"]),
        ("sh -c 'exit 3'", ["sh", "-c", "exit 3"]),
        (["make", "-j", 2], ["make", "-j", "2"]),
    ],
)
def test_a_command_is_words_for_no_shell(command, words):
    assert suite.argv(command) == words
