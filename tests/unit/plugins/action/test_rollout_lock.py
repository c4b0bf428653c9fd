# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action passes the identity of the run to the module, and takes over the lock of a dead local run."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from ansible_collections.evenkeel.flask.plugins.action import rollout_lock
from ansible_collections.evenkeel.flask.plugins.plugin_utils import _identity

HELD = {"failed": True, "msg": "held", "holder": {"run": "a/1/1", "who": "alice"}}
TAKEN = {"changed": True, "holder": {"run": "b/2/2", "who": "bob"}}


@pytest.fixture(name="lock")
def _lock():
    """Run the action on a host that returns C(says) in turn; return the result and the module's parameters."""

    def run(*says, **args):
        calls = []
        action = rollout_lock.ActionModule(
            task=SimpleNamespace(
                action="evenkeel.flask.rollout_lock", args={"name": "shop", **args}, async_val=0,
                check_mode=False, diff=False, collections=[], delegate_to=None, environment=None,
            ),
            connection=SimpleNamespace(_shell=SimpleNamespace(tmpdir=None)),
            play_context=SimpleNamespace(check_mode=False),
            loader=None, templar=None, shared_loader_obj=None,
        )  # fmt: skip

        def execute(module_args, task_vars):
            calls.append(dict(module_args))
            return says[len(calls) - 1]

        action._execute_module = execute
        return action.run(task_vars={}), calls

    return run


def test_the_module_is_told_which_run_this_is(lock):
    result, calls = lock(TAKEN)
    assert result["holder"] == TAKEN["holder"]
    assert calls == [{"name": "shop", **_identity.identity({})}]


def test_a_lock_whose_run_has_died_here_is_taken_over(lock, monkeypatch):
    monkeypatch.setattr(_identity, "is_gone", lambda run: run == "a/1/1")
    result, calls = lock(HELD, TAKEN)
    assert not result.get("failed")
    assert calls[1]["gone"] == "a/1/1"


def test_a_lock_whose_run_is_there_is_respected(lock, monkeypatch):
    monkeypatch.setattr(_identity, "is_gone", lambda _run: False)
    result, calls = lock(HELD)
    assert result["failed"] is True
    assert len(calls) == 1
