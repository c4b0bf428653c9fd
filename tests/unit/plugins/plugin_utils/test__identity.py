# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The identity of a run, and whether the run that left a lock still exists."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from ansible_collections.evenkeel.flask.plugins.plugin_utils import _identity


@pytest.fixture
def sleeper():
    """A process that is there until the test lets it go."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process


def test_a_process_is_gone_when_it_has_ended(sleeper):
    run = _identity.identity({}, sleeper.pid)["run"]
    assert not _identity.is_gone(run)
    sleeper.communicate(b"\n")
    assert _identity.is_gone(run)


def test_another_process_with_its_number_is_not_it():
    place, pid, started = _identity.identity({}, os.getpid())["run"].split("/")
    assert not _identity.is_gone(f"{place}/{pid}/{started}")
    assert _identity.is_gone(f"{place}/{pid}/{int(started) + 1}")


@pytest.mark.parametrize("run", ["elsewhere/1/1", "", "x", "//", "elsewhere/99999999/1"])
def test_of_a_run_from_elsewhere_nothing_is_known(run):
    assert not _identity.is_gone(run)


def test_where_the_system_does_not_say_nothing_is_known(monkeypatch):
    monkeypatch.setattr(_identity, "_started", lambda _pid: _identity.UNKNOWN)
    assert not _identity.is_gone(_identity.identity({}, 99999999)["run"])


def test_all_tasks_of_a_run_are_of_one_run():
    assert _identity.identity({})["run"] == _identity.identity({}, os.getppid())["run"]


def test_the_user_of_awx_is_who_started_it(monkeypatch):
    monkeypatch.setenv("LOGNAME", "runner")
    assert _identity.identity({})["who"] == "runner"
    assert _identity.identity({"awx_user_name": "alice"})["who"] == "alice"


def test_a_user_without_a_name_is_told_by_number(monkeypatch):
    def nobody():
        raise KeyError("getpwuid(): uid not found: 4711")

    monkeypatch.setattr(_identity.getpass, "getuser", nobody)
    assert _identity.identity({})["who"] == f"uid {os.getuid()}"
