# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module as a task sees it; what needs a running systemd is left to hosts."""

from __future__ import annotations

import pytest
from ansible_collections.evenkeel.flask.plugins.module_utils._errors import ArchiveError
from ansible_collections.evenkeel.flask.plugins.module_utils._release import stage
from ansible_collections.evenkeel.flask.plugins.modules import release_exec
from ansible_collections.evenkeel.flask.tests.unit.plugins.run_module import run_module


@pytest.fixture(name="execute")
def _execute(tmp_path, monkeypatch):
    (tmp_path / "shop" / "releases" / "a").mkdir(parents=True)

    def execute(answer, command="flask db upgrade"):
        def run_in(*_args):
            if isinstance(answer, Exception):
                raise answer
            return answer

        monkeypatch.setattr(stage, "run_in", run_in)
        params = {"name": "shop", "root": str(tmp_path), "release": "a", "command": command}
        return run_module(release_exec, **params)

    return execute


def test_what_a_command_printed_is_returned(execute):
    result = execute((0, "done\n"))
    assert (result["changed"], result["rc"], result["output"]) == (True, 0, ["done"])


def test_a_command_that_fails_is_named_with_its_last_line(execute):
    result = execute((3, "one\ntwo\n"))
    assert result["msg"] == "'flask db upgrade' ended with status 3 in release a: two"


@pytest.mark.parametrize(
    "error",
    [
        ArchiveError("shop@.service: systemctl cannot show this unit."),
        TimeoutError("systemctl did not end within 7200 s."),
    ],
)
def test_a_command_that_cannot_be_run_is_a_message(execute, error):
    result = execute(error)
    assert (result["failed"], result["msg"]) == (True, str(error))


def test_a_quotation_that_does_not_end_is_a_message(execute):
    result = execute((0, ""), "flask 'db upgrade")
    assert result["msg"].startswith('"flask \'db upgrade" cannot be split into words (No closing')
